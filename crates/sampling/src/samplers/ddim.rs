//! Denoising diffusion implicit models: Song et al. 2021, arXiv 2010.02502, equations 12 and 16
//! (diffusers: scheduling_ddim.py).

use super::Descriptor;
use crate::dialect::Dialect;
use crate::diffusers::{Asked, Class, Grid, SchedulerConfig, timesteps};
use crate::error::{Error, Result};
use crate::lin::Lin;
use crate::program::{Draft, Draw, Sheet, predict};
use crate::run::Run;
use crate::schedule::linspace;
use calotype_field::Field;

/// See the file's head.
pub static DDIM: Descriptor = Descriptor {
    names: &["ddim"],
    label: "DDIM",
    eta: 0.0,
    comfy_eta: 0.0,
    own_sigmas: &[Dialect::K],
    class: Some(Class::new("DDIMScheduler", FIELDS, program)),
    k: Some(|run, sheet| solve(run, sheet, false)),
    compvis: Some(|run, sheet| over(run, sheet, &compvis_grid(run, "ddim")?, false)),
    keras: Some(keras),
    ..Descriptor::NONE
};

/// DDIM with CFG++: the way back goes along the unconditional noise (Chung et al. 2024, arXiv 2406.08070).
pub static DDIM_CFG_PP: Descriptor = Descriptor {
    names: &["ddim_cfg++", "ddim_cfgpp", "ddim_cfg_pp"],
    label: "DDIM CFG++",
    eta: 0.0,
    comfy_eta: 0.0,
    own_sigmas: &[Dialect::K, Dialect::Comfy],
    needs_unconditional: true,
    k: Some(|run, sheet| solve(run, sheet, true)),
    ..Descriptor::NONE
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": null,
    "prediction_type": "epsilon", "timestep_spacing": "leading", "steps_offset": 0,
    "clip_sample": true, "clip_sample_range": 1.0, "rescale_betas_zero_snr": false,
    "set_alpha_to_one": true, "thresholding": false
}"#;

/// `alphas_cumprod` by timestep, with what stands before the first.
pub(super) struct Alphas {
    table: Vec<f32>,
    before_first: f64,
}

impl Alphas {
    pub fn new(config: &SchedulerConfig) -> Alphas {
        let table = config.trained.alphas_cumprod();
        let before_first = if config.set_alpha_to_one { 1.0 } else { f64::from(table[0]) };
        Alphas { table, before_first }
    }

    /// The cumulative alpha at `timestep`; `leading` spacing with too many steps runs past the table.
    pub fn at(&self, timestep: f64) -> Result<f64> {
        match timestep < 0.0 {
            true => Ok(self.before_first),
            false => self.table.get(timestep as usize).map(|&a| f64::from(a)).ok_or_else(|| {
                let last = self.table.len() - 1;
                Error::Sampler(format!(
                    "timestep {timestep} is past the model's last, {last}: take fewer steps"
                ))
            }),
        }
    }
}

fn program(config: &SchedulerConfig, asked: Asked) -> Result<Sheet> {
    let Asked { steps, begin, eta, .. } = asked;
    let alphas = Alphas::new(config);
    let stride = (config.trained.num_train_timesteps / steps.max(1)) as f64;
    let mut drafts = Vec::new();
    for t in timesteps(config, steps, Grid::Rounded)?.into_iter().skip(begin) {
        let (a, a_prev) = (alphas.at(t)?, alphas.at(t - stride)?);
        let mut step = Draft::at_alpha(t, a);
        let (x0, noise) = predict(config.trained.prediction_type, Lin::X, Lin::M, a.sqrt(), (1.0 - a).sqrt());
        let x0 = step.clip(x0, config.clip());
        let (next, deviation) = back([a, a_prev], eta, x0, noise);
        step.rows[0] = next + Lin::N * deviation;
        drafts.push(step);
    }
    Ok(Sheet::new(1.0, drafts))
}

/// The sample one step back without fresh noise, and how much of that is added (equations 12 and 16).
fn back([a, a_prev]: [f64; 2], eta: f64, x0: Lin, noise: Lin) -> (Lin, f64) {
    let variance = (1.0 - a_prev) / (1.0 - a) * (1.0 - a / a_prev);
    let deviation = eta * variance.sqrt();
    // With no signal at the start and eta 1 nothing is left but rounding.
    let direction = (1.0 - a_prev - deviation * deviation).max(0.0).sqrt();
    (x0 * a_prev.sqrt() + noise * direction, deviation)
}

/// A1111's grid of timesteps, rising; its samplers never evaluate the lowest (modules/sd_samplers_timesteps.py).
pub(super) fn grid(run: &Run, sampler: &str) -> Result<Vec<usize>> {
    let train = run.alphas.len();
    let stride = train / run.asked.clamp(1, train);
    let grid: Vec<usize> = (0..train).step_by(stride).map(|t| (t + 1).min(train - 1)).collect();
    match grid.len() {
        0 | 1 => Err(Error::Sampler(format!(
            "sampler {sampler} takes 2 steps or more: A1111 leaves the last of its timesteps out; or give \
             {} diffusers",
            Field::Dialect
        ))),
        _ => Ok(grid),
    }
}

/// CompVis' timesteps, rising, after the training's first, which the last step goes down to
/// (ldm/modules/diffusionmodules/util.py, `make_ddim_timesteps` and `make_ddim_sampling_parameters`).
pub(super) fn compvis_grid(run: &Run, sampler: &str) -> Result<Vec<usize>> {
    let (train, steps) = (run.alphas.len(), run.asked);
    let fits = |steps: &usize| (1..=train).contains(steps) && !(train - 1).is_multiple_of(train / steps);
    if fits(&steps) {
        return Ok([0].into_iter().chain((1..=train).step_by(train / steps)).collect());
    }
    let most = steps.min(train);
    let near = (1..train).flat_map(|off| [most + off, most.saturating_sub(off)]).find(fits);
    let near = near.map_or(String::new(), |near| format!("take {near}, or "));
    Err(Error::Sampler(format!(
        "sampler {sampler} cannot take {steps} steps in dialect compvis: the first would be at timestep {train}, past the \
         model's last, which ends CompVis' scripts too; {near}give another {}",
        Field::Dialect
    )))
}

/// What is left of a grid of timesteps, rising, where the run begins from a picture, and the timestep whose noise that is given,
/// where it is another than the first: A1111 takes one step less than CompVis of the t that k-diffusion takes t + 1 of, and
/// both give the picture the noise of the timestep above the first that they evaluate
/// (modules/sd_samplers_timesteps.py, `sample_img2img`; scripts/img2img.py, whose own ends where there is none above).
pub(super) fn kept<'a>(run: &Run, sampler: &str, grid: &'a [usize]) -> Result<(&'a [usize], Option<usize>)> {
    let Some(begin) = run.begin else { return Ok((grid, None)) };
    let taken = run.asked.saturating_sub(begin);
    let entries = match run.dialect {
        // CompVis' grid has the end of its last step too.
        Dialect::CompVis => taken + 1,
        _ => taken.saturating_sub(1),
    };
    if entries < 2 {
        return Err(Error::Sampler(format!(
            "sampler {sampler} has no steps left for so little of a picture: give more {} or {}",
            Field::Steps,
            Field::Strength
        )));
    }
    Ok((&grid[..entries.min(grid.len())], grid.get(entries).copied()))
}

/// Has a run's first step begin at the noise of a timestep, whichever it evaluates.
pub(super) fn begin_at(run: &Run, sheet: &mut Sheet, timestep: Option<usize>) {
    if let (Some(t), Some(first)) = (timestep, sheet.drafts.first_mut()) {
        first.level = Draft::at_alpha(t as f64, run.alphas[t]).level;
    }
}

/// A1111's form: over its own grid, from unit noise (modules/sd_samplers_timesteps_impl.py, `ddim` and `ddim_cfgpp`). It
/// draws noise at each step, whether it is used or not. ComfyUI's DDIM is Euler's method.
fn solve(run: &Run, sheet: &mut Sheet, plus: bool) -> Result<()> {
    if run.dialect == Dialect::Comfy && !plus {
        return super::euler::solve(run, sheet);
    }
    let grid = grid(run, if plus { "ddim_cfg++" } else { "ddim" })?;
    // CFG++ keeps to the picture with little guidance: users give it as they do to others.
    sheet.guidance = if plus { 1.0 / 12.5 } else { 1.0 };
    over(run, sheet, &grid, plus)
}

/// Down a grid of timesteps, the lowest of which is not evaluated.
fn over(run: &Run, sheet: &mut Sheet, grid: &[usize], plus: bool) -> Result<()> {
    sheet.start = Some(1.0);
    let (grid, above) = kept(run, "ddim", grid)?;
    for pair in grid.windows(2).rev() {
        let (a, a_prev) = (run.alphas[pair[1]], run.alphas[pair[0]]);
        let of = |output| predict(run.prediction, Lin::X, output, a.sqrt(), (1.0 - a).sqrt());
        let (x0, noise) = of(Lin::M);
        let noise = if plus { of(Lin::U).1 } else { noise };
        let mut step = Draft::at_alpha(pair[1] as f64, a);
        let deviation;
        (step.rows[0], deviation) = back([a, a_prev], run.knobs.eta, x0, noise);
        step.add(Draw::Fresh, deviation * run.knobs.s_noise);
        sheet.push(step);
    }
    begin_at(run, sheet, above);
    Ok(())
}

/// KerasCV's form, which draws no noise: its timesteps, rising, run from 0 to the last one, or, in older releases and the port
/// that they came from, from 1 on in whole strides, more of them than were asked for. After the lowest nothing is left of the
/// noise (keras_cv/src/models/stable_diffusion/stable_diffusion.py).
fn keras(run: &Run, sheet: &mut Sheet) -> Result<()> {
    run.draws_nothing("ddim")?;
    let (train, steps) = (run.alphas.len(), run.asked.max(1));
    if steps > train {
        return Err(Error::Sampler(format!(
            "sampler ddim takes at most {train} steps in dialect {}, not {steps}",
            run.dialect
        )));
    }
    let times: Vec<usize> = match run.dialect {
        Dialect::Keras03 => (1..train).step_by(train / steps).collect(),
        _ => linspace(0.0, (train - 1) as f64, steps).iter().map(|t| t.round_ties_even() as usize).collect(),
    };
    let taken = times.len().saturating_sub(run.begin.unwrap_or(0));
    for (i, &t) in times.iter().enumerate().take(taken).rev() {
        let (a, a_prev) = (run.alphas[t], if i == 0 { 1.0 } else { run.alphas[times[i - 1]] });
        let (x0, noise) = predict(run.prediction, Lin::X, Lin::M, a.sqrt(), (1.0 - a).sqrt());
        let mut step = Draft::at_alpha(t as f64, a);
        (step.rows[0], _) = back([a, a_prev], 0.0, x0, noise);
        sheet.push(step);
    }
    Ok(())
}
