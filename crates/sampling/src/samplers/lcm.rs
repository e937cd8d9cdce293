//! Latent consistency models: Luo et al. 2023, arXiv 2310.04378, algorithm 3 (diffusers: scheduling_lcm.py).

use super::ddim::Alphas;
use super::{Class, Descriptor};
use crate::dialect::Dialect;
use crate::diffusers::{Asked, SchedulerConfig};
use crate::error::{Error, Result};
use crate::lin::Lin;
use crate::program::{Draft, Draw, Sheet, predict};
use crate::run::{Clock, Run};
use crate::schedule::linspace;

/// See the file's head.
pub static LCM: Descriptor = Descriptor {
    names: &["lcm"],
    label: "LCM",
    own_sigmas: &[Dialect::K],
    class: Some(Class::new("LCMScheduler", FIELDS, program)),
    k: Some(solve),
    ..Descriptor::NONE
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "trained_betas": null,
    "prediction_type": "epsilon", "steps_offset": 0,
    "clip_sample": false, "clip_sample_range": 1.0, "rescale_betas_zero_snr": false, "set_alpha_to_one": true,
    "thresholding": false, "original_inference_steps": 50, "timestep_scaling": 10.0
}"#;

/// The data's standard deviation in the boundary condition, section 4.1 of the paper.
const SIGMA_DATA: f64 = 0.5;

fn program(config: &SchedulerConfig, asked: Asked) -> Result<Sheet> {
    let visited = timesteps(config, asked.steps, "lcm")?;
    let alphas = Alphas::new(config);
    let mut drafts = Vec::new();
    for (i, &t) in visited.iter().enumerate().skip(asked.begin) {
        let a = alphas.at(t)?;
        let mut step = Draft::at_alpha(t, a);
        let (x0, _) = predict(config.trained.prediction_type, Lin::X, Lin::M, a.sqrt(), (1.0 - a).sqrt());
        let x0 = step.clip(x0, config.clip());
        let scaled = t * config.timestep_scaling;
        let norm = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        let (skip, out) = (SIGMA_DATA * SIGMA_DATA / norm, scaled / norm.sqrt());
        let consistent = x0 * out + Lin::X * skip;
        step.rows[0] = match visited.get(i + 1) {
            None => consistent,
            Some(&next) => {
                let a_next = alphas.at(next)?;
                consistent * a_next.sqrt() + Lin::N * (1.0 - a_next).sqrt()
            }
        };
        drafts.push(step);
    }
    Ok(Sheet::new(1.0, drafts))
}

/// Evenly chosen from the `original_inference_steps` timesteps that the model was distilled on.
pub(super) fn timesteps(config: &SchedulerConfig, steps: usize, sampler: &str) -> Result<Vec<f64>> {
    let original = config.original_inference_steps;
    if original > config.trained.num_train_timesteps {
        let hint = format!("at most num_train_timesteps, {}", config.trained.num_train_timesteps);
        return Err(Error::scheduler("original_inference_steps", original.to_string(), hint));
    }
    if steps == 0 || steps > original {
        return Err(Error::Sampler(format!(
            "sampler {sampler} takes 1 to {original} steps (original_inference_steps), not {steps}"
        )));
    }
    let stride = config.trained.num_train_timesteps / original;
    let ratio = original as f64 / steps as f64;
    let falling = |i: usize| original - (i as f64 * ratio).floor() as usize;
    Ok((0..steps).map(|i| (falling(i) * stride - 1) as f64).collect())
}

/// ComfyUI's form draws each clean sample's noise anew; A1111's too, over the timesteps that the model was distilled on, with
/// the boundary condition (modules/sd_samplers_lcm.py).
fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    const ORIGINAL: usize = 50;
    let train = run.alphas.len();
    if run.dialect == Dialect::Comfy || train < ORIGINAL {
        return consistent(run, sheet, &run.sigmas, |_, clean| clean, None);
    }
    let stride = train / ORIGINAL;
    let times: Vec<usize> = (0..ORIGINAL).map(|i| (i + 1) * stride - 1).collect();
    let table = Clock { logs: times.iter().map(|t| run.clock.logs[*t]).collect(), whole: true };
    let last = (ORIGINAL - 1) as f64;
    let visited = linspace(last, 0.0, run.asked).into_iter().map(|at| table.sigma(at));
    let sigmas: Vec<f64> = visited.chain([0.0]).collect();
    sheet.start = sigmas.first().copied();
    let time = |sigma: f64| times[table.time(sigma) as usize] as f64;
    let bounded = |sigma: f64, clean: Lin| {
        let scaled = 10.0 * time(sigma);
        let norm = scaled * scaled + SIGMA_DATA * SIGMA_DATA;
        clean * (scaled / norm.sqrt()) + Lin::X * (SIGMA_DATA * SIGMA_DATA / norm)
    };
    consistent(run, sheet, &sigmas, bounded, Some(&time))
}

fn consistent(
    run: &Run,
    sheet: &mut Sheet,
    sigmas: &[f64],
    bounded: impl Fn(f64, Lin) -> Lin,
    time: Option<&dyn Fn(f64) -> f64>,
) -> Result<()> {
    for pair in sigmas.windows(2) {
        let (sigma, next) = (pair[0], pair[1]);
        let mut step = run.at(sigma);
        step.timestep = time.map_or(step.timestep, |time| time(sigma));
        step.rows[0] = bounded(sigma, run.clean(sigma));
        if next > 0.0 {
            step.add(Draw::Fresh, next * run.knobs.s_noise);
        }
        sheet.push(step);
    }
    Ok(())
}
