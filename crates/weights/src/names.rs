//! Which names a server, or a user, may give to files. The rules are those of every system at once, since caches are
//! moved and shared; [`windows`] has what that system alone refuses, or takes for another name.

/// Device names of Windows, whatever the ending.
const DEVICES: [&str; 6] = ["con", "prn", "aux", "nul", "conin$", "conout$"];

/// Why a path in a repository cannot be a path below a folder.
pub fn fault(path: &str) -> Option<&'static str> {
    path.split('/').find_map(part)
}

/// Why a text cannot be one name in a folder.
pub fn part(name: &str) -> Option<&'static str> {
    let stem = name.split(['.', ':']).next().unwrap_or(name).trim_end();
    let numbered = |kind: &str| {
        let is_kind = stem.get(..3).is_some_and(|head| head.eq_ignore_ascii_case(kind));
        let mut rest = stem.get(3..).unwrap_or("").chars();
        is_kind && matches!((rest.next(), rest.next()), (Some('1'..='9' | '¹' | '²' | '³'), None))
    };
    Some(match name {
        "" => "it has a part without a name, or begins at the root",
        "." | ".." => "it leads out of its folder",
        _ if name.contains('/') => "it has a slash",
        _ if name.contains('\\') => "it has a backslash",
        _ if name.contains(':') => "it has a colon, as drives have",
        _ if name.chars().any(char::is_control) => "it has a control character",
        _ if name.ends_with(['.', ' ']) => "a part of it ends in a dot or a blank",
        _ if DEVICES.iter().any(|device| stem.eq_ignore_ascii_case(device))
            || numbered("com")
            || numbered("lpt") =>
        {
            "a part of it is the name of a device"
        }
        _ => return None,
    })
}

/// Why a text cannot be the name of a file on Windows. Much of it is not refused there, but means another file (`a.png.`
/// is `a.png`), a device (`nul.png`, on most versions) or a part of a file (`a:b.png`).
pub fn windows(name: &str) -> Option<&'static str> {
    let kept = ['<', '>', '"', '|', '?', '*'];
    part(name).or_else(|| {
        name.contains(kept).then_some("it has one of < > \" | ? *, which Windows keeps for itself")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_windows_takes_for_others_are_known() {
        for name in [
            "con",
            "CON.png",
            "nul",
            "aux.txt",
            "com1.png",
            "lpt\u{b9}",
            "nul .png",
            "conin$",
            "a.png.",
            "a ",
            "...",
        ] {
            assert!(windows(name).is_some(), "{name}");
        }
        for name in ["a:b.png", "what?.png", "a*.png", "<a>", "a|b", "\"a\"", "a\u{1}b", "a\\b", "a/b"] {
            assert!(windows(name).is_some(), "{name}");
        }
        for name in [
            "contour.png",
            "a.con",
            ".nul",
            "com0.png",
            "com10.png",
            "lpt.png",
            "\u{732b}.png",
            "a b.png",
            "$x#{}~.png",
        ] {
            assert_eq!(windows(name), None, "{name}");
        }
    }
}
