//! Several prompts at once (A1111's `AND`) through the tiny models: latents after ten steps as an implementation in NumPy of its
//! own has them (tests/goldens/together.py).

use crate::support::{Device, Golden, MODELS, Report};
use calotype::{DType, GivenNoise, HostTensor, Precision, Request, Sampler};
use calotype_testkit::error;
use safetensors::SafeTensors;
use serde_json::Value as Json;
use std::path::Path;

/// Of the golden's largest magnitude, after ten steps.
const BOUND: f64 = 1e-3;

fn texts(list: &Json) -> Vec<String> {
    list.as_array().unwrap().iter().map(|text| text.as_str().unwrap().into()).collect()
}

#[test]
fn prompts_at_once_are_combined_as_the_peer_does() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/together.safetensors");
    let bytes = std::fs::read(file).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let cases: Vec<Json> = serde_json::from_str(&header.metadata().as_ref().unwrap()["cases"]).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let tensor = |name: &str| {
        let view = tensors.tensor(name).unwrap();
        HostTensor::from_bytes(view.shape(), DType::F32, view.data().to_vec())
    };
    let mut report = Report::default();
    for model in MODELS {
        for device in [Device::cpu()].into_iter().chain(Device::gpus().into_iter().next()) {
            let mut pipeline = device.pipeline(Golden::open(model, "stages").model(), Precision::F32);
            // All of them on the CPU; of each kind of prompt one on a GPU.
            let some = ["lengths", "batch"];
            let here = |case: &&Json| device.name == "cpu" || some.iter().any(|name| case["name"] == *name);
            for case in cases.iter().filter(|case| case["model"] == model).filter(here) {
                let name = format!("{model}/{}", case["name"].as_str().unwrap());
                let (prompts, starts) = (texts(&case["prompts"]), tensor(&format!("{model}/latents")));
                let batch = prompts.len();
                let [_, c, h, w] = starts.shape().dims().try_into().unwrap();
                let values = &starts.to_f32()[..batch * c * h * w];
                let latents = HostTensor::from_f32([batch, c, h, w], values);
                let request = Request {
                    prompts,
                    negative_prompts: vec![case["negative"].as_str().unwrap().into()],
                    cfg_scale: Some(case["scale"].as_f64().unwrap() as f32),
                    steps: Some(case["steps"].as_u64().unwrap() as usize),
                    sampler: Some(Sampler::DDIM),
                    batch_size: batch,
                    width: Some(8 * w),
                    height: Some(8 * h),
                    noise: Some(GivenNoise { latents, added: Vec::new() }),
                    ..Request::new("")
                };
                let found = pipeline.text_to_image(&request).unwrap().latents;
                report.case(&format!("{name} {}", device.name), error(&found, &tensor(&name)), BOUND);
            }
        }
    }
    report.finish();
}

#[test]
fn what_two_encoders_read_is_in_as_many_parts() {
    let model = Golden::open("sdxl-tiny", "stages").model();
    let request = Request { prompts_2: vec!["a cat".into()], ..Request::new("a cat AND a dog") };
    let message = request.settle(&model).expect_err("two prompts and one").to_string();
    assert!(message.contains("prompts_2") && message.contains("AND"), "{message}");
    let both = Request { prompts_2: vec!["a bird AND the sea".into()], ..request };
    assert_eq!(both.settle(&model).unwrap().prompts_an_image(), 2);
}
