//! `~` and `$NAME` in paths, as Python's `os.path.expanduser` and `expandvars` have them, which huggingface_hub applies:
//! `posixpath.py`, and on Windows `ntpath.py`.

use std::ffi::{OsStr, OsString};

/// The variables of an environment.
pub type Variables<'a> = dyn Fn(&str) -> Option<OsString> + 'a;

/// `~` or `~name` at the start of a path. It stays where there is no such home, and in what is not Unicode.
pub fn user(path: &OsStr, env: &Variables) -> OsString {
    if cfg!(windows) { windows::user(path, env) } else { posix::user(path, env) }
}

/// `$NAME` and `${NAME}`, on Windows `%NAME%` too. Unknown ones stay, and what was put in is not looked at again.
pub fn variables(path: &OsStr, env: &Variables) -> OsString {
    if cfg!(windows) { windows::variables(path, env) } else { posix::variables(path, env) }
}

/// What stands between a path's `~` and its first separator, and the rest.
fn tilde<'a>(path: &'a OsStr, separators: &[char]) -> Option<(&'a str, &'a str)> {
    let rest = path.to_str()?.strip_prefix('~')?;
    Some(rest.split_at(rest.find(separators).unwrap_or(rest.len())))
}

mod posix {
    use super::*;

    pub fn user(path: &OsStr, env: &Variables) -> OsString {
        let Some((name, rest)) = tilde(path, &['/']) else { return path.into() };
        // Empty is set, and means the root, as it does to Python.
        let own = || env("HOME").or_else(|| std::env::home_dir().map(Into::into));
        let home = if name.is_empty() { own() } else { home_of(name) };
        let Some(home) = home else { return path.into() };
        // A path cannot begin with two slashes because the home is the root.
        let mut whole = match home.to_str() {
            Some(home) => home.trim_end_matches('/').into(),
            None => home,
        };
        whole.push(rest);
        if whole.is_empty() { "/".into() } else { whole }
    }

    /// The home of another user, where the system lists users in a file.
    fn home_of(name: &str) -> Option<OsString> {
        let users = std::fs::read_to_string("/etc/passwd").ok()?;
        let of_user = |line: &str| {
            let mut fields = line.split(':');
            (fields.next() == Some(name)).then(|| fields.nth(4).map(OsString::from)).flatten()
        };
        users.lines().find_map(of_user)
    }

    pub fn variables(path: &OsStr, env: &Variables) -> OsString {
        let Some(mut rest) = path.to_str() else { return path.into() };
        let mut whole = OsString::new();
        while let Some(at) = rest.find('$') {
            whole.push(&rest[..at]);
            rest = &rest[at..];
            let len = 1 + reference(&rest[1..]);
            let name = rest[1..len].trim_end_matches('}');
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
    fn reference(rest: &str) -> usize {
        match rest.starts_with('{') {
            true => rest.find('}').map_or(0, |at| at + 1),
            false => rest.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(rest.len()),
        }
    }
}

mod windows {
    use super::*;

    const SEPARATORS: [char; 2] = ['\\', '/'];

    pub fn user(path: &OsStr, env: &Variables) -> OsString {
        let Some((name, rest)) = tilde(path, &SEPARATORS) else { return path.into() };
        let Some(mut home) = home(env).and_then(|home| home.into_string().ok()) else { return path.into() };
        let own = env("USERNAME");
        if !name.is_empty() && own.as_deref() != Some(OsStr::new(name)) {
            // Homes lie beside each other, if this one has its user's name.
            let at = home.rfind(SEPARATORS).map_or(0, |at| at + 1);
            if own.as_deref() != Some(OsStr::new(&home[at..])) {
                return path.into();
            }
            home.replace_range(at.., name);
        }
        (home + rest).into()
    }

    fn home(env: &Variables) -> Option<OsString> {
        let on_drive = || {
            let mut home = env("HOMEDRIVE").unwrap_or_default();
            home.push(env("HOMEPATH")?);
            Some(home)
        };
        env("USERPROFILE").or_else(on_drive).or_else(|| std::env::home_dir().map(Into::into))
    }

    pub fn variables(path: &OsStr, env: &Variables) -> OsString {
        let Some(mut rest) = path.to_str() else { return path.into() };
        let mut whole = OsString::new();
        while let Some(at) = rest.find(['\'', '%', '$']) {
            whole.push(&rest[..at]);
            let (sign, after) = rest[at..].split_at(1);
            let (len, name) = reference(sign, after);
            match name {
                // A sign stands for itself where it is written twice.
                Some("") if after.starts_with(sign) => whole.push(sign),
                Some(name) => match env(name) {
                    Some(value) => whole.push(value),
                    None => whole.push(&rest[at..at + 1 + len]),
                },
                None => whole.push(&rest[at..at + 1 + len]),
            }
            rest = &after[len..];
        }
        whole.push(rest);
        whole
    }

    /// How many bytes after a sign belong to it, and the name that they refer to. What is not closed goes on to the end.
    fn reference<'a>(sign: &str, after: &'a str) -> (usize, Option<&'a str>) {
        let closed = |begin: usize, end: char| match after[begin..].find(end) {
            Some(at) => (begin + at + 1, Some(&after[begin..begin + at])),
            None => (after.len(), None),
        };
        match sign {
            // Between single quotes all stays as it is.
            "'" => (closed(0, '\'').0, None),
            "%" => closed(0, '%'),
            _ if after.starts_with('$') => (1, Some("")),
            _ if after.starts_with('{') => closed(1, '}'),
            _ => {
                let other = |c: char| !(c.is_ascii_alphanumeric() || "_-".contains(c));
                let len = after.find(other).unwrap_or(after.len());
                (len, Some(&after[..len]))
            }
        }
    }
}

/// What Windows' functions make of a path, wherever this runs.
#[cfg(test)]
pub fn on_windows(path: &OsStr, env: &Variables) -> OsString {
    windows::variables(&windows::user(path, env), env)
}
