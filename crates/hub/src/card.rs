//! What a model's card says: the lines between two `---` at its beginning, which are YAML
//! (huggingface.co/docs/hub/model-cards).

use calotype_models::layout::CARD;
use std::path::Path;

/// The licence that the card in a model's folder names, by its own name where it has one.
pub fn license(folder: &Path) -> Option<String> {
    of(&std::fs::read_to_string(folder.join(CARD)).ok()?)
}

fn of(card: &str) -> Option<String> {
    let text = card.trim_start_matches('\u{feff}').replace("\r\n", "\n");
    let (said, _) = text.strip_prefix("---\n")?.split_once("\n---")?;
    let value = |key: &str| {
        let mut lines = said.lines().skip_while(|line| !line.starts_with(key));
        let own = plain(lines.next()?.strip_prefix(key)?);
        // A list has its entries on lines of their own.
        let listed = || {
            lines.map_while(|line| line.trim().strip_prefix('-')).map(plain).collect::<Vec<_>>().join(", ")
        };
        Some(if own.is_empty() { listed() } else { own }).filter(|value| !value.is_empty())
    };
    let license = value("license:")?;
    match (license.as_str(), value("license_name:"), value("license_link:")) {
        ("other", Some(name), Some(link)) => Some(format!("{name} ({link})")),
        ("other", Some(name), None) => Some(name),
        _ => Some(license),
    }
}

/// A value without quotes, brackets and a comment behind it.
fn plain(text: &str) -> String {
    let text = text.split(" #").next().unwrap_or(text);
    text.trim()
        .trim_matches(['[', ']'])
        .replace(['"', '\''], "")
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_told_as_the_card_names_it() {
        for (card, license) in [
            ("---\nlicense: creativeml-openrail-m\ntags:\n- a\n---\n# Model", Some("creativeml-openrail-m")),
            ("---\r\ntags: [a]\r\nlicense: \"mit\" # free\r\n---\r\n", Some("mit")),
            ("---\nlicense:\n  - mit\n  - apache-2.0\nname: x\n---\n", Some("mit, apache-2.0")),
            (
                "---\nlicense: other\nlicense_name: sai-nc\nlicense_link: LICENSE.md\n---\n",
                Some("sai-nc (LICENSE.md)"),
            ),
            ("---\nlicense: other\n---\n", Some("other")),
            ("---\nlicense_name: x\n---\n", None),
            ("---\nlicense:\ntags:\n- mit\n---\n", None),
            ("# Model\nlicense: mit\n", None),
            ("---\nlicense: mit", None),
            ("", None),
        ] {
            assert_eq!(of(card).as_deref(), license, "{card}");
        }
    }
}
