//! `same`: two builds of the command draw the same, one of them for another system and run by an emulator.

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};

/// How far apart the colours of two CPUs' pictures may be, of 255: their libraries' functions (exp, sin) round differently.
const CPU: u8 = 1;

/// How far a GPU's may be from the CPU's, both in f32: two roundings.
const GPU: u8 = 2;

/// What is drawn, besides the prompt: the built-in model with its few steps and without, a batch, noise of the host.
const RUNS: [&[&str]; 3] = [
    &["--seed", "1"],
    &["--seed", "2", "--no-few-steps", "--steps", "6", "--sampler", "euler_a", "-n", "blurry", "-W", "96"],
    &["--seed", "3", "-b", "2", "--grid", "--save-latents", "latents.safetensors"],
];

/// A program, with what runs it before it, in words.
struct Program<'a>(Vec<&'a str>);

/// What a run drew: its line of JSON, and each picture's text, size and colours.
struct Drawn {
    told: Value,
    pictures: Vec<(String, (u32, u32), Vec<u8>)>,
}

/// Fails where THEIRS draws or tells anything else than OURS. With a GPU, also where THEIRS draws otherwise on it.
pub fn check(ours: &str, theirs: &str, gpu: Option<&str>) -> Result<()> {
    let (ours, theirs) = (Program(ours.split(' ').collect()), Program(theirs.split(' ').collect()));
    for run in RUNS {
        let cpu = [run, &["--backend", "cpu"]].concat();
        let (a, b) = (ours.draw(&cpu)?, theirs.draw(&cpu)?);
        ensure!(a.told == b.told, "told otherwise:\n{}\n{}", a.told, b.told);
        println!("{run:?}: {} picture(s), {} of 255 apart at most", a.pictures.len(), apart(&a, &b, CPU)?);
    }
    if let Some(backend) = gpu {
        let seed = RUNS[0];
        let cpu = ours.draw(&[seed, &["--backend", "cpu"]].concat())?;
        let gpu = theirs.draw(&[seed, &["--backend", backend, "--dtype", "f32"]].concat())?;
        println!("on {}: {} of 255 from the CPU", gpu.told["device"], apart(&cpu, &gpu, GPU)?);
    }
    Ok(())
}

impl Program<'_> {
    fn draw(&self, more: &[&str]) -> Result<Drawn> {
        let folder = tempfile::tempdir()?;
        let [program, before @ ..] = &self.0[..] else { bail!("no program is named") };
        let output = Command::new(Path::new(program).canonicalize().context(program.to_string())?)
            .args(before.iter().map(|word| Path::new(word).canonicalize().unwrap_or_else(|_| word.into())))
            .args(["generate", "a red apple", "-o", "out_%02d.png", "--json"])
            .args(more)
            .current_dir(&folder)
            .env("CALOTYPE_CACHE_DIR", "")
            .stderr(Stdio::inherit())
            .output()?;
        ensure!(output.status.success(), "{:?} {more:?}: {}", self.0, output.status);
        let text = String::from_utf8(output.stdout)?;
        let mut told: Value = serde_json::from_str(text.trim()).with_context(|| text.clone())?;
        let mut pictures = Vec::new();
        let grid = told["grid"].as_str();
        for file in told["files"].as_array().context("no files")?.iter().filter_map(Value::as_str).chain(grid)
        {
            pictures.push(picture(&folder.path().join(file)).with_context(|| file.to_string())?);
        }
        for measured in ["timings", "peak_bytes"] {
            ensure!(!told[measured].is_null(), "nothing is told of {measured}");
            told[measured] = Value::Null;
        }
        Ok(Drawn { told, pictures })
    }
}

fn picture(path: &Path) -> Result<(String, (u32, u32), Vec<u8>)> {
    let file = std::io::BufReader::new(std::fs::File::open(path)?);
    let mut reader = png::Decoder::new(file).read_info()?;
    let mut colours = vec![0; reader.output_buffer_size().context("too large")?];
    let info = reader.next_frame(&mut colours)?;
    reader.finish()?;
    let info = (info.width, info.height);
    let written = reader.info();
    let latin = written.uncompressed_latin1_text.iter().map(|chunk| chunk.text.clone());
    let international = written.utf8_text.iter().map(|chunk| chunk.get_text());
    let text = latin.chain(international.collect::<Result<Vec<_>, _>>()?).collect();
    Ok((text, info, colours))
}

/// How far apart the pictures are, unless they differ in more or by more than allowed.
fn apart(a: &Drawn, b: &Drawn, allowed: u8) -> Result<u8> {
    ensure!(!a.pictures.is_empty() && a.pictures.len() == b.pictures.len(), "not as many pictures");
    let mut most = 0;
    for ((text, size, colours), (other_text, other_size, other)) in a.pictures.iter().zip(&b.pictures) {
        ensure!(size == other_size && !text.is_empty(), "{size:?} {other_size:?} {text}");
        ensure!(text == other_text, "written in the picture:\n{text}\n{other_text}");
        most = colours.iter().zip(other).map(|(a, b)| a.abs_diff(*b)).fold(most, u8::max);
    }
    ensure!(most <= allowed, "{most} of 255 apart: at most {allowed} are allowed");
    Ok(most)
}
