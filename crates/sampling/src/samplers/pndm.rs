//! Pseudo numerical methods: Liu et al. 2022, arXiv 2202.09778, equations 11 to 13 (diffusers:
//! scheduling_pndm.py). `skip_prk_steps` starts the linear multistep (PLMS) directly, as Stable Diffusion does;
//! else three Runge-Kutta steps of four evaluations each come first.

use super::Descriptor;
use super::ddim::{Alphas, begin_at, kept};
use crate::dialect::Dialect;
use crate::diffusers::{Asked, Class, Grid, PREDICTIONS, SchedulerConfig, timesteps};
use crate::error::{Error, Result};
use crate::lin::Lin;
use crate::program::{Draft, Draw, Sheet, predict};
use crate::run::Run;
use crate::trained::Prediction;
use calotype_field::Field;

/// See the file's head.
pub static PNDM: Descriptor = Descriptor {
    names: &["pndm", "plms"],
    label: "PLMS",
    eta: 0.0,
    own_sigmas: &[Dialect::K, Dialect::Comfy],
    class: Some(Class {
        predictions: PREDICTIONS.split_at(2).0,
        ..Class::new("PNDMScheduler", FIELDS, program)
    }),
    k: Some(|run, sheet| over(run, sheet, &super::ddim::grid(run, "pndm")?)),
    compvis: Some(|run, sheet| {
        run.draws_nothing("pndm")?;
        over(run, sheet, &super::ddim::compvis_grid(run, "pndm")?)
    }),
    ..Descriptor::NONE
};

const FIELDS: &str = r#"{
    "num_train_timesteps": 1000, "beta_start": 0.0001, "beta_end": 0.02, "beta_schedule": "linear", "trained_betas": null,
    "prediction_type": "epsilon", "timestep_spacing": "leading", "steps_offset": 0,
    "skip_prk_steps": false, "set_alpha_to_one": false
}"#;

/// The sample at the beginning of a Runge-Kutta step or of the multistep's first step.
const BEFORE: usize = 1;
/// The Runge-Kutta step's weighted sum of outputs.
const SUM: usize = 2;
/// The last outputs, newest first, in `OUTPUTS..OUTPUTS + 3`.
const OUTPUTS: usize = 3;

fn program(config: &SchedulerConfig, asked: Asked) -> Result<Sheet> {
    let Asked { steps, begin, is_late, .. } = asked;
    let mut visited = timesteps(config, steps, Grid::Rounded)?;
    let transfer = Transfer { alphas: Alphas::new(config), prediction: config.trained.prediction_type };
    let stride = (config.trained.num_train_timesteps / steps) as f64;
    let drafts = match config.skip_prk_steps {
        true => {
            // The class has its second timestep twice, and what begins late takes the list as it comes.
            if let (true, Some(&second)) = (is_late, visited.get(1)) {
                visited.insert(1, second);
            }
            let mut visited = visited.split_off(begin.min(visited.len()));
            if let (false, Some(&second)) = (is_late, visited.get(1)) {
                visited.insert(1, second);
            }
            multistep_with_warm_up(&transfer, &visited, stride)?
        }
        false => {
            let visited = visited.split_off(begin.min(visited.len()));
            if visited.len() < 4 {
                return Err(Error::Sampler(format!(
                    "sampler pndm with skip_prk_steps false takes at least 4 steps, not {steps}: take more, or \
                     choose {} ddim",
                    Field::Sampler
                )));
            }
            let mut drafts =
                runge_kutta(&transfer, &visited, config.trained.num_train_timesteps / steps / 2)?;
            for &t in &visited[3..] {
                drafts.push(multistep(&transfer, t, t - stride, 4)?);
            }
            drafts
        }
    };
    Ok(Sheet::new(1.0, drafts))
}

/// The paper's equation 11: the sample at `to` from the sample and the model's output at `from`.
struct Transfer {
    alphas: Alphas,
    prediction: Prediction,
}

impl Transfer {
    fn apply(&self, sample: Lin, output: Lin, from: f64, to: f64) -> Result<Lin> {
        let (a, a_to) = (self.alphas.at(from)?, self.alphas.at(to)?);
        let noise = match self.prediction {
            Prediction::V => output * a.sqrt() + sample * (1.0 - a).sqrt(),
            Prediction::Epsilon | Prediction::Sample => output,
        };
        let scale = a * (1.0 - a_to).sqrt() + (a * (1.0 - a) * a_to).sqrt();
        Ok(sample * (a_to / a).sqrt() - noise * ((a_to - a) / scale))
    }
}

/// One Adams-Bashforth step with the outputs in the registers, of which the newest is this evaluation's.
fn multistep(transfer: &Transfer, from: f64, to: f64, outputs: usize) -> Result<Draft> {
    let mut step = Draft::at_alpha(from, transfer.alphas.at(from)?);
    let [e1, e2, e3] = [0, 1, 2].map(|k| Lin::register(OUTPUTS + k));
    let m = Lin::M;
    let output = match outputs {
        1 => m,
        2 => (m * 3.0 - e1) / 2.0,
        3 => (m * 23.0 - e1 * 16.0 + e2 * 5.0) / 12.0,
        _ => (m * 55.0 - e1 * 59.0 + e2 * 37.0 - e3 * 9.0) / 24.0,
    };
    step.rows[0] = transfer.apply(Lin::X, output, from, to)?;
    step.rows[OUTPUTS..OUTPUTS + 3].copy_from_slice(&[m, e1, e2]);
    Ok(step)
}

/// The first step is taken twice: an Euler step, then again with the mean of the outputs at both its ends. `visited` has the
/// second timestep twice.
fn multistep_with_warm_up(transfer: &Transfer, visited: &[f64], stride: f64) -> Result<Vec<Draft>> {
    let Some(&first) = visited.first() else { return Ok(Vec::new()) };
    let mut drafts = vec![multistep(transfer, first, first - stride, 1)?];
    let Some(&second) = visited.get(1) else { return Ok(drafts) };
    drafts[0].rows[BEFORE] = Lin::X;
    drafts[0].ends_step = false;
    let mut again = Draft::at_alpha(second, transfer.alphas.at(second)?);
    let mean = (Lin::M + Lin::register(OUTPUTS)) / 2.0;
    again.rows[0] = transfer.apply(Lin::register(BEFORE), mean, second + stride, second)?;
    again.rows[OUTPUTS] = Lin::register(OUTPUTS);
    drafts.push(again);
    for (i, &t) in visited[2..].iter().enumerate() {
        drafts.push(multistep(transfer, t, t - stride, (i + 2).min(4))?);
    }
    Ok(drafts)
}

/// Three classical Runge-Kutta steps, from `visited[0]` to `visited[3]`, through the midpoints half a stride on.
fn runge_kutta(transfer: &Transfer, visited: &[f64], half: usize) -> Result<Vec<Draft>> {
    let (before, sum) = (Lin::register(BEFORE), Lin::register(SUM));
    let half = half as f64;
    let mut drafts = Vec::new();
    for i in 0..3 {
        let (from, to) = (visited[i], visited[i + 1]);
        let midpoint = to + half;
        let at = |t: f64| transfer.alphas.at(t).map(|a| Draft::at_alpha(t, a));
        let mut stages = [at(from)?, at(midpoint)?, at(midpoint)?, at(to)?];
        stages[0].rows[0] = transfer.apply(Lin::X, Lin::M, from, from - half)?;
        stages[0].rows[BEFORE] = Lin::X;
        stages[0].rows[SUM] = Lin::M / 6.0;
        stages[1].rows[0] = transfer.apply(before, Lin::M, from, midpoint)?;
        stages[2].rows[0] = transfer.apply(before, Lin::M, from, midpoint - half)?;
        stages[3].rows[0] = transfer.apply(before, sum + Lin::M / 6.0, from, to)?;
        for stage in &mut stages[1..3] {
            stage.rows[BEFORE] = before;
            stage.rows[SUM] = sum + Lin::M / 3.0;
        }
        for (k, stage) in stages.iter_mut().enumerate() {
            let [e1, e2, e3] = [0, 1, 2].map(|k| Lin::register(OUTPUTS + k));
            let kept = if k == 0 { [Lin::M, e1, e2] } else { [e1, e2, e3] };
            stage.rows[OUTPUTS..OUTPUTS + 3].copy_from_slice(&kept);
            stage.ends_step = k == 3;
        }
        drafts.extend(stages);
    }
    Ok(drafts)
}

/// CompVis' PLMS (ldm/models/diffusion/plms.py), which A1111 has over a grid of its own (modules/sd_samplers_timesteps_impl.py,
/// `plms`): from unit noise; the first step is taken with the mean of the outputs at both its ends. CompVis' draws noise at
/// each evaluation and uses none of it.
fn over(run: &Run, sheet: &mut Sheet, grid: &[usize]) -> Result<()> {
    let draws = (run.dialect == Dialect::CompVis).then_some(Draw::Fresh);
    sheet.start = Some(1.0);
    let go = |sample: Lin, noise: Lin, from: usize, to: usize| {
        let (a, a_to) = (run.alphas[from], run.alphas[to]);
        (sample - noise * (1.0 - a).sqrt()) * (a_to / a).sqrt() + noise * (1.0 - a_to).sqrt()
    };
    let noise_at = |t: usize| {
        let a = run.alphas[t];
        predict(run.prediction, Lin::X, Lin::M, a.sqrt(), (1.0 - a).sqrt()).1
    };
    let [e1, e2, e3] = [0, 1, 2].map(|k| Lin::register(OUTPUTS + k));
    let (grid, above) = kept(run, "pndm", grid)?;
    for (i, pair) in grid.windows(2).rev().enumerate() {
        let (to, from) = (pair[0], pair[1]);
        let mut step = Draft { draw: draws, ..Draft::at_alpha(from as f64, run.alphas[from]) };
        let e = noise_at(from);
        let mean = match i {
            0 => e,
            1 => (e * 3.0 - e1) / 2.0,
            2 => (e * 23.0 - e1 * 16.0 + e2 * 5.0) / 12.0,
            _ => (e * 55.0 - e1 * 59.0 + e2 * 37.0 - e3 * 9.0) / 24.0,
        };
        step.rows[0] = go(Lin::X, mean, from, to);
        step.rows[OUTPUTS..OUTPUTS + 3].copy_from_slice(&[e, e1, e2]);
        if i == 0 {
            step.rows[BEFORE] = Lin::X;
            step.ends_step = false;
            sheet.push(step);
            // CompVis' grid begins with a timestep that is none of its own.
            let end = if to > 0 { to } else { from };
            step = Draft { draw: draws, ..Draft::at_alpha(end as f64, run.alphas[end]) };
            step.rows[0] = go(Lin::register(BEFORE), (e1 + noise_at(end)) / 2.0, from, to);
            step.rows[OUTPUTS] = e1;
        }
        sheet.push(step);
    }
    begin_at(run, sheet, above);
    Ok(())
}
