//! `builtin.json`: the model that comes with the program draws what diffusers draws with it, from prompt and seed alone.

use crate::pictures::{apart, read_png};
use crate::support::{Device, Report};
use calotype::{Picture, Pipeline, Precision, Request, builtin};
use serde_json::Value as Json;
use sha2::{Digest, Sha256};
use std::fs;
use std::ops::ControlFlow;
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

/// A preview of the finished latents is the picture made small, as far as a linear map goes, and there is none unasked.
#[test]
fn a_run_can_be_looked_at_on_its_way() {
    let mut pipeline = Device::cpu().pipeline(builtin::model().unwrap(), Precision::F32);
    let request = Request { seed: 1, ..Request::new("a red apple") };
    let mut seen = Vec::new();
    let mut look = |pipeline: &mut Pipeline| {
        let drawn = pipeline.text_to_image_with(&request, |_, run| {
            seen.push(run.preview().unwrap());
            ControlFlow::Continue(())
        });
        (drawn.unwrap().pictures.remove(0), std::mem::take(&mut seen))
    };
    let (picture, unasked) = look(&mut pipeline);
    assert!(unasked.len() == 4 && unasked.iter().all(Option::is_none));
    pipeline.prepare_previews(&request).unwrap();
    let (again, previews) = look(&mut pipeline);
    assert_eq!(picture, again, "looking changes nothing");
    let previews: Vec<_> = previews.into_iter().map(Option::unwrap).collect();
    let last = &previews[3];
    let factor = picture.height / last.height;
    let small = |y: usize, x: usize, c: usize| -> f64 {
        let of = |r: usize, k: usize| {
            f64::from(picture.pixels[4 * ((y * factor + r) * picture.width + x * factor + k) + c])
        };
        (0..factor).flat_map(|r| (0..factor).map(move |k| (r, k))).map(|(r, k)| of(r, k)).sum::<f64>()
            / (factor * factor) as f64
    };
    let off = |preview: &Picture| {
        let places =
            (0..last.height).flat_map(|y| (0..last.width).flat_map(move |x| (0..3).map(move |c| (y, x, c))));
        let each = places.map(|(y, x, c)| {
            (f64::from(preview.pixels[4 * (y * last.width + x) + c]) - small(y, x, c)).abs()
        });
        each.sum::<f64>() / (3 * last.height * last.width) as f64
    };
    let [first, end] = [off(&previews[0]), off(last)];
    assert!(end < 40.0 && end < 0.6 * first, "off by {first:.1} levels at first, and {end:.1} at the end");
}
