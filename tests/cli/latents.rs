//! `--latents` and `--save-latents`: the same noise gives the pictures that diffusers makes.

use crate::support::{Folder, decode, goldens, has_adapter, json_lines, tiny};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value as Json;
use std::fs;

/// A tensor of a file: its name, element type, shape and bytes.
type Tensor<'a> = (&'a str, Dtype, &'a [usize], &'a [u8]);

fn file<'a>(tensors: &[Tensor<'a>]) -> Vec<u8> {
    let view = |&(name, dtype, shape, bytes): &Tensor<'a>| -> (String, TensorView<'a>) {
        (name.to_string(), TensorView::new(dtype, shape.to_vec(), bytes).unwrap())
    };
    safetensors::serialize(tensors.iter().map(view), None).unwrap()
}

/// Noise of a picture of 64x64, a different one for each seed.
fn noise(seed: u32) -> Vec<u8> {
    (0..256u32)
        .flat_map(|i| {
            (((i + seed).wrapping_mul(2_654_435_761) as f32 / u32::MAX as f32 - 0.5) * 3.4).to_le_bytes()
        })
        .collect()
}

const SHAPE: &[usize] = &[1, 4, 8, 8];

fn values(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Every golden picture of a model, image by image: within 1 of 255, and its final latents within 1e-3 of the largest.
fn pictures_are_those_of_diffusers(model: &str, device: &[&str]) {
    let golden = goldens().join(model);
    let cases: Json = serde_json::from_slice(&fs::read(golden.join("pictures.json")).unwrap()).unwrap();
    let tensors = fs::read(golden.join("pictures.safetensors")).unwrap();
    let tensors = SafeTensors::deserialize(&tensors).unwrap();
    let place = golden.join("model");
    for case in cases.as_array().unwrap() {
        let text = |value: &Json| value.as_str().unwrap().to_string();
        let tensor = |name: &str| tensors.tensor(case[name].as_str().unwrap()).unwrap();
        let (latents, last) = (tensor("latents"), tensor("final"));
        let images = latents.shape()[0];
        let shape = [&[1], &latents.shape()[1..]].concat();
        let size = latents.data().len() / images;
        for i in 0..images {
            let folder = Folder::new();
            let start = &latents.data()[i * size..][..size];
            folder.write("noise.safetensors", file(&[("latents", Dtype::F32, &shape, start)]));
            let (prompt, negative) = (text(&case["prompts"][i]), text(&case["negative_prompts"][i]));
            let number = |name: &str| case[name].to_string();
            let (steps, scale, rescale) = (number("steps"), number("guidance"), number("guidance_rescale"));
            let mut args =
                vec!["generate", &prompt, "-n", &negative, "-m", place.to_str().unwrap(), "--dtype", "f32"];
            args.extend([
                "--steps",
                &steps,
                "--cfg-scale",
                &scale,
                "--cfg-rescale",
                &rescale,
                "-o",
                "picture.png",
            ]);
            args.extend(["--latents", "noise.safetensors", "--save-latents", "final.safetensors"]);
            args.extend(device);
            folder.run(&args);

            let name = format!("{model} {}.{i}", text(&case["name"]));
            let kept = folder.read("final.safetensors");
            let kept = SafeTensors::deserialize(&kept).unwrap();
            let kept = kept.tensor("latents").unwrap();
            assert_eq!((kept.dtype(), kept.shape()), (Dtype::F32, &shape[..]));
            let (ours, theirs) = (values(kept.data()), values(&last.data()[i * size..][..size]));
            let largest = theirs.iter().fold(0f32, |m, v| m.max(v.abs()));
            let off = ours.iter().zip(&theirs).fold(0f32, |m, (a, b)| m.max((a - b).abs()));
            assert!(off <= 1e-3 * largest, "{name}: latents off by {off} of {largest}");
            let ours = decode(&folder.read("picture.png"));
            let theirs = decode(&fs::read(golden.join(text(&case["png"][i]))).unwrap());
            assert_eq!((ours.0, ours.1), (theirs.0, theirs.1), "{name}");
            let most = ours.2.iter().zip(&theirs.2).map(|(a, b)| a.abs_diff(*b)).max();
            assert!(most <= Some(1), "{name}: pixels off by {most:?}");
        }
    }
}

#[test]
fn on_the_cpu_pictures_are_those_of_diffusers() {
    for model in ["sd1-tiny", "sd2-tiny"] {
        pictures_are_those_of_diffusers(model, &["--backend", "cpu"]);
    }
}

#[test]
fn on_an_adapter_pictures_are_those_of_diffusers() {
    if has_adapter() {
        pictures_are_those_of_diffusers("sd1-tiny", &["--adapter", "0"]);
    }
}

#[test]
fn the_size_comes_from_the_file_where_no_flag_gives_it() {
    let folder = Folder::new();
    let bytes: Vec<u8> = noise(0).into_iter().cycle().take(2 * 4 * 9 * 5 * 4).collect();
    folder.write("n.safetensors", file(&[("latents", Dtype::F32, &[2, 4, 9, 5], &bytes)]));
    let said = folder.draw(&["a cat", "--latents", "n.safetensors", "-o", "a.png", "--json"]);
    let run = &json_lines(&said)[0];
    assert_eq!((&run["width"], &run["height"]), (&40.into(), &72.into()));
    assert_eq!(run["files"].as_array().unwrap().len(), 2);
}

#[test]
fn noise_that_a_sampler_adds_comes_from_the_file() {
    let folder = Folder::new();
    let with = |added: u32| {
        let (a, b, c) = (noise(0), noise(added), noise(added + 1));
        let tensors = [("latents", &a), ("noise.0", &b), ("noise.1", &c)];
        folder.write(
            "n.safetensors",
            file(&tensors.map(|(name, bytes)| (name, Dtype::F32, SHAPE, &bytes[..]))),
        );
        folder.drawn(&["--latents", "n.safetensors", "--sampler", "euler_a"])
    };
    assert_eq!(with(5), with(5));
    assert_ne!(with(5), with(6));
}

#[test]
fn several_runs_keep_several_latents() {
    let folder = Folder::new();
    folder.draw(&["a cat", "--batch-count", "2", "--save-latents", "l.safetensors", "-o", "p_%d.png"]);
    assert_eq!(folder.names(), ["l_1.safetensors", "l_2.safetensors", "p_0.png", "p_1.png"]);
}

#[test]
fn what_is_in_the_file_and_not_used_is_told() {
    let folder = Folder::new();
    let (a, b) = (noise(0), noise(1));
    folder.write(
        "n.safetensors",
        file(&[("latents", Dtype::F32, SHAPE, &a), ("noise.1", Dtype::F32, SHAPE, &b)]),
    );
    let said = folder.draw(&["a cat", "--latents", "n.safetensors", "-o", "p.png"]);
    assert!(said.err.contains("warning: n.safetensors: 1 tensor is not used: noise.1"), "{}", said.err);
}

#[test]
fn a_file_that_does_not_fit_is_refused_with_the_reason() {
    let folder = Folder::new();
    let good = noise(0);
    let half = &good[..512];
    let nan: Vec<u8> = f32::NAN.to_le_bytes().repeat(256);
    let cut = {
        let whole = file(&[("latents", Dtype::F32, SHAPE, &good)]);
        whole[..whole.len() - 9].to_vec()
    };
    let f32 = Dtype::F32;
    // The file, further flags, what the error says, the exit code.
    type Refused<'a> = (Vec<u8>, &'a [&'a str], &'a [&'a str], i32);
    let refused: [Refused; 9] = [
        (file(&[("latent", f32, SHAPE, &good)]), &[], &["no tensor latents", "nearest name is latent"], 1),
        (file(&[("latents", Dtype::F16, SHAPE, half)]), &[], &["f16", "f32", ".float()"], 1),
        (file(&[("latents", Dtype::I32, SHAPE, &good)]), &[], &["i32", "f32", ".float()"], 1),
        (file(&[("latents", f32, &[4, 8, 8], &good)]), &[], &["[4, 8, 8]", "[B, C, H/8, W/8]"], 1),
        (file(&[("latents", f32, &[1, 2, 16, 8], &good)]), &[], &["[1, 2, 16, 8]", "[1, 4, 16, 8]"], 2),
        (
            file(&[("latents", f32, SHAPE, &good)]),
            &["-W", "72"],
            &["[1, 4, 8, 8]", "[1, 4, 8, 9]", "--width"],
            2,
        ),
        (file(&[("latents", f32, SHAPE, &good)]), &["--sampler", "euler_a"], &["adds noise", "0 tensors"], 2),
        (file(&[("latents", f32, SHAPE, &nan)]), &[], &["256 values", "NaN"], 1),
        (cut, &[], &["n.safetensors", "truncated"], 1),
    ];
    for (bytes, more, parts, code) in refused {
        folder.write("n.safetensors", bytes);
        let tiny = tiny();
        let args = [
            "generate",
            "a cat",
            "--backend",
            "cpu",
            "--steps",
            "2",
            "-m",
            &tiny,
            "--latents",
            "n.safetensors",
        ];
        folder.fails(code, &[&args, more].concat(), &[&["--latents"], parts].concat());
    }
    folder.fails(
        1,
        &["generate", "x", "--latents", "absent.safetensors"],
        &["absent.safetensors", "os error 2"],
    );
    let twice = ["generate", "x", "--latents", "n.safetensors", "--batch-count", "2"];
    folder.fails(2, &twice, &["--batch-count", "--latents"]);
}
