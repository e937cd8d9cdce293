//! Several prompts at once (A1111's `AND`), and guidance in a part of the steps, through the tiny models: latents after ten steps
//! as an implementation in NumPy of its own has them (tests/goldens/together.py).

use crate::support::{Device, Golden, MODELS, Report};
use calotype::{DType, GivenNoise, HostTensor, Precision, Request, Sampler, Stage};
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
fn prompts_and_guidance_are_combined_as_the_peer_does() {
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
            let some = ["lengths", "batch", "late"];
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
                    sampler: Sampler::of_class(case["scheduler"].as_str().unwrap()),
                    cfg_start: case["between"][0].as_f64().unwrap(),
                    cfg_end: case["between"][1].as_f64().unwrap(),
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

#[test]
fn steps_that_are_not_guided_take_half_the_work() {
    let (device, golden) = (Device::cpu(), Golden::open("sd1-tiny", "stages"));
    let mut pipeline = device.pipeline(golden.model(), Precision::F32);
    let request = Request { steps: Some(6), sampler: Some(Sampler::DDIM), ..Request::new("a red house") };
    let part = Request { cfg_start: 0.5, ..request.clone() };
    let [all, parts] = [&request, &part].map(|request| pipeline.plan(request).unwrap());
    let steps = |plan: &calotype::MemoryPlan| -> Vec<u64> {
        plan.stages.iter().filter(|stage| stage.stage == Stage::Step).map(|stage| stage.flops).collect()
    };
    assert_eq!(steps(&parts)[0], steps(&all)[0]);
    assert!(steps(&parts)[1] * 100 < steps(&all)[0] * 51, "{:?}", steps(&parts));
    // Its weights are there once, and its activations lie where the others do.
    assert_eq!((parts.weight_bytes, parts.activation_bytes), (all.weight_bytes, all.activation_bytes));
    // CompVis' DDIM takes more steps than are asked for, all of them guided.
    let dialect = Some(calotype::Dialect::CompVis);
    let more = Request { steps: Some(30), sampler_dialect: dialect, ..request.clone() };
    assert!(more.settle(pipeline.model()).unwrap().program.count() > 30);
    assert_eq!(steps(&pipeline.plan(&more).unwrap()).len(), 1);
    // Never guided is guidance of 1.
    let mut latents = |request: Request| pipeline.text_to_image(&request).unwrap().latents.to_f32();
    let never = latents(Request { cfg_end: 0.0, ..request.clone() });
    assert_eq!(never, latents(Request { cfg_scale: Some(1.0), ..request.clone() }));
    assert!(never != latents(part) && never != latents(request));
}

#[test]
fn a_refiners_steps_are_the_last() {
    let mut model = Golden::open("sdxl-tiny", "stages").model();
    model.refiner = Some(Box::new(Golden::open("sdxl-refiner-tiny", "stages").model()));
    let guided = |start: f64, end: f64| {
        let order = Request { steps: Some(10), cfg_start: start, cfg_end: end, ..Request::new("a cat") };
        let order = order.settle(&model).unwrap();
        [order.guided(), order.refiner.unwrap().order.guided()]
    };
    assert_eq!(guided(0.0, 1.0), [true, true]);
    assert_eq!(guided(0.0, 0.7), [true, false]);
    assert_eq!(guided(0.9, 1.0), [false, true]);
}
