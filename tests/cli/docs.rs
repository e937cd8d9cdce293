//! What the documents show that the command prints is what it prints.

use crate::support::{calotype, goldens};
use std::collections::BTreeSet;

/// Blocks of a document that show a command, `calotype inspect FILE`, and what it printed.
fn inspections(text: &str) -> Vec<(&str, &str)> {
    let blocks = text.split("```\n").skip(1).step_by(2);
    blocks.filter_map(|block| block.strip_prefix("$ calotype inspect ")?.split_once('\n')).collect()
}

/// Without blanks at the lines' ends, which no document has.
fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().into()
}

#[test]
fn formats_are_inspected_as_their_page_shows() {
    let text = std::fs::read_to_string(goldens().join("../../docs/formats.md")).unwrap();
    let mut formats = BTreeSet::new();
    for (file, shown) in inspections(&text).into_iter().filter(|(file, _)| goldens().join(file).exists()) {
        let output = calotype(&goldens()).args(["inspect", file]).output().unwrap();
        let printed = String::from_utf8(output.stdout).unwrap().replace('\\', "/");
        assert_eq!(trimmed(&printed), trimmed(shown), "docs/formats.md, {file}");
        let (_, format) = printed.lines().next().unwrap().split_once(": ").unwrap();
        formats.insert(format.split(',').next().unwrap().to_owned());
    }
    let all = [
        "safetensors",
        "PyTorch pickle (zip)",
        "PyTorch pickle (legacy)",
        "PyTorch pickle (tar)",
        "GGUF",
        "HDF5",
    ];
    assert_eq!(formats, all.map(String::from).into());
}
