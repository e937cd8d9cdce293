//! `trajectories.json`: every sampler's ten steps with the UNet and guidance, from given latents and text states.

use crate::support::{Device, Golden, MODELS, Report};
use calotype::samplers::SchedulerFile;
use calotype::{Condition, GivenNoise, Guidance, HostTensor, Pipeline, Precision, Request};
use calotype_testkit::error;
use serde_json::Value as Json;
use std::ops::ControlFlow;

/// Of the largest magnitude, after ten steps.
const BOUND: f64 = 1e-3;

/// The scheduler that a case names.
fn scheduler(case: &Json) -> Result<SchedulerFile, calotype_pipeline::Error> {
    let mut config = case["scheduler_config"].clone();
    config["_class_name"] = case["scheduler_class"].clone();
    // Again as diffusers writes it.
    let file = SchedulerFile::alone(&config.to_string().replace("\"-Infinity\"", "-Infinity"))?;
    file.own()?;
    Ok(file)
}

fn request(golden: &Golden, case: &Json) -> Request {
    let number = |field: &str| case[field].as_f64().unwrap();
    let latents = golden.tensor(&case["latents"]);
    let [batch, _, height, width] = latents.shape().dims().try_into().unwrap();
    Request {
        width: Some(8 * width),
        height: Some(8 * height),
        steps: Some(number("steps") as usize),
        cfg_scale: Some(number("guidance") as f32),
        cfg_rescale: number("guidance_rescale") as f32,
        eta: Some(number("eta")),
        guidance: case["kind"].as_str().map(|kind| kind.parse().unwrap()).unwrap_or_default(),
        s_min_uncond: case["s_min_uncond"].as_f64().unwrap_or(0.0),
        batch_size: batch,
        noise: Some(GivenNoise { latents, added: golden.list(&case["noise"]) }),
        ..Request::new("")
    }
}

/// One tensor of text states, `[B, ..]`, as B conditions.
fn images(states: &HostTensor) -> Vec<Condition> {
    let &[batch, tokens, hidden] = states.shape().dims() else { panic!("no states: {}", states.shape()) };
    let values = states.to_f32();
    let image =
        |i| HostTensor::from_f32([1, tokens, hidden], &values[i * tokens * hidden..][..tokens * hidden]);
    let condition = |i| Condition { states: image(i), pooled: Vec::new(), ids: Vec::new() };
    (0..batch).map(condition).collect()
}

fn check(golden: &str, device: &dyn Fn() -> Option<Device>) {
    let mut report = Report::default();
    for model in MODELS {
        let Some(device) = device() else { return };
        let golden = Golden::open(model, golden);
        for case in golden.cases.as_array().unwrap() {
            let name = format!("{model} {} {}", case["name"].as_str().unwrap(), device.name);
            let request = request(&golden, case);
            let mut opened = golden.model();
            opened.scheduler = match scheduler(case) {
                Ok(scheduler) => scheduler,
                Err(e) => {
                    report.check(false, || format!("{name}: {e}"));
                    continue;
                }
            };
            let steps = request.settle(&opened).unwrap().program.steps;

            // Which training times the UNet is asked about; per_step has an entry for each.
            let times: Vec<f64> = steps.iter().map(|s| f64::from(s.timestep)).collect();
            let expected: Vec<f64> =
                case["timesteps"].as_array().unwrap().iter().map(|t| t.as_f64().unwrap()).collect();
            let same = times.len() == expected.len()
                && times
                    .iter()
                    .zip(&expected)
                    .all(|(a, b)| (a - b).abs() <= if b.fract() == 0.0 { 0.0 } else { 1e-3 });
            report.check(same, || format!("{name}: timesteps {times:?}, not {expected:?}"));

            let per_step = golden.list(&case["per_step"]);
            let ends = (0..steps.len()).filter(|&i| steps[i].ends_step || i + 1 == steps.len());
            let mut ends = ends.collect::<Vec<_>>().into_iter();

            let mut positive = images(&golden.tensor(&case["prompt_embeds"]));
            let mut negative = images(&golden.tensor(&case["negative_prompt_embeds"]));
            if let Guidance::PerpNeg { .. } = request.guidance {
                positive.append(&mut negative);
                negative = images(&golden.tensor(&case["empty_prompt_embeds"]));
            }
            let guided = request.settle(&opened).unwrap().guided();
            let mut pipeline: Pipeline = device.pipeline(opened, Precision::F32);
            let found = pipeline.denoise(&request, guided.then_some(&negative), &positive, |at, run| {
                let evaluation = ends.next().unwrap();
                if let Some(expected) = per_step.get(evaluation) {
                    let off = error(&run.latents().unwrap(), expected);
                    report.check(off <= BOUND, || format!("{name}, after step {}: {off:.2e}", at.step));
                }
                ControlFlow::Continue(())
            });
            report.case(&name, error(&found.unwrap(), &golden.tensor(&case["final"])), BOUND);
            report.check(ends.next().is_none(), || format!("{name}: fewer steps than planned"));
        }
    }
    report.finish();
}

/// `k_trajectories.json` and `seeds_trajectories.json`: some samplers by the rules of A1111, k-diffusion and ComfyUI, and of
/// CompVis' and KerasCV's programs, likewise.
fn check_k(golden: &str, device: &dyn Fn() -> Option<Device>) {
    let mut report = Report::default();
    for model in MODELS {
        let Some(device) = device() else { return };
        let golden = Golden::open(model, golden);
        for case in golden.cases.as_array().unwrap() {
            check_k_case(
                &device,
                &golden,
                case,
                &format!("{model} {} {}", case["name"], device.name),
                &mut report,
            );
        }
    }
    report.finish();
}

fn check_k_case(device: &Device, golden: &Golden, case: &Json, name: &str, report: &mut Report) {
    let text = |field: &str| case[field].as_str();
    let knob = |field: &str| case["knobs"][field].as_f64();
    let latents = golden.tensor(&case["latents"]);
    let request = Request {
        width: Some(8 * latents.shape().dims()[3]),
        height: Some(8 * latents.shape().dims()[2]),
        steps: Some(case["steps"].as_u64().unwrap() as usize),
        cfg_scale: Some(case["guidance"].as_f64().unwrap() as f32),
        sampler: text("sampler").map(|name| name.parse().unwrap()),
        schedule: text("schedule").map(|name| name.parse().unwrap()),
        sampler_dialect: text("dialect").map(|name| name.parse().unwrap()),
        eta: knob("eta"),
        s_noise: knob("s_noise"),
        s_churn: knob("s_churn"),
        s_tmin: knob("s_tmin"),
        s_tmax: knob("s_tmax"),
        noise: Some(GivenNoise { latents, added: golden.list(&case["noise"]) }),
        ..Request::new("")
    };
    let order = request.settle(&golden.model()).unwrap();
    let times: Vec<f64> = order.program.steps.iter().map(|step| f64::from(step.timestep)).collect();
    let expected = case["timesteps"].as_array().unwrap();
    // Of steps that are drawn up on the way the first alone is known.
    let same = (times.len() == expected.len() || order.adaptive.is_some())
        && times.iter().zip(expected).all(|(a, b)| (a - b.as_f64().unwrap()).abs() < 2e-3);
    report.check(same, || format!("{name}: timesteps {times:?}, not {expected:?}"));
    let positive = images(&golden.tensor(&case["prompt_embeds"]));
    let negative = images(&golden.tensor(&case["negative_prompt_embeds"]));
    let mut pipeline: Pipeline = device.pipeline(golden.model(), Precision::F32);
    let (mut stopped, adaptive) = (None, order.adaptive.is_some());
    // Where steps are drawn up on the way the first ten are held.
    let found = pipeline.denoise(&request, order.guided().then_some(&negative), &positive, |at, run| {
        if !adaptive || at.step < order.steps {
            return ControlFlow::Continue(());
        }
        stopped = Some(run.latents().unwrap());
        ControlFlow::Break(())
    });
    let found = stopped.unwrap_or_else(|| found.unwrap());
    report.case(name, error(&found, &golden.tensor(&case["final"])), BOUND);
}

#[test]
fn samplers_take_the_way_of_their_peers_on_the_cpu() {
    check_k("k_trajectories", &|| Some(Device::cpu()));
}

#[test]
fn samplers_take_the_way_of_their_peers_on_a_gpu() {
    check_k("k_trajectories", &|| Device::gpus().into_iter().next());
}

#[test]
fn samplers_take_the_way_of_the_first_programs_on_the_cpu() {
    check_k("seeds_trajectories", &|| Some(Device::cpu()));
}

#[test]
fn samplers_take_the_way_of_the_first_programs_on_a_gpu() {
    check_k("seeds_trajectories", &|| Device::gpus().into_iter().next());
}

#[test]
fn samplers_take_the_way_of_diffusers_on_the_cpu() {
    check("trajectories", &|| Some(Device::cpu()));
}

#[test]
fn samplers_take_the_way_of_diffusers_on_a_gpu() {
    check("trajectories", &|| Device::gpus().into_iter().next());
}

/// `guidance.json`: kinds of guidance by diffusers' guiders and ComfyUI's and A1111's rules.
#[test]
fn guidance_is_its_peers_on_the_cpu() {
    check("guidance", &|| Some(Device::cpu()));
}

#[test]
fn guidance_is_its_peers_on_a_gpu() {
    check("guidance", &|| Device::gpus().into_iter().next());
}
