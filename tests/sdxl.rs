//! `sdxl-tiny`: two text encoders, sizes, samplers and pictures, as StableDiffusionXLPipeline has them (`tests/goldens/sdxl.py`).

use crate::golden::{bound, run};
use crate::pictures::{LATENTS, strings};
use crate::support::{Device, Golden, Report, nhwc};
use calotype::samplers::SchedulerFile;
use calotype::{
    Choice, Condition, DType, GivenNoise, HostTensor, Lora, Model, Precision, PromptStyle, Request, Role,
    Sampler, Schedule,
};
use calotype_graph::ops::StepRow;
use calotype_models::{layout, unet};
use calotype_testkit::check::REFUSAL;
use calotype_testkit::error;
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use serde_json::Value as Json;
use std::ops::ControlFlow;

const MODEL: &str = "sdxl-tiny";
/// What a UNet has that is told the guidance.
const COND: &str = "time_embedding.cond_proj.weight";

pub fn text(value: &Json) -> &str {
    value.as_str().unwrap()
}

pub fn numbers(value: &Json) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|one| one.as_f64().unwrap() as f32).collect()
}

/// How activations are stored that a device is tried with.
pub fn precisions(device: &Device) -> &'static [Precision] {
    if device.name == "cpu" { &[Precision::F32] } else { &[Precision::F32, Precision::F16] }
}

/// The model with fields of its UNet changed, and with the tensor that a UNet which is told the guidance has besides.
fn variant(golden: &Golden, stages: &Golden, change: &Json) -> Model {
    if change.as_object().unwrap().is_empty() {
        return golden.model();
    }
    let file = |path: &str| std::fs::read(golden.folder.join("model").join(path)).unwrap();
    let mut config: Json = serde_json::from_slice(&file("unet/config.json")).unwrap();
    change.as_object().unwrap().iter().for_each(|(field, value)| config[field] = value.clone());
    let weights = file("unet/diffusion_pytorch_model.safetensors");
    let weights = SafeTensors::deserialize(&weights).unwrap();
    let cond = stages.tensor(&Json::from(COND)).cast(DType::F16);
    let shape = cond.shape().dims().to_vec();
    let told = TensorView::new(Dtype::F16, shape, cond.bytes()).unwrap();
    let all = weights.tensors().into_iter().chain([(COND.to_owned(), told)]);
    let all = safetensors::serialize(all, None).unwrap();
    let small = layout::small().filter(|path| golden.folder.join("model").join(path).exists());
    let mut files: Vec<(String, Vec<u8>)> = small.map(|path| (path.to_owned(), file(path))).collect();
    files.retain(|(path, _)| path != "unet/config.json");
    files.push(("unet/config.json".into(), config.to_string().into_bytes()));
    files.push(("unet/diffusion_pytorch_model.safetensors".into(), all));
    for path in ["text_encoder/model", "text_encoder_2/model", "vae/diffusion_pytorch_model"] {
        let path = format!("{path}.safetensors");
        files.push((path.clone(), file(&path)));
    }
    Model::in_memory("sdxl-tiny", files).unwrap()
}

#[test]
fn text_states_and_pooled_vectors_are_those_of_transformers() {
    let (golden, mut report) = (Golden::open(MODEL, "stages"), Report::default());
    for device in Device::all() {
        for precision in precisions(&device) {
            let mut pipeline = device.pipeline(golden.model(), *precision);
            for case in golden.cases["text"].as_array().unwrap() {
                let name = format!("{} {} {precision:?}", text(&case["name"]), device.name);
                let first = text(&case["prompt"]);
                let request = Request {
                    prompts_2: case["prompt_2"].as_str().map(String::from).into_iter().collect(),
                    prompt_style: PromptStyle::Plain,
                    ..Request::new(first)
                };
                let Condition { states, pooled, .. } = pipeline.conditions(&request).unwrap().1.remove(0);
                report.case(
                    &format!("{name} states"),
                    error(&states, &golden.tensor(&case["states"])),
                    bound(*precision),
                );
                let pooled = HostTensor::from_f32([1, pooled.len()], &pooled);
                report.case(
                    &format!("{name} pooled"),
                    error(&pooled, &golden.tensor(&case["pooled"])),
                    bound(*precision),
                );
            }
        }
    }
    report.finish();
}

/// What a UNet predicts of a case, and what it should.
pub fn net(
    golden: &Golden,
    model: &Model,
    device: &Device,
    precision: Precision,
    case: &Json,
) -> (Result<HostTensor, calotype_graph::Error>, HostTensor) {
    /// The row that tells the case's time; the others tell another.
    const ROW: usize = 2;
    let latents = nhwc(&golden.tensor(&case["sample"]));
    let states = golden.tensor(&case["encoder_hidden_states"]);
    let pooled = golden.tensor(&case["text_embeds"]);
    let vectors = pooled.to_f32();
    let vectors = vectors.chunks_exact(pooled.shape().channels());
    let ids: Vec<Vec<f32>> = case["time_ids"].as_array().unwrap().iter().map(numbers).collect();
    let added: Vec<f32> =
        vectors.zip(&ids).flat_map(|(v, ids)| unet::added(&model.config.unet, v, ids)).collect();
    let mut table = Vec::new();
    for row in 0..=ROW + 1 {
        let timestep = if row == ROW { case["timestep"].as_f64().unwrap() as f32 } else { 7.0 };
        table.extend(StepRow { timestep, row: row as u32, ..bytemuck::Zeroable::zeroed() }.words());
    }
    let table = HostTensor::from_u32([ROW + 2, StepRow::WORDS], &table);
    let &[batch, height, width, _] = latents.shape().dims() else { unreachable!() };
    let tokens = states.shape().dims()[1];
    let graph = unet::unet(&model.config.unet, batch, height, width, tokens, ROW + 2).unwrap();
    let added = HostTensor::from_f32([batch, added.len() / batch], &added);
    let mut inputs = vec![("latents", latents), ("table", table), ("states", states), ("added", added)];
    if let Some(width) = model.config.unet.time_cond_proj_dim {
        let told = unet::guidance(width, 8.5);
        inputs.push(("guidance", HostTensor::from_f32([1, width], &told)));
    }
    let source = model.components.weights(Role::Denoiser).unwrap();
    let found = run(&*device.executor, graph, source, precision, &inputs, ROW);
    (found.map(|found| found.cast(DType::F32)), nhwc(&golden.tensor(&case["output"])))
}

#[test]
fn unet_predictions_are_those_of_diffusers() {
    let (golden, mut report) = (Golden::open(MODEL, "stages"), Report::default());
    for device in Device::all().into_iter().chain(Device::tiers(&Choice::default())) {
        for precision in precisions(&device) {
            for case in golden.cases["unet"].as_array().unwrap() {
                let model = variant(&golden, &golden, &case["variant"]);
                let name = format!("{} {} {precision:?}", text(&case["name"]), device.name);
                let (found, expected) = net(&golden, &model, &device, *precision, case);
                let found = match found {
                    // Packed halves take channels by fours, and what LCM is told of guidance here has others.
                    Err(e) if name.starts_with("lcm") && e.to_string().contains(REFUSAL) => continue,
                    found => found.unwrap(),
                };
                report.case(&name, error(&found, &expected), bound(*precision));
            }
        }
    }
    report.finish();
}

#[test]
fn trajectories_are_those_of_diffusers() {
    let (golden, mut report) = (Golden::open(MODEL, "trajectories"), Report::default());
    let stages = Golden::open(MODEL, "stages");
    let condition = |name: &str| Condition {
        states: golden.tensor(&Json::from(format!("{name}.states"))),
        pooled: golden.tensor(&Json::from(format!("{name}.pooled"))).to_f32(),
        ids: Vec::new(),
    };
    for device in [Device::cpu()].into_iter().chain(Device::gpus().into_iter().next()) {
        for case in golden.cases.as_array().unwrap() {
            let name = format!("{} {}", text(&case["name"]), device.name);
            let latents = golden.tensor(&case["latents"]);
            let [batch, _, height, width] = latents.shape().dims().try_into().unwrap();
            let request = Request {
                width: Some(8 * width),
                height: Some(8 * height),
                steps: Some(case["steps"].as_u64().unwrap() as usize),
                cfg_scale: Some(case["guidance"].as_f64().unwrap() as f32),
                cfg_rescale: case["guidance_rescale"].as_f64().unwrap() as f32,
                batch_size: batch,
                // What a sampler adds in its last step, times nothing, diffusers need not draw.
                noise: Some(GivenNoise {
                    added: golden.list(&case["noise"]).into_iter().chain([latents.clone()]).collect(),
                    latents,
                }),
                ..Request::new("")
            };
            let mut model = variant(&golden, &stages, &case["variant"]);
            let class = text(&case["scheduler_class"]);
            let file = SchedulerFile::at("case", class, &case["scheduler_config"].to_string()).unwrap();
            model.scheduler = file;
            let positive: Vec<Condition> =
                strings(&case["prompts"]).iter().map(|name| condition(name)).collect();
            let negative = [condition("not")];
            let guided = request.settle(&model).unwrap().guided();
            let mut pipeline = device.pipeline(model, Precision::F32);
            let found = pipeline.denoise(&request, guided.then_some(&negative[..]), &positive, |_, _| {
                ControlFlow::Continue(())
            });
            report.case(&name, error(&found.unwrap(), &golden.tensor(&case["final"])), LATENTS);
        }
    }
    report.finish();
}

#[test]
fn pictures_are_those_of_diffusers() {
    let (golden, mut report) = (Golden::open(MODEL, "pictures"), Report::default());
    for device in [Device::cpu()].into_iter().chain(Device::gpus().into_iter().next()) {
        for case in golden.cases.as_array().unwrap() {
            let name = format!("{} {}", text(&case["name"]), device.name);
            let mut model = golden.model();
            if let Some(scale) = case["lora"].as_f64() {
                let lora = Lora::open(golden.folder.join("lora.safetensors")).unwrap();
                model.add_lora("lora", lora, scale as f32).unwrap();
            }
            let mut pipeline = device.pipeline(model, Precision::F32);
            let size = |field: &str| match &case[field] {
                Json::Null => None,
                two => Some([0, 1].map(|i| two[i].as_u64().unwrap() as usize)),
            };
            let prompts = strings(&case["prompts"]);
            let request = Request {
                batch_size: prompts.len(),
                prompts,
                prompts_2: strings(&case["prompts_2"]),
                negative_prompts: strings(&case["negative_prompts"]),
                negative_prompts_2: strings(&case["negative_prompts_2"]),
                original_size: size("original_size"),
                crop: size("crop"),
                target_size: size("target_size"),
                width: case["width"].as_u64().map(|pixels| pixels as usize),
                height: case["height"].as_u64().map(|pixels| pixels as usize),
                steps: case["steps"].as_u64().map(|steps| steps as usize),
                // What nobody says is diffusers' guidance.
                cfg_scale: case["guidance"].as_f64().filter(|scale| *scale != 5.0).map(|scale| scale as f32),
                noise: Some(GivenNoise { latents: golden.tensor(&case["latents"]), added: Vec::new() }),
                ..Request::new("")
            };
            let output = pipeline.text_to_image(&request).unwrap();
            report.drawn(&name, &output, (&golden, case));
        }
    }
    report.finish();
}

/// By A1111's and ComfyUI's rules (`tests/goldens/prompts_xl.py`).
#[test]
fn weighted_and_long_prompts_are_told_and_drawn_as_by_the_peers() {
    let (golden, mut report) = (Golden::open(MODEL, "long_prompts"), Report::default());
    let mut longest = 0;
    for device in [Device::cpu()].into_iter().chain(Device::gpus().into_iter().next()) {
        let mut pipeline = device.pipeline(golden.model(), Precision::F32);
        for case in golden.cases.as_array().unwrap() {
            let name = format!("{} {}", text(&case["name"]), device.name);
            let request = Request {
                prompt_style: text(&case["style"]).parse::<PromptStyle>().unwrap(),
                negative_prompts: vec![text(&case["negative_prompt"]).into()],
                width: Some(64),
                height: Some(64),
                steps: case["steps"].as_u64().map(|steps| steps as usize),
                noise: Some(GivenNoise { latents: golden.tensor(&case["latents"]), added: Vec::new() }),
                ..Request::new(text(&case["prompt"]))
            };
            let turn = pipeline.turns(&request).unwrap().remove(0);
            for (what, told) in [("positive", &turn.positive[0]), ("negative", &turn.negative.unwrap()[0])] {
                let states = golden.tensor(&case[what]);
                longest = longest.max(states.shape().dims()[1]);
                report.case(&format!("{name} {what}"), error(&told.states, &states), bound(Precision::F32));
                let pooled = golden.tensor(&case[format!("{what}_pooled")]);
                let found = HostTensor::from_f32(pooled.shape(), &told.pooled);
                report.case(&format!("{name} {what} pooled"), error(&found, &pooled), bound(Precision::F32));
            }
            report.drawn(&name, &pipeline.text_to_image(&request).unwrap(), (&golden, case));
        }
    }
    assert!(longest >= 2 * 77, "some are of several chunks");
    report.finish();
}

#[test]
fn halves_draw_what_singles_draw_but_for_their_rounding() {
    let golden = Golden::open(MODEL, "pictures");
    for device in Device::gpus() {
        let request = Request { steps: Some(4), seed: 3, ..Request::new("a lighthouse") };
        let [single, half] = [Precision::F32, Precision::F16].map(|precision| {
            device.pipeline(golden.model(), precision).text_to_image(&request).unwrap().latents
        });
        let off = error(&half, &single);
        assert!(off < 3e-2, "{}: {off:.1e}", device.name);
    }
}

#[test]
fn what_one_encoder_knows_nothing_of_is_refused() {
    let one = Golden::open("sd1-tiny", "pictures").model();
    let two = ["a castle".to_string()];
    for (request, part) in [
        (Request { prompts_2: two.to_vec(), ..Request::new("") }, "prompts_2"),
        (Request { negative_prompts_2: two.to_vec(), ..Request::new("") }, "negative_prompts_2"),
        (Request { original_size: Some([64, 64]), ..Request::new("") }, "original_size"),
        (Request { crop: Some([0, 8]), ..Request::new("") }, "crop"),
        (Request { target_size: Some([64, 64]), ..Request::new("") }, "target_size"),
    ] {
        let message = request.settle(&one).unwrap_err().to_string();
        assert!(message.starts_with(part) && message.contains("leave it out"), "{message}");
    }
}

#[test]
fn schedules_that_were_searched_for_are_sdxls_own() {
    let second = |model: &str| {
        let request = Request {
            steps: Some(11),
            schedule: Some(Schedule::AlignYourSteps),
            sampler: Some(Sampler::EULER),
            ..Request::new("a cat")
        };
        let order = request.settle(&Golden::open(model, "stages").model()).unwrap();
        let scale = f64::from(order.program.steps[1].input_scale);
        (1.0 / (scale * scale) - 1.0).sqrt()
    };
    assert!((second(MODEL) - 6.315).abs() < 1e-4 && (second("sd1-tiny") - 6.475).abs() < 1e-4);
}
