//! What a model's files are called stands in one place, and everything that reads, fetches or lends them goes by it.

use super::{root, visit};
use calotype_models::{config::Architecture, layout};
use std::collections::BTreeSet;

/// Where the list is.
const LIST: &str = "crates/models/src/layout.rs";

/// Where some of the names stand again: what is embedded is named by literals, which a test holds against the list.
const EMBEDDED: &str = "crates/models/src/config/architectures.rs";

/// Names that say by themselves whose they are; `config.json` does not, nor what a scheduler's text is called by default.
fn names() -> BTreeSet<&'static str> {
    let own = |path: &'static str| match path.rsplit_once('/') {
        Some((_, "config.json" | "scheduler_config.json")) | None => path,
        Some((_, name)) => name,
    };
    layout::small().map(own).chain(["diffusion_pytorch_model"]).collect()
}

/// Whether a line has the name, and not as the end of another.
fn spells(line: &str, name: &str) -> bool {
    let alone = |at| !line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_');
    line.match_indices(name).any(|(at, _)| alone(at))
}

#[test]
fn a_models_files_are_listed_in_one_place() {
    let names = names();
    let (mut wrong, mut listed) = (Vec::new(), BTreeSet::new());
    for folder in ["src", "crates"] {
        visit(&root().join(folder), &mut |path| {
            let shown = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            let tests = ["tests.rs", "peer.rs"].iter().any(|file| shown.ends_with(file));
            if !shown.ends_with(".rs") || !shown.contains("src/") || tests || shown == EMBEDDED {
                return;
            }
            let text = std::fs::read_to_string(path).unwrap();
            let text = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            for line in code.filter(|line| line.contains('"')) {
                for name in names.iter().filter(|name| spells(line, name)) {
                    match shown == LIST {
                        true => _ = listed.insert(*name),
                        false => wrong.push(format!("{shown} spells {name}: take it from {LIST}")),
                    }
                }
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    // The search sees what it looks for.
    assert!(listed.len() > 8, "{listed:?}");
}

#[test]
fn what_is_embedded_is_of_the_list() {
    let listed: BTreeSet<&str> = layout::small().collect();
    for architecture in Architecture::ALL {
        let files = architecture.files();
        assert!(files.iter().all(|(path, _)| listed.contains(path)), "{architecture:?}");
        assert!(
            layout::CONFIGURATION.iter().all(|path| architecture.file(path).is_some()),
            "{architecture:?}"
        );
    }
}
