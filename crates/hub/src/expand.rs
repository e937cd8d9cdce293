//! `~` and `$NAME` in paths, as Python's `os.path.expanduser` and `expandvars` have them, which huggingface_hub applies.

use std::ffi::{OsStr, OsString};

/// The variables of an environment.
pub type Variables<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// The home folder of whoever runs this. Empty is set, and means the root, as it does to Python.
pub fn home(env: &Variables) -> Option<OsString> {
    let own = if cfg!(windows) { "USERPROFILE" } else { "HOME" };
    env(own).or_else(|| std::env::home_dir().map(Into::into))
}

/// `~` or `~name` at the start of a path. It stays where there is no such home, and in what is not Unicode.
pub fn user(path: &OsStr, env: &Variables) -> OsString {
    let Some(rest) = path.to_str().and_then(|text| text.strip_prefix('~')) else { return path.into() };
    let end = rest.find(std::path::is_separator).unwrap_or(rest.len());
    let (name, rest) = rest.split_at(end);
    let home = if name.is_empty() { home(env) } else { home_of(name) };
    let Some(home) = home else { return path.into() };
    // A path cannot begin with two slashes because the home is the root.
    let mut whole = match home.to_str() {
        Some(home) => home.trim_end_matches(std::path::is_separator).into(),
        None => home,
    };
    whole.push(rest);
    if whole.is_empty() { "/".into() } else { whole }
}

/// The home of another user, where the system lists users in a file.
fn home_of(name: &str) -> Option<OsString> {
    let users = std::fs::read_to_string(if cfg!(unix) { "/etc/passwd" } else { return None }).ok()?;
    let of_user = |line: &str| {
        let mut fields = line.split(':');
        (fields.next() == Some(name)).then(|| fields.nth(4).map(OsString::from)).flatten()
    };
    users.lines().find_map(of_user)
}

/// `$NAME` and `${NAME}`, on Windows `%NAME%` too. Unknown ones stay, and what was put in is not looked at again.
pub fn variables(path: &OsStr, env: &Variables) -> OsString {
    let Some(mut rest) = path.to_str() else { return path.into() };
    let mut whole = OsString::new();
    let sign = |c: char| c == '$' || cfg!(windows) && c == '%';
    while let Some(at) = rest.find(sign) {
        whole.push(&rest[..at]);
        rest = &rest[at..];
        let len = 1 + reference(rest);
        let name = rest[1..len].trim_end_matches(['}', '%']);
        let name = name.strip_prefix('{').unwrap_or(name);
        match env(name).filter(|_| len > 1) {
            Some(value) => whole.push(value),
            None => whole.push(&rest[..len]),
        }
        rest = &rest[len..];
    }
    whole.push(rest);
    whole
}

/// How many bytes after its sign belong to a reference; none where it is none.
fn reference(text: &str) -> usize {
    let (sign, rest) = text.split_at(1);
    let closed = |end: char| rest[1..].find(end).map_or(0, |at| at + 2);
    match (sign, rest.chars().next()) {
        ("%", Some(_)) => rest.find('%').map_or(0, |at| at + 1),
        (_, Some('{')) => closed('}'),
        _ => rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len()),
    }
}
