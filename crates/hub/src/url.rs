//! As much of addresses as redirections need (RFC 3986).

use ureq::http::Uri;

/// A text as a part of an address; `/` stays where `path`.
pub fn quote(text: &str, path: bool) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"_.-~".contains(&b) || path && b == b'/';
    escape(text.as_bytes(), plain)
}

fn escape(bytes: &[u8], plain: impl Fn(u8) -> bool) -> String {
    let byte = |&b: &u8| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") };
    bytes.iter().map(byte).collect()
}

/// Scheme, host and port: what a token is for.
pub type WebOrigin = (String, String, u16);

pub fn origin(url: &str) -> Option<WebOrigin> {
    let uri: Uri = url.parse().ok()?;
    let scheme = uri.scheme_str()?.to_ascii_lowercase();
    let port = match &*scheme {
        "http" => 80,
        "https" => 443,
        _ => return None,
    };
    Some((scheme, uri.host()?.to_ascii_lowercase(), uri.port_u16().unwrap_or(port)))
}

/// Where a redirection leads.
pub fn join(base: &str, location: &[u8]) -> String {
    let location = escape(location, |b| b.is_ascii_graphic());
    let location = location.split('#').next().unwrap_or("");
    let (scheme, rest) = base.split_once("://").unwrap_or(("https", base));
    let (host, rest) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let path = rest.split('?').next().unwrap_or("");
    let scheme_end = location.find(|c: char| !(c.is_ascii_alphanumeric() || "+-.".contains(c)));
    if scheme_end.is_some_and(|end| end > 0 && location[end..].starts_with(':')) {
        return location.into();
    }
    if location.starts_with("//") {
        return format!("{scheme}:{location}");
    }
    let (way, query) = location.split_at(location.find('?').unwrap_or(location.len()));
    let way = match way {
        "" => path.to_owned(),
        way if way.starts_with('/') => way.to_owned(),
        way => format!("{}/{way}", path.rsplit_once('/').map_or("", |(folder, _)| folder)),
    };
    format!("{scheme}://{host}{}{query}", without_dots(&way))
}

/// A path without `.` and `..`.
fn without_dots(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." => {}
            ".." if parts.len() > 1 => drop(parts.pop()),
            ".." => {}
            part => parts.push(part),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        parts.push("");
    }
    parts.join("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Python's `urllib.parse.urljoin` gives.
    #[test]
    fn redirections_lead_where_browsers_go() {
        let base = "http://h:1/art/hf/o/n/resolve/main/a.json?x=1";
        for (location, expected) in [
            ("https://other/p?q#f", "https://other/p?q"),
            ("//other/p", "http://other/p"),
            ("/p/q", "http://h:1/p/q"),
            ("b.json", "http://h:1/art/hf/o/n/resolve/main/b.json"),
            ("../b.json", "http://h:1/art/hf/o/n/resolve/b.json"),
            ("./b/./c", "http://h:1/art/hf/o/n/resolve/main/b/c"),
            ("?y=2", "http://h:1/art/hf/o/n/resolve/main/a.json?y=2"),
            ("/a b?sig=%2F+", "http://h:1/a%20b?sig=%2F+"),
            ("/../../x", "http://h:1/x"),
        ] {
            assert_eq!(join(base, location.as_bytes()), expected, "{location}");
        }
        assert_eq!(join("http://h", b"/p"), "http://h/p");
        assert_eq!(origin("HTTP://H/p"), Some(("http".into(), "h".into(), 80)));
        assert_eq!(origin("https://h:8/"), Some(("https".into(), "h".into(), 8)));
        assert_eq!(origin("ftp://h/"), None);
        assert_eq!(quote("a b/ü#?", true), "a%20b/%C3%BC%23%3F");
        assert_eq!(quote("refs/pr/1", false), "refs%2Fpr%2F1");
    }
}
