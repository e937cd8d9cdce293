//! `changes.json`: FreeU, guidance away from a weaker model and deep layers taken again, ten steps each as diffusers, ComfyUI
//! and DeepCache have them (`tests/goldens/changes.py`).

use crate::support::{Device, Golden, Report};
use calotype::samplers::SchedulerFile;
use calotype::{Condition, GivenNoise, Guidance, HostTensor, Precision, Request};
use calotype_testkit::error;
use serde_json::Value as Json;
use std::ops::ControlFlow;

/// Of the largest magnitude, after ten steps.
const BOUND: f64 = 1e-3;

fn parsed<T: std::str::FromStr<Err = String>>(case: &Json, field: &str) -> Option<T> {
    case[field].as_str().map(|text| text.parse().unwrap())
}

fn request(case: &Json, latents: HostTensor) -> Request {
    let [batch_size, _, height, width] = latents.shape().dims().try_into().unwrap();
    Request {
        width: Some(8 * width),
        height: Some(8 * height),
        steps: Some(case["steps"].as_u64().unwrap() as usize),
        cfg_scale: Some(case["guidance"].as_f64().unwrap() as f32),
        guidance: parsed(case, "kind").unwrap_or_default(),
        free_u: parsed(case, "freeu"),
        cache: parsed(case, "cache").unwrap_or_default(),
        batch_size,
        noise: Some(GivenNoise { latents, added: Vec::new() }),
        ..Request::new("")
    }
}

fn check(device: &Device) {
    let mut report = Report::default();
    for model in ["sd1-tiny", "sd2-tiny", "sdxl-tiny"] {
        let golden = Golden::open(model, "changes");
        let condition = |before: &str| {
            let named = |name: &str| golden.tensor(&Json::from(format!("{before}{name}")));
            let is_told = model == "sdxl-tiny";
            let pooled = if is_told { named("pooled_prompt_embeds").to_f32() } else { Vec::new() };
            Condition { states: named("prompt_embeds"), pooled, ids: Vec::new() }
        };
        for case in golden.cases.as_array().unwrap() {
            let name = format!("{model} {} {}", case["name"].as_str().unwrap(), device.name);
            let request = request(case, golden.tensor(&case["latents"]));
            let mut opened = golden.model();
            let class = case["scheduler_class"].as_str().unwrap();
            opened.scheduler =
                SchedulerFile::at("case", class, &case["scheduler_config"].to_string()).unwrap();
            let order = request.settle(&opened).unwrap();
            let images = vec![condition(""); request.batch_size];
            // A weaker model is told the same.
            let leads_away = matches!(request.guidance, Guidance::Pag { .. } | Guidance::Slg { .. });
            let positive = if leads_away { [&images[..], &images].concat() } else { images };
            let negative = [condition("negative_")];
            let mut pipeline = device.pipeline(opened, Precision::F32);
            let negative = order.guided().then_some(&negative[..]);
            let found = pipeline.denoise(&request, negative, &positive, |_, _| ControlFlow::Continue(()));
            report.case(&name, error(&found.unwrap(), &golden.tensor(&case["final"])), BOUND);
        }
    }
    report.finish();
}

#[test]
fn changed_unets_are_their_peers_on_the_cpu() {
    check(&Device::cpu());
}

#[test]
fn changed_unets_are_their_peers_on_a_gpu() {
    Device::gpus().iter().for_each(check);
}
