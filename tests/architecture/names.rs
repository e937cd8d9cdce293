//! A name stands for one thing.

use super::{root, visit};
use std::collections::{BTreeMap, BTreeSet};

/// Types that crates show under one name all the same. Each crate has its error and result; the library's pipeline is the
/// crate pipeline's, waited for; a configuration's activation is the op's; how far a
/// download is has a stand-in where the library is built without the hub.
const SHARED: &[&str] = &["Error", "Result", "Pipeline", "Activation", "DownloadProgress"];

/// Names that still stand for two things: of these, one is to go.
const DOUBLE: &[&str] = &["Program", "Span", "Part"];

#[test]
fn a_public_type_has_a_name_of_its_own() {
    let mut places: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for folder in ["src", "crates"] {
        visit(&root().join(folder), &mut |path| {
            let shown = path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
            if !shown.ends_with(".rs") || !shown.contains("src/") {
                return;
            }
            for line in std::fs::read_to_string(path).unwrap().lines() {
                let mut words = line.split([' ', '<', '(', ';', ':']).filter(|word| !word.is_empty());
                let kind = ["struct", "enum", "trait", "type"];
                if words.next() == Some("pub")
                    && words.next().is_some_and(|word| kind.contains(&word))
                    && let Some(name) = words.next()
                {
                    places.entry(name.into()).or_default().insert(shown.clone());
                }
            }
        });
    }
    assert!(places.len() > 200, "{} public types: most were not seen", places.len());
    let twice = |name: &str| places.get(name).is_some_and(|files| files.len() > 1);
    let mut wrong = Vec::new();
    for (name, files) in places.iter().filter(|(name, _)| twice(name)) {
        if !SHARED.contains(&name.as_str()) && !DOUBLE.contains(&name.as_str()) {
            let files = files.iter().cloned().collect::<Vec<_>>().join(" and ");
            wrong.push(format!("{name} stands for two things, in {files}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
