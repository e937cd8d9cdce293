//! `calotype compat`: pictures of `tests/goldens/compat.py`, and names as the programs give them.

use crate::support::{Folder, decode, goldens, tiny};
use calotype::Picture;
use std::fs;

fn golden(name: &str) -> (usize, usize, Vec<u8>) {
    decode(&fs::read(goldens().join("compat").join(name)).unwrap())
}

/// How far two pictures lie apart at most, of 255.
fn apart(ours: &[u8], name: &str) -> u8 {
    let (ours, theirs) = (decode(ours), golden(name));
    assert_eq!((ours.0, ours.1), (theirs.0, theirs.1), "{name}");
    ours.2.iter().zip(&theirs.2).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

const SCRIPT: [&str; 11] =
    ["compat", "txt2img", "--backend", "cpu", "--H", "64", "--W", "64", "--no-watermark", "--rng", "cpu"];

fn script(folder: &Folder, more: &[&str]) -> crate::support::Said {
    let tiny = tiny();
    folder.run(&[&SCRIPT, &["--ckpt", &tiny][..], more].concat())
}

fn samples(folder: &Folder) -> Vec<String> {
    let entries = fs::read_dir(folder.path().join("outputs/txt2img-samples/samples")).unwrap();
    let mut names: Vec<String> =
        entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}

#[test]
fn txt2img_draws_what_the_script_draws_and_names_it_so() {
    let folder = Folder::new();
    fs::write(folder.path().join("prompts.txt"), "a cat\na dog\na house\n").unwrap();
    let lines = ["--from-file", "prompts.txt", "--n_samples", "2", "--ddim_steps", "4"];
    script(&folder, &lines);
    let names: Vec<String> = (0..6).map(|i| format!("{i:05}.png")).collect();
    assert_eq!(samples(&folder), names);
    let grid = folder.read("outputs/txt2img-samples/grid-0000.png");
    assert!(apart(&grid, "grid.png") <= 1, "{}", apart(&grid, "grid.png"));
    // The grid's pictures are the samples.
    let (width, _, pixels) = decode(&grid);
    let (_, _, second) = decode(&folder.read("outputs/txt2img-samples/samples/00001.png"));
    assert_eq!(pixels[(2 * width + 68) * 3..][..64 * 3], second[..64 * 3]);

    // Numbers go on; the noise of a further batch hangs on those before.
    script(
        &folder,
        &["--prompt", "a cat", "--n_samples", "1", "--n_iter", "2", "--ddim_steps", "4", "--skip_grid"],
    );
    assert_eq!(samples(&folder).len(), 8);
    let at = |i: usize| folder.read(&format!("outputs/txt2img-samples/samples/{i:05}.png"));
    assert_ne!(at(6), at(7));
    script(
        &folder,
        &["--prompt", "a cat", "--n_samples", "1", "--n_iter", "2", "--fixed_code", "--ddim_steps", "4"],
    );
    assert_eq!(at(8), at(9));
    assert_eq!(at(8), at(6), "what is drawn first is the same, fixed or not");
    let (width, height, _) = decode(&folder.read("outputs/txt2img-samples/grid-0001.png"));
    assert_eq!((width, height), (68, 134));
}

#[test]
fn txt2img_has_the_scripts_samplers_and_says_what_it_cannot_do() {
    let folder = Folder::new();
    let one = ["--n_iter", "1", "--n_samples", "1", "--skip_grid", "--ddim_steps", "4"];
    for sampler in ["--plms", "--dpm_solver"] {
        script(&folder, &[&one[..], &[sampler, "--outdir", &sampler[2..]]].concat());
    }
    script(&folder, &[&one[..], &["--scale", "1.0"]].concat());
    let first = |outdir: &str| folder.read(&format!("{outdir}/samples/00000.png"));
    assert_ne!(first("plms"), first("dpm_solver"));
    assert_ne!(first("plms"), first("outputs/txt2img-samples"));
    let told = |more: &[&str]| {
        let tiny = tiny();
        let mut command = folder.command();
        command.args(SCRIPT).args(["-m", &tiny]).args(more);
        String::from_utf8(command.assert().failure().get_output().stderr.clone()).unwrap()
    };
    assert!(told(&["--ddim_steps", "9"]).contains("take 10"));
    assert!(told(&["--plms", "--ddim_eta", "0.5"]).contains("eta"));
    assert!(told(&["--C", "3"]).contains("--C 3"));
    assert!(told(&["--from-file", "none.txt"]).contains("--from-file none.txt"));
    let mut command = folder.command();
    command.args(["compat", "txt2img", "--H", "64", "--W", "64"]);
    let said = command.assert().failure().get_output().stderr.clone();
    assert!(String::from_utf8(said).unwrap().contains("--no-watermark"));
}

#[test]
fn img2img_draws_what_the_script_draws() {
    let folder = Folder::new();
    fs::write(folder.path().join("prompts.txt"), "a cat\na dog\n").unwrap();
    fs::copy(goldens().join("compat/grid.png"), folder.path().join("sketch.png")).unwrap();
    let tiny = tiny();
    let script = ["compat", "img2img", "--backend", "cpu", "--rng", "cpu", "--ckpt", &tiny];
    let script = [&script[..], &["--init-img", "sketch.png", "--ddim_steps", "8", "--scale", "7.5"]].concat();
    folder
        .run(&[&script[..], &["--from-file", "prompts.txt", "--strength", "0.7", "--n_iter", "2"]].concat());
    let grid = folder.read("outputs/img2img-samples/grid-0000.png");
    assert!(apart(&grid, "img2img.png") <= 1, "{}", apart(&grid, "img2img.png"));
    let names = fs::read_dir(folder.path().join("outputs/img2img-samples/samples")).unwrap();
    assert_eq!(names.count(), 4);
    let told = |more: &[&str]| {
        let mut command = folder.command();
        command.args(&script).args(more);
        String::from_utf8(command.assert().failure().get_output().stderr.clone()).unwrap()
    };
    assert!(told(&["--strength", "1"]).contains("--strength 1"));
    assert!(told(&["--strength", "0.05"]).contains("strength"));
    assert!(told(&["--plms"]).contains("--plms"));
}

#[test]
fn keras_draws_what_text_to_image_draws() {
    let folder = Folder::new();
    let tiny = tiny();
    let keras = |more: &[&str]| {
        let args = ["compat", "keras", "a cat", "--backend", "cpu", "-m", &tiny, "--seed", "7"];
        folder.run(&[&args, more].concat())
    };
    // 100 and 140 pixels are 128.
    keras(&["--img-width", "140", "--img-height", "100", "--num-steps", "4", "-o", "new.png"]);
    assert!(apart(&folder.read("new.png"), "keras.png") <= 1);
    let old = ["--img-width", "128", "--img-height", "128", "--num-steps", "3", "--release", "0.4.1"];
    keras(&[&old[..], &["-o", "old.png"]].concat());
    assert!(apart(&folder.read("old.png"), "keras_0.4.png") <= 1);
    let mut command = folder.command();
    let long = "cat ".repeat(80);
    command.args(["compat", "keras", &long, "--backend", "cpu", "-m", &tiny]);
    let said = String::from_utf8(command.assert().failure().get_output().stderr.clone()).unwrap();
    assert!(said.contains("77"), "{said}");
}

/// invisible-watermark's own bytes.
#[test]
fn the_watermark_is_the_packages() {
    let (width, height) = (270, 262);
    let at = |i: usize| {
        let (y, x) = (i / width, i % width);
        [x * 7 + y * 3, x * y / 32 + 40, y * 5 + x * x / 64].map(|v| (v % 256) as u8)
    };
    let pixels = (0..width * height).flat_map(at).collect();
    let marked = Picture::new(width, height, 3, pixels).unwrap().watermarked(b"StableDiffusionV1");
    let theirs = golden("watermark.png");
    assert_eq!((marked.width, marked.height), (theirs.0, theirs.1));
    let off = marked.pixels.iter().zip(&theirs.2).filter(|(a, b)| a != b).count();
    assert_eq!(off, 0, "of {}", theirs.2.len());
}
