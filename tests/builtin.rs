//! `builtin.json`: the model that comes with the program draws what diffusers draws with it, from prompt and seed alone.

use crate::end_to_end::{apart, read_png};
use crate::support::{Device, Report};
use calotype::{Precision, Request, builtin};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn hex(digest: impl AsRef<[u8]>) -> String {
    digest.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// The model's files by path, but for what people read.
fn files(folder: &Path, prefix: &str, found: &mut Vec<(String, Vec<u8>)>) {
    for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => files(&entry.path(), &format!("{name}/"), found),
            false if name.ends_with(".md") => {}
            false => found.push((name, fs::read(entry.path()).unwrap())),
        }
    }
}

fn goldens() -> Json {
    let text = fs::read(root().join("tests/goldens/builtin.json")).unwrap();
    serde_json::from_slice(&text).unwrap()
}

#[test]
fn the_goldens_are_of_this_model() {
    let mut found = Vec::new();
    files(&root().join("models/emoji"), "", &mut found);
    // As Python sorts paths: part by part.
    found.sort_by(|(a, _), (b, _)| a.split('/').cmp(b.split('/')));
    let lines: String =
        found.iter().map(|(name, bytes)| format!("{name} {}\n", hex(Sha256::digest(bytes)))).collect();
    assert_eq!(
        goldens()["model"],
        hex(Sha256::digest(lines)),
        "the model has changed: make its goldens again (tests/goldens/make.py builtin) and look at the pictures"
    );
    let bytes: usize = found.iter().map(|(_, bytes)| bytes.len()).sum();
    assert!(bytes <= 45_000_000, "{bytes} bytes are more than a program should carry");
}

#[test]
fn the_built_in_model_draws_what_diffusers_draws_with_it() {
    let goldens = goldens();
    let mut report = Report::default();
    for device in [Some(Device::cpu()), Device::gpus().into_iter().next()].into_iter().flatten() {
        for case in goldens["pictures"].as_array().unwrap() {
            let number = |field: &str| case[field].as_f64().unwrap();
            let text = |field: &str| case[field].as_str().unwrap().to_string();
            let model = builtin::model().unwrap();
            let few_steps = case["few_steps"].as_bool().unwrap();
            let (steps, cfg_scale) = (number("steps") as usize, number("guidance") as f32);
            let mut request = Request { seed: number("seed") as u64, ..Request::new(text("prompt")) };
            if few_steps {
                // What the model draws with where nothing is said.
                let order = request.settle(&model).unwrap();
                assert_eq!(
                    (order.few_steps.is_some(), order.steps, order.cfg_scale),
                    (true, steps, cfg_scale)
                );
            } else {
                request.negative_prompts = vec![text("negative_prompt")];
                (request.steps, request.cfg_scale) = (Some(steps), Some(cfg_scale));
                request.few_steps = Some(false);
            }
            let output = device.pipeline(model, Precision::F32).text_to_image(&request).unwrap();
            let picture = &output.pictures[0];
            let size = (number("width") as usize, number("height") as usize);
            assert_eq!((picture.width, picture.height), size);
            let golden = read_png(&root().join("tests/goldens").join(text("png")));
            let off = apart(&picture.rgb(), &golden);
            println!("{} {}: {off} of 255", text("name"), device.name);
            report.check(off <= 1, || format!("{} {} differs by {off} of 255", text("name"), device.name));
        }
    }
    report.finish();
}
