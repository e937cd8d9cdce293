//! What people write for the name of a model: the address of its page, or the name as other tools take it.

use crate::client::HUBS;
use crate::{Error, is_name, names};

/// The error that a text deserves which is no model's name and means one.
pub fn misspelt(text: &str) -> Option<Error> {
    let (name, revision) = meant(text).filter(|(name, _)| name != text)?;
    Some(Error::Misspelt { text: text.into(), name, revision })
}

/// The name of the model that a text means, and the revision where it says one.
fn meant(text: &str) -> Option<(String, Option<String>)> {
    let text = text.trim();
    let path = of_address(text).unwrap_or(text).trim_end_matches('/');
    let (owner, rest) = path.split_once('/')?;
    let (rest, tag) = rest.split_once('@').unwrap_or((rest, ""));
    let (name, below) = rest.split_once('/').unwrap_or((rest, ""));
    let name = format!("{owner}/{}", name.strip_suffix(".git").unwrap_or(name));
    let mut below = below.split('/');
    let page = matches!(below.next(), Some("tree" | "blob" | "resolve" | "commit"));
    let branch = below.next().filter(|_| page);
    // A path that goes on is one of this machine, unless it is an address's.
    let whole = of_address(text).is_some() || !rest.contains('/');
    let revision = branch.or(Some(tag)).filter(|revision| names::fault(revision).is_none());
    (whole && is_name(&name)).then(|| (name, revision.map(String::from)))
}

/// The path of an address of a server, or of one of the hub's hosts without the scheme.
fn of_address(text: &str) -> Option<&str> {
    let (start, rest) = text.split_once("://").map_or(("", text), |(scheme, rest)| (scheme, rest));
    let (host, path) = rest.split_once('/')?;
    let known = HUBS.iter().any(|hub| hub.ends_with(&format!("://{}", host.to_ascii_lowercase())));
    let is_web = ["http", "https"].iter().any(|scheme| start.eq_ignore_ascii_case(scheme));
    let path = path.split(['?', '#']).next().unwrap_or(path);
    (is_web || start.is_empty() && known).then(|| path.trim_start_matches('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_a_model_is_told_from_what_means_a_folder() {
        for hub in HUBS.into_iter().chain(["http://localhost:8080", "HTTPS://mirror.example"]) {
            for (rest, revision) in [
                ("", None),
                ("/", None),
                (".git", None),
                ("?library=diffusers", None),
                ("/tree/v2", Some("v2")),
                ("/blob/main/unet/config.json#L2", Some("main")),
                ("/discussions/1", None),
            ] {
                let expected = Some(("own/ti.ny".into(), revision.map(String::from)));
                assert_eq!(meant(&format!("{hub}/own/ti.ny{rest}")), expected, "{hub} {rest}");
            }
            if HUBS.contains(&hub) {
                let bare = hub.trim_start_matches("https://");
                assert_eq!(meant(&format!("{bare}/own/tiny/")), Some(("own/tiny".into(), None)));
            }
        }
        for (text, revision) in [
            ("own/tiny/", None),
            ("own/tiny.git", None),
            (" own/tiny ", None),
            ("own/tiny@main", Some("main")),
            ("own/tiny@refs/pr/1", Some("refs/pr/1")),
            ("own/tiny@", None),
            ("own/tiny@../x", None),
        ] {
            assert_eq!(meant(text), Some(("own/tiny".into(), revision.map(String::from))), "{text}");
        }
        assert!(misspelt("own/tiny").is_none() && misspelt("own/tiny/").is_some());
        for text in [
            "",
            "/",
            "tiny",
            "tiny/",
            "/own/tiny",
            "./own/tiny",
            "../own/tiny/",
            "own/tiny/unet",
            "models/own/tiny/tree/main",
            "https://localhost",
            "https://localhost/tiny.safetensors",
            "file:///own/tiny",
            "s3://own/tiny/x",
        ] {
            assert_eq!(meant(text), None, "{text}");
        }
    }
}
