//! Lists the files of the built-in model, to be embedded (feature `builtin`): another model is put in its place by replacing the folder.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

/// The model that comes with the program, a folder in the diffusers layout.
const MODEL: &str = "models/emoji";

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it")).join(MODEL);
    println!("cargo::rerun-if-changed={MODEL}");
    let mut files = Vec::new();
    if env::var_os("CARGO_FEATURE_BUILTIN").is_some() {
        visit(&root, &root, &mut files);
    }
    files.sort();
    let mut list = String::from("[\n");
    for path in files {
        writeln!(list, "({path:?}, include_bytes!({:?}) as &[u8]),", root.join(&path)).expect("a string");
    }
    list.push(']');
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    fs::write(out.join("builtin.rs"), list).expect("the build folder can be written to");
}

/// The paths of files that the engine reads, with `/` between their parts.
fn visit(root: &Path, folder: &Path, files: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap_or_else(|e| panic!("{}: {e}", folder.display())) {
        let path = entry.expect("a readable folder").path();
        if path.is_dir() {
            visit(root, &path, files);
        } else if path
            .extension()
            .is_some_and(|e| ["json", "txt", "safetensors"].iter().any(|read| e == *read))
        {
            let parts = path.strip_prefix(root).expect("below it").iter().map(|part| part.to_string_lossy());
            files.push(parts.collect::<Vec<_>>().join("/"));
        }
    }
}
