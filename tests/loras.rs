//! `loras.json`: pictures with LoRAs, as diffusers draws them with the same files.

use crate::support::{Device, Golden, Report};
use calotype::{GivenNoise, Lora, Precision, Request};
use calotype_testkit::error;
use std::path::Path;

/// Differences of final latents, of the largest magnitude; see `trajectories.rs`.
const LATENTS: f64 = 1e-3;

#[test]
fn pictures_with_loras_are_those_of_diffusers() {
    let mut report = Report::default();
    for device in Device::all() {
        let golden = Golden::open("sd1-tiny", "loras");
        for case in golden.cases.as_array().unwrap() {
            let text = |field: &str| case[field].as_str().unwrap().to_string();
            let number = |field: &str| case[field].as_f64().unwrap();
            let mut model = golden.model();
            for lora in case["loras"].as_array().unwrap() {
                let file = golden.folder.join(Path::new(lora[0].as_str().unwrap()));
                let scale = lora[1].as_f64().unwrap() as f32;
                model.add_lora("test", Lora::open(file).unwrap(), scale).unwrap();
            }
            let request = Request {
                negative_prompts: vec![text("negative_prompt")],
                width: Some(number("width") as usize),
                height: Some(number("height") as usize),
                steps: Some(number("steps") as usize),
                cfg_scale: Some(number("guidance") as f32),
                noise: Some(GivenNoise { latents: golden.tensor(&case["latents"]), added: Vec::new() }),
                ..Request::new(text("prompt"))
            };
            let output = device.pipeline(model, Precision::F32).text_to_image(&request).unwrap();
            let name = format!("{} {}", text("name"), device.name);
            report.case(&name, error(&output.latents, &golden.tensor(&case["final"])), LATENTS);
        }
    }
    report.finish();
}
