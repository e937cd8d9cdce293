//! Stable Diffusion XL at its full size with random weights, as diffusers and transformers compute with it:
//! `scripts/full_size_xl.py` says how its 7 GB come about. Run by hand, one test at a time.

use crate::sdxl::{net, text};
use crate::support::{Device, Golden, Report};
use calotype::{Condition, HostTensor, Model, Precision, PromptStyle, Request};
use calotype_testkit::error;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What it may be off of the largest magnitude: f32 sums of up to 23,040 terms in another order, through some 1,800 layers.
const BOUND: f64 = 2e-3;

fn full_size() -> (Golden, Model) {
    let folder = std::env::var("CALOTYPE_FULL_SIZE").expect("CALOTYPE_FULL_SIZE, the folder");
    let folder = PathBuf::from(folder);
    (Golden::within(folder.join("goldens"), "stages"), Model::at_path(&folder, None).unwrap())
}

#[test]
#[ignore = "takes a model of 7 GB: scripts/full_size_xl.py"]
fn full_size_unet_is_diffusers() {
    let (golden, model) = full_size();
    let (case, mut report) = (&golden.cases["unet"][0], Report::default());
    for open in [Device::cpu as fn() -> Device, gpu] {
        let device = open();
        let (before, start) = (own_memory(), Instant::now());
        let ((found, expected), most) = watched(|| net(&golden, &model, &device, Precision::F32, case));
        let off = error(&found.unwrap(), &expected);
        let (took, peak) = (start.elapsed().as_secs_f64(), device.executor.memory().peak);
        let beyond = most.saturating_sub(before + peak);
        println!(
            "{}: {off:.1e}, {took:.1} s with loading (torch {} s); {} MiB, and of the host {} MiB beyond that",
            device.name,
            case["seconds"],
            peak >> 20,
            beyond >> 20
        );
        report.case(device.name, off, BOUND);
        report.check(beyond <= 512 << 20, || format!("{}: {} MiB of the host", device.name, beyond >> 20));
    }
    report.finish();
}

/// What a run makes, and the most memory of the process meanwhile.
fn watched<T>(run: impl FnOnce() -> T) -> (T, u64) {
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let watch = scope.spawn(|| {
            let mut most = 0;
            while !done.load(Ordering::Relaxed) {
                most = own_memory().max(most);
                std::thread::sleep(Duration::from_millis(5));
            }
            most
        });
        let made = run();
        done.store(true, Ordering::Relaxed);
        (made, watch.join().unwrap())
    })
}

/// Memory of the process but for mapped files' pages, in bytes; 0 where nothing tells.
fn own_memory() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let kib = |key: &str| {
        let line = status.lines().find_map(|line| line.strip_prefix(key))?;
        line.trim().trim_end_matches(" kB").parse::<u64>().ok()
    };
    ["RssAnon:", "RssShmem:"].into_iter().filter_map(kib).sum::<u64>() << 10
}

/// With all it can do, or what stands in for it.
fn gpu() -> Device {
    Device::gpus().into_iter().next().unwrap_or_else(Device::cpu)
}

#[test]
#[ignore = "takes a model of 7 GB: scripts/full_size_xl.py"]
fn full_size_text_encoders_are_those_of_transformers() {
    let (golden, mut report) = (full_size().0, Report::default());
    let case = &golden.cases["text"][0];
    for open in [Device::cpu as fn() -> Device, gpu] {
        let device = open();
        let mut pipeline = device.pipeline(full_size().1, Precision::F32);
        let prompt_style = PromptStyle::Plain;
        let request = Request { prompt_style, ..Request::new(text(&case["prompt"])) };
        let start = Instant::now();
        let Condition { states, pooled, .. } = pipeline.conditions(&request).unwrap().1.remove(0);
        let took = start.elapsed().as_secs_f64();
        let pooled = HostTensor::from_f32([1, pooled.len()], &pooled);
        for (what, found) in [("states", &states), ("pooled", &pooled)] {
            let off = error(found, &golden.tensor(&case[what]));
            println!("{} {what}: {off:.1e}, {took:.1} s with loading", device.name);
            report.case(&format!("{} {what}", device.name), off, BOUND);
        }
    }
    report.finish();
}
