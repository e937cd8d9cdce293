//! Where models come from and are kept, as the environment says: the variables of huggingface_hub's `constants.py`,
//! with the meaning that they have there.

use crate::expand::{self, Variables};
use crate::{Error, Result};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// The hub's own address.
const ENDPOINT: &str = "https://huggingface.co";

/// What the environment says.
#[derive(Clone, Debug)]
pub struct Environment {
    /// Without a slash at its end.
    pub endpoint: String,
    /// The folder of all repositories.
    pub cache: PathBuf,
    /// The variable that says where it is, where one does.
    pub cache_by: Option<&'static str>,
    /// Ask the network for nothing.
    pub offline: bool,
    /// Whether snapshots may be made of links.
    pub links: bool,
    /// How long to wait for what the hub says of a file, and for a file's bytes, where that is set.
    pub patience: [Option<Duration>; 2],
    token: Token,
    home: PathBuf,
    home_by: Option<&'static str>,
}

/// Where a token is looked for; only when one is needed.
#[derive(Clone, Debug)]
enum Token {
    /// Of a variable.
    Given(String),
    /// In the file that `hf auth login` writes.
    File(PathBuf),
    /// HF_HUB_DISABLE_IMPLICIT_TOKEN.
    Withheld,
}

impl Environment {
    pub fn read(env: &Variables) -> Result<Self> {
        let text = |name: &str| env(name).map(|value| value.to_string_lossy().into_owned());
        // An empty variable is none only where Python's `or` stands between two.
        let filled = |name: &str| text(name).filter(|value| !value.is_empty());
        let yes = |value: Option<String>| {
            value.is_some_and(|v| ["1", "ON", "YES", "TRUE"].contains(&v.to_uppercase().as_str()))
        };
        let patience = |name: &'static str| text(name).map_or(Ok(None), |value| seconds(name, &value));
        let patience = [patience("HF_HUB_ETAG_TIMEOUT")?, patience("HF_HUB_DOWNLOAD_TIMEOUT")?];
        let (home, home_by) = hf_home(env);
        let (cache, cache_by) = match first(&["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE"], env) {
            Some((by, given)) => (expanded(&given, env), Some(by)),
            None => (expanded(home.join("hub").as_os_str(), env), home_by),
        };
        let token = match filled("HF_TOKEN").or_else(|| filled("HUGGING_FACE_HUB_TOKEN")).map(clean) {
            _ if yes(text("HF_HUB_DISABLE_IMPLICIT_TOKEN")) => Token::Withheld,
            Some(token) if !token.is_empty() => Token::Given(token),
            _ => Token::File(match env("HF_TOKEN_PATH") {
                Some(given) => expanded(&given, env),
                None => expanded(home.join("token").as_os_str(), env),
            }),
        };
        let endpoint = filled("HF_ENDPOINT").unwrap_or_else(|| ENDPOINT.into());
        Ok(Self {
            endpoint: endpoint.trim_end_matches('/').into(),
            cache: absolute(cache, env)?,
            cache_by,
            offline: yes(filled("HF_HUB_OFFLINE").or_else(|| text("TRANSFORMERS_OFFLINE"))),
            links: !yes(text("HF_HUB_DISABLE_SYMLINKS")),
            patience,
            token,
            home,
            home_by,
        })
    }

    /// The token to show to the hub.
    pub fn token(&self) -> Result<Option<String>> {
        let (token, source) = match &self.token {
            Token::Withheld => return Ok(None),
            Token::Given(token) => (token.clone(), "HF_TOKEN".into()),
            Token::File(path) => match fs::read_to_string(path) {
                Ok(text) => (clean(text), path.display().to_string()),
                Err(e) if e.kind() == ErrorKind::NotFound => return Ok(None),
                // The cache has no place there either.
                Err(error)
                    if error.kind() == ErrorKind::NotADirectory && path.parent() == Some(&self.home) =>
                {
                    return Err(Error::io(&self.home, error).placed(self.home_by));
                }
                Err(error) => return Err(Error::TokenFile { path: path.clone(), error }),
            },
        };
        match token.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            true => Ok(Some(token).filter(|token| !token.is_empty())),
            false => Err(Error::NoToken { place: source }),
        }
    }
}

/// The first variable that is set, and what it says.
fn first(names: &[&'static str], env: &Variables) -> Option<(&'static str, OsString)> {
    names.iter().find_map(|name| Some((*name, env(name)?)))
}

/// Hugging Face's folder, and the variable that says where it is.
fn hf_home(env: &Variables) -> (PathBuf, Option<&'static str>) {
    let (caches, by) = match first(&["HF_HOME", "XDG_CACHE_HOME"], env) {
        Some((by @ "HF_HOME", given)) => return (expanded(&given, env), Some(by)),
        Some((by, given)) => (PathBuf::from(given), Some(by)),
        None => (Path::new(&expand::user(OsStr::new("~"), env)).join(".cache"), None),
    };
    (expanded(caches.join("huggingface").as_os_str(), env), by)
}

fn expanded(path: &OsStr, env: &Variables) -> PathBuf {
    expand::variables(&expand::user(path, env), env).into()
}

/// A cache's folder, whose `~` may have come out of a variable. Python's `Path` leaves out `.` before it looks.
fn absolute(path: PathBuf, env: &Variables) -> Result<PathBuf> {
    let path: PathBuf = path.components().filter(|part| *part != Component::CurDir).collect();
    let path = PathBuf::from(expand::user(path.as_os_str(), env));
    match path.to_string_lossy().starts_with('~') {
        true => Err(Error::NoHome { path }),
        false => Ok(path),
    }
}

/// A token without the line ends that copying brings along.
fn clean(token: String) -> String {
    token.replace(['\r', '\n'], "").trim().to_owned()
}

/// Whole seconds as Python's `int` reads them; none is the default.
fn seconds(name: &'static str, value: &str) -> Result<Option<Duration>> {
    let digits = value.trim();
    let digits = digits.strip_prefix('+').unwrap_or(digits);
    match digits.parse::<u32>() {
        Ok(count) => Ok((count > 0).then(|| Duration::from_secs(count.into()))),
        Err(_) => Err(Error::Seconds { name, value: value.into() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cache_knows_which_variable_says_where_it_is() {
        let all = ["HF_HUB_CACHE", "HUGGINGFACE_HUB_CACHE", "HF_HOME", "XDG_CACHE_HOME"];
        for first in 0..=all.len() {
            let env = |name: &str| match all[first..].contains(&name) || name == "HOME" {
                true => Some(OsString::from("/there")),
                false => None,
            };
            assert_eq!(Environment::read(&env).unwrap().cache_by, all.get(first).copied());
        }
    }
}
