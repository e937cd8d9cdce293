//! `sdxl-refiner-tiny`: what goes on with `sdxl-tiny`'s pictures, as StableDiffusionXLImg2ImgPipeline does with
//! `denoising_start` (`tests/goldens/refiner.py`).

use crate::golden::bound;
use crate::pictures::{LATENTS, strings};
use crate::sdxl::{net, numbers, precisions, text};
use crate::support::{Device, Golden, Report};
use calotype::{Choice, Condition, GivenNoise, HostTensor, Model, Precision, PromptStyle, Request, Stage};
use calotype_testkit::error;
use serde_json::Value as Json;

const MODEL: &str = "sdxl-refiner-tiny";

/// The base model with the refiner.
pub fn model() -> Model {
    let mut model = Golden::open("sdxl-tiny", "stages").model();
    model.refine_with(Golden::open(MODEL, "stages").model()).unwrap();
    model
}

fn pipeline(device: &Device, precision: Precision) -> calotype_pipeline::Pipeline {
    calotype_pipeline::Pipeline::new(device.executor.clone(), model(), precision)
}

#[test]
fn text_states_and_pooled_vectors_are_those_of_transformers() {
    let (golden, mut report) = (Golden::open(MODEL, "stages"), Report::default());
    for device in Device::all() {
        for precision in precisions(&device) {
            let mut pipeline = pipeline(&device, *precision);
            for case in golden.cases["text"].as_array().unwrap() {
                let request = Request {
                    prompts_2: case["prompt_2"].as_str().map(String::from).into_iter().collect(),
                    prompt_style: PromptStyle::Plain,
                    ..Request::new(text(&case["prompt"]))
                };
                let order = request.settle(pipeline.model()).unwrap().refiner.unwrap().order;
                let turns = pollster::block_on(pipeline.turns(&order)).unwrap();
                let Condition { states, pooled, .. } = &turns[0].positive[0];
                let pooled = HostTensor::from_f32([1, pooled.len()], pooled);
                for (what, found) in [("states", states), ("pooled", &pooled)] {
                    let name = format!("{} {} {precision:?} {what}", text(&case["name"]), device.name);
                    report.case(&name, error(found, &golden.tensor(&case[what])), bound(*precision));
                }
            }
        }
    }
    report.finish();
}

#[test]
fn unet_predictions_are_those_of_diffusers() {
    let (golden, mut report) = (Golden::open(MODEL, "stages"), Report::default());
    let model = golden.model();
    for device in Device::all().into_iter().chain(Device::tiers(&Choice::default())) {
        for precision in precisions(&device) {
            for case in golden.cases["unet"].as_array().unwrap() {
                let name = format!("{} {} {precision:?}", text(&case["name"]), device.name);
                let (found, expected) = net(&golden, &model, &device, *precision, case);
                report.case(&name, error(&found.unwrap(), &expected), bound(*precision));
            }
        }
    }
    report.finish();
}

fn request(golden: &Golden, case: &Json) -> Request {
    let size =
        |field: &str| case[field].as_array().map(|_| [0, 1].map(|i| numbers(&case[field])[i] as usize));
    let prompts = strings(&case["prompts"]);
    let number = |field: &str| case[field].as_u64().map(|n| n as usize);
    Request {
        batch_size: prompts.len(),
        prompts,
        negative_prompts: vec![text(&case["negative_prompt"]).into()],
        original_size: size("original_size"),
        crop: size("crop"),
        width: number("width"),
        height: number("height"),
        steps: number("steps"),
        sampler: calotype::Sampler::of_class(text(&case["sampler"])),
        refiner_switch: case["switch"].as_f64().filter(|share| *share != 0.8),
        aesthetic_score: case["aesthetic_score"].as_f64().map(|score| score as f32),
        negative_aesthetic_score: case["negative_aesthetic_score"].as_f64().map(|score| score as f32),
        noise: Some(GivenNoise {
            latents: golden.tensor(&case["latents"]),
            // What a sampler adds in its last step, times nothing, is given and not asked for.
            added: golden.list(&case["noise"]),
        }),
        ..Request::new("")
    }
}

#[test]
fn pictures_are_those_of_diffusers() {
    let (golden, mut report) = (Golden::open(MODEL, "pictures"), Report::default());
    for device in [Device::cpu()].into_iter().chain(Device::gpus().into_iter().next()) {
        let mut pipeline = device.pipeline(model(), Precision::F32);
        for case in golden.cases.as_array().unwrap() {
            let name = format!("{} {}", text(&case["name"]), device.name);
            let request = request(&golden, case);
            let order = pipeline.settle(&request).unwrap();
            let second = &order.refiner.as_ref().unwrap().order.program;
            let drawn = case["drawn_before"].as_u64().unwrap() as usize;
            report.check(second.drawn == drawn, || format!("{name}: {} noises, not {drawn}", second.drawn));
            let mut steps = Vec::new();
            let output = pipeline
                .text_to_image_with(&request, |at, run| {
                    steps.push((at.step, at.steps));
                    if at.step == order.program.count() {
                        let begun = error(&run.latents().unwrap(), &golden.tensor(&case["begun"]));
                        report.case(&format!("{name} begun"), begun, LATENTS);
                    }
                    std::ops::ControlFlow::Continue(())
                })
                .unwrap();
            let count = order.steps;
            report.check(steps.iter().copied().eq((1..=count).map(|step| (step, count))), || {
                format!("{name}: steps {steps:?}")
            });
            report.drawn(&name, &output, (&golden, case));
        }
    }
    report.finish();
}

#[test]
fn both_models_are_planned_and_told_and_a_picture_says_how_it_is_drawn_again() {
    let device = Device::cpu();
    let mut pipeline = device.pipeline(model(), Precision::F32);
    let request = Request { steps: Some(5), aesthetic_score: Some(7.5), ..Request::new("a lighthouse") };
    let plan = pipeline.plan(&request).unwrap();
    let refined = plan.stages.iter().filter(|stage| stage.refines).map(|stage| stage.stage);
    assert_eq!(refined.collect::<Vec<_>>(), [Stage::Text2, Stage::Context, Stage::Step]);
    let output = pipeline.text_to_image(&request).unwrap();
    assert!(output.memory.peak <= plan.peak_bytes);
    let order = pipeline.settle(&request).unwrap();
    let settings = order.settings(0);
    let told = ["Refiner", "Refiner switch at", "Aesthetic score", "Negative aesthetic score"];
    assert_eq!(told.map(|name| settings.get(name)), [Some("model"), Some("0.8"), Some("7.5"), None]);
    let recalled = settings.recall(&[]);
    assert_eq!((recalled.refiner.as_deref(), &recalled.left[..]), (Some("model"), &[][..]));
    let again = pipeline.text_to_image(&recalled.request).unwrap();
    assert_eq!(again.latents, output.latents);
}

#[test]
fn what_cannot_be_refined_is_said() {
    let refiner = || Golden::open(MODEL, "stages").model();
    let said = |request: Request, model: &Model| request.settle(model).unwrap_err().to_string();
    let alone = said(Request::new("a"), &refiner());
    assert!(alone.contains("is a refiner") && alone.contains("give that one as place"), "{alone}");
    let with = |mut base: Model, refiner: Model| base.refine_with(refiner).unwrap_err().to_string();
    let sd1 = || Golden::open("sd1-tiny", "stages").model();
    let xl = || Golden::open("sdxl-tiny", "stages").model();
    assert!(with(xl(), sd1()).contains("no Stable Diffusion XL, nor its refiner"));
    assert!(with(sd1(), refiner()).contains("which alone has refiners"));
    let mut other = refiner();
    other.config.vae.scaling_factor = 0.5;
    assert!(with(xl(), other).contains("its latents are not"));
    for (request, part) in [
        (Request { refiner_switch: Some(1.0), ..Request::new("") }, "refiner_switch 1 is not between"),
        (Request { refiner_switch: Some(0.999), ..Request::new("") }, "leaves the second model none"),
        (Request { refiner_switch: Some(0.01), ..Request::new("") }, "leaves the first model none"),
        (Request { aesthetic_score: Some(f32::NAN), ..Request::new("") }, "aesthetic_score NaN"),
        (
            Request { sampler: Some("unipc".parse().unwrap()), s_noise: Some(1.0), ..Request::new("") },
            "goes on from its own steps alone",
        ),
    ] {
        let error = said(request, &model());
        assert!(error.contains(part), "{error}");
    }
    for (request, part) in [
        (Request { refiner_switch: Some(0.5), ..Request::new("") }, "refiner_switch"),
        (Request { aesthetic_score: Some(5.0), ..Request::new("") }, "aesthetic_score"),
        (Request { negative_aesthetic_score: Some(5.0), ..Request::new("") }, "negative_aesthetic_score"),
    ] {
        let error = said(request, &xl());
        assert!(error.starts_with(part) && error.contains("leave it out"), "{error}");
    }
}
