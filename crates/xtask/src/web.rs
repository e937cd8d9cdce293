//! `web`: the page as a folder that any static host can serve.

use anyhow::{Context, Result, ensure};
use flate2::{Compression, write::GzEncoder};
use serde_json::{Map, json};
use sha2::{Digest, Sha256};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the engine may weigh on the wire, in bytes after gzip; the model is apart.
const BUDGET: usize = 1_100_000;

/// The model that the page loads by itself, a folder in the diffusers layout.
const MODEL: &str = "models/emoji";

/// What single files are read with: fetched where one is opened.
const MERGES: &str = "crates/pipeline/assets/clip_merges.txt.gz";

/// The project's folder.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Builds `web/dist`: the wasm with its bindings in `pkg`, the page, and the model with a list of its files.
pub fn build() -> Result<()> {
    let root = root().canonicalize()?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let status = Command::new(cargo)
        .current_dir(&root)
        .args(["build", "--profile", "wasm", "--target", "wasm32-unknown-unknown", "-p", "calotype-web"])
        .status()?;
    ensure!(
        status.success(),
        "the wasm does not build; is the target there? (rustup target add wasm32-unknown-unknown)"
    );

    let dist = root.join("web/dist");
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    let pkg = dist.join("pkg");
    fs::create_dir_all(&pkg)?;
    wasm_bindgen_cli_support::Bindgen::new()
        .input_path(target.join("wasm32-unknown-unknown/wasm/calotype_web.wasm"))
        .web(true)?
        .typescript(true)
        .remove_name_section(true)
        .remove_producers_section(true)
        .generate(&pkg)?;
    copy(&root.join("crates/web/js"), &pkg)?;
    // Not as .gz: there are servers that unpack those on the way.
    fs::copy(root.join(MERGES), pkg.join("clip_merges.bin")).with_context(|| MERGES)?;
    for file in ["index.html", "main.js", "style.css"] {
        fs::copy(root.join("web").join(file), dist.join(file)).with_context(|| format!("web/{file}"))?;
    }
    copy(&root.join(MODEL), &dist.join("model"))?;
    list(&dist.join("model"))?;

    let wasm = fs::read(pkg.join("calotype_web_bg.wasm"))?;
    let mut packed = GzEncoder::new(Vec::new(), Compression::best());
    packed.write_all(&wasm)?;
    let packed = packed.finish()?.len();
    println!("web/dist: wasm {} bytes, {packed} gzipped of a budget of {BUDGET}", wasm.len());
    ensure!(packed <= BUDGET, "the wasm is {} bytes over its budget", packed - BUDGET);
    Ok(())
}

/// Copies a folder's files and folders.
fn copy(from: &Path, to: &Path) -> Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from).with_context(|| from.display().to_string())? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}

/// Writes `files.json` into a model folder: every file's size and SHA-256, so that the page asks for nothing that is
/// not there, and knows what it got.
pub fn list(folder: &Path) -> Result<()> {
    let (mut files, mut folders) = (Map::new(), vec![folder.to_path_buf()]);
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next).with_context(|| next.display().to_string())? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let name = path.strip_prefix(folder)?.to_string_lossy().replace('\\', "/");
            if name != "files.json" {
                let bytes = fs::read(&path)?;
                let sum: String = Sha256::digest(&bytes).iter().map(|b| format!("{b:02x}")).collect();
                files.insert(name, json!({ "size": bytes.len(), "sha256": sum }));
            }
        }
    }
    fs::write(folder.join("files.json"), format!("{:#}\n", json!({ "files": files })))?;
    Ok(())
}
