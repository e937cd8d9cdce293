//! Prompts by their style's rules, through the tiny models' text encoders: states as an implementation in PyTorch of its own
//! has them (tests/goldens/prompt_states.py), and at which evaluation each stands.

use crate::support::{Device, Golden, MODELS, Report};
use calotype::words::{Emphasis, PromptStyle};
use calotype::{DType, Dialect, HostTensor, Precision, Request, Sampler};
use calotype_testkit::error;
use safetensors::SafeTensors;
use serde_json::Value as Json;
use std::ops::ControlFlow;
use std::path::Path;

/// Of the golden's largest magnitude.
const BOUND: f64 = 1e-4;

fn request(prompt: &str, steps: usize) -> Request {
    Request { steps: Some(steps), sampler: Some(Sampler::DDIM), ..Request::new(prompt) }
}

#[test]
fn states_are_those_of_the_peers_rules() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/prompt_states.safetensors");
    let bytes = std::fs::read(file).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let said = header.metadata().as_ref().unwrap();
    let (cases, steps): (Vec<Json>, usize) =
        (serde_json::from_str(&said["cases"]).unwrap(), said["steps"].parse().unwrap());
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let (mut report, mut longest) = (Report::default(), 0);
    for model in MODELS {
        let mut pipeline = Device::cpu().pipeline(Golden::open(model, "stages").model(), Precision::F32);
        for case in cases.iter().filter(|case| case["model"] == model) {
            let text = |name: &str| case[name].as_str().unwrap();
            let request = Request {
                prompt_style: text("style").parse::<PromptStyle>().unwrap(),
                emphasis: text("emphasis").parse::<Emphasis>().unwrap(),
                clip_skip: case["clip_skip"].as_u64().map(|layer| layer as usize),
                cfg_scale: Some(1.0),
                ..request(text("prompt"), steps)
            };
            let turns = pipeline.turns(&request).unwrap();
            let ends: Vec<u64> = turns.iter().map(|turn| turn.until as u64).collect();
            assert_eq!(Json::from(ends), case["ends"], "{case}");
            for (i, turn) in turns.iter().enumerate() {
                let name = format!("{model}/{}/{i}", text("name"));
                let view = tensors.tensor(&name).unwrap();
                let golden = HostTensor::from_bytes(view.shape(), DType::F32, view.data().to_vec());
                longest = longest.max(view.shape()[0]);
                assert_eq!(turn.positive[0].states.shape().dims(), [&[1], view.shape()].concat(), "{name}");
                report.case(&name, error(&turn.positive[0].states, &golden), BOUND);
            }
        }
    }
    assert!(longest >= 2 * 77, "some are of several chunks");
    report.finish();
}

/// The latents after each step.
fn way(device: &Device, request: &Request) -> Vec<Vec<f32>> {
    let mut pipeline = device.pipeline(Golden::open("sd1-tiny", "stages").model(), Precision::F32);
    let mut seen = Vec::new();
    pipeline
        .text_to_image_with(request, |_, run| {
            seen.push(run.latents().unwrap().to_f32());
            ControlFlow::Continue(())
        })
        .unwrap();
    seen
}

#[test]
fn a_prompt_changes_after_the_evaluation_that_it_names() {
    for device in Device::all() {
        let of = |prompt: &str| way(&device, &request(prompt, 6));
        let (red, turned, blue) = (of("a red house"), of("a [red:blue:3] house"), of("a blue house"));
        // Evaluations count from 0: the fourth is the last of the first text.
        let same = red.iter().zip(&turned).take_while(|(a, b)| a == b).count();
        assert_eq!(same, 4, "{}", device.name);
        assert!(turned[5] != blue[5]);
        // Alternation's first word stands twice.
        let turns = of("a [red|blue] house");
        let same = red.iter().zip(&turns).take_while(|(a, b)| a == b).count();
        assert_eq!(same, 2, "{}", device.name);
        // The negative prompt too.
        let negative = |text: &str| Request { negative_prompts: vec![text.into()], ..request("a moon", 6) };
        let [before, after] = ["a red sea", "a [red:blue:0.5] sea"].map(|text| way(&device, &negative(text)));
        let same = before.iter().zip(&after).take_while(|(a, b)| a == b).count();
        assert_eq!(same, 4, "{}", device.name);
    }
}

#[test]
fn samplers_of_second_order_have_two_evaluations_a_step() {
    let heun = |prompt: &str| Request {
        sampler: Some(Sampler::HEUN),
        sampler_dialect: Some(Dialect::K),
        ..request(prompt, 6)
    };
    let device = Device::cpu();
    let [red, turned] = ["a red house", "a [red:blue:0.5] house"].map(|text| way(&device, &heun(text)));
    // Of twelve, 0 to 6 are the first text's: three steps and a half.
    assert_eq!(red.iter().zip(&turned).take_while(|(a, b)| a == b).count(), 3);
}

#[test]
fn each_half_of_guidance_attends_to_its_own_chunks() {
    let device = Device::cpu();
    let mut pipeline = device.pipeline(Golden::open("sd1-tiny", "stages").model(), Precision::F32);
    let request = Request { negative_prompts: vec!["blue".into()], ..request("a red BREAK house", 3) };
    let turns = pipeline.turns(&request).unwrap();
    let [negative, positive] = [&turns[0].negative.as_ref().unwrap()[0], &turns[0].positive[0]];
    assert_eq!(positive.states.shape().dims()[1], 154);
    assert_eq!(negative.states.shape().dims()[1], 77);
    assert_eq!(request.settle(pipeline.model()).unwrap().tokens, 154);
    // Attention to the same again is the same attention.
    let alone = Request { prompts: vec!["blue".into()], cfg_scale: Some(1.0), ..request.clone() };
    let once = pipeline.text_to_image(&alone).unwrap().latents;
    let twice = pipeline.denoise(
        &Request { cfg_scale: Some(1.0), ..request },
        None,
        std::slice::from_ref(negative),
        |_, _| ControlFlow::Continue(()),
    );
    assert!(error(&twice.unwrap(), &once) < 1e-5);
}

#[test]
fn a_prompts_own_weight_is_guidances() {
    let device = Device::cpu();
    let guided = |scale: f32, prompt: &str| {
        way(&device, &Request { cfg_scale: Some(scale), ..request(prompt, 3) }).pop().unwrap()
    };
    assert_eq!(guided(6.0, "a red house"), guided(4.0, "a red house :1.5"));
}

#[test]
fn loras_that_are_not_there_are_refused() {
    let model = Golden::open("sd1-tiny", "stages").model();
    let message = request("a <lora:ink:0.8> cat", 2).settle(&model).expect_err("no LoRA").to_string();
    assert!(message.contains("asks for the LoRA ink") && message.contains("lora"), "{message}");
    let plain = Request { prompt_style: PromptStyle::Plain, ..request("a <lora:ink:0.8> cat", 2) };
    assert!(plain.settle(&model).is_ok());
}

#[test]
fn layers_that_are_not_there_are_refused() {
    let model = Golden::open("sd1-tiny", "stages").model();
    let message = |layer| {
        let asked = Request { clip_skip: Some(layer), ..request("a cat", 2) };
        asked.settle(&model).expect_err("no layer").to_string()
    };
    assert!(message(0).contains("clip_skip 0"), "{}", message(0));
    assert!(message(99).contains("clip_skip 99 leaves no layer"), "{}", message(99));
}
