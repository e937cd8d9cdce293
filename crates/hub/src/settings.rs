//! Where models come from and are kept, as the environment says: the variables of huggingface_hub's `constants.py`,
//! with the meaning that they have there.

use crate::expand::{self, Variables};
use crate::{Error, Result};
use std::ffi::OsStr;
use std::fs;
use std::io::ErrorKind;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

/// The hub's own address.
const ENDPOINT: &str = "https://huggingface.co";

/// What the environment says.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Without a slash at its end.
    pub endpoint: String,
    /// The folder of all repositories.
    pub cache: PathBuf,
    /// Ask the network for nothing.
    pub offline: bool,
    /// Whether snapshots may be made of links.
    pub links: bool,
    /// How long to wait for what the hub says of a file, and for a file's bytes, where that is set.
    pub patience: [Option<Duration>; 2],
    token: Token,
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

impl Settings {
    pub fn read(env: &Variables) -> Result<Self> {
        let text = |name: &str| env(name).map(|value| value.to_string_lossy().into_owned());
        // An empty variable is none only where Python's `or` stands between two.
        let filled = |name: &str| text(name).filter(|value| !value.is_empty());
        let yes = |value: Option<String>| {
            value.is_some_and(|v| ["1", "ON", "YES", "TRUE"].contains(&v.to_uppercase().as_str()))
        };
        let patience = |name: &'static str| text(name).map_or(Ok(None), |value| seconds(name, &value));
        let patience = [patience("HF_HUB_ETAG_TIMEOUT")?, patience("HF_HUB_DOWNLOAD_TIMEOUT")?];
        let home = hf_home(env);
        let cache = match env("HF_HUB_CACHE").or_else(|| env("HUGGINGFACE_HUB_CACHE")) {
            Some(given) => expanded(&given, env),
            None => expanded(home.join("hub").as_os_str(), env),
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
            offline: yes(filled("HF_HUB_OFFLINE").or_else(|| text("TRANSFORMERS_OFFLINE"))),
            links: !yes(text("HF_HUB_DISABLE_SYMLINKS")),
            patience,
            token,
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
                Err(error) => return Err(Error::TokenFile { path: path.clone(), error }),
            },
        };
        match token.bytes().all(|b| b.is_ascii_graphic() || b == b' ') {
            true => Ok(Some(token).filter(|token| !token.is_empty())),
            false => Err(Error::NoToken { place: source }),
        }
    }
}

/// Hugging Face's folder.
fn hf_home(env: &Variables) -> PathBuf {
    if let Some(given) = env("HF_HOME") {
        return expanded(&given, env);
    }
    let caches = match env("XDG_CACHE_HOME") {
        Some(given) => PathBuf::from(given),
        None => Path::new(&expand::user(OsStr::new("~"), env)).join(".cache"),
    };
    expanded(caches.join("huggingface").as_os_str(), env)
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
