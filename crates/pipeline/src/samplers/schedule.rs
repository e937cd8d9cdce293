//! What every sampler is built on: the noise added by each training timestep, and which of those timesteps a
//! run visits. Rounding follows diffusers (float32 tables, numpy's float64 spacings), so that timesteps are
//! equal and sigmas agree to the last place.

use super::config::{BetaSchedule, SchedulerConfig, Spacing};
use crate::error::{Error, Result};

/// `torch.linspace(start, end, n)` in float32: counted from the nearer end, one rounding an element.
fn linspace_f32(start: f32, end: f32, n: usize) -> Vec<f32> {
    let step = (end - start) / (n.max(2) - 1) as f32;
    (0..n)
        .map(|i| match i < n / 2 {
            true => step.mul_add(i as f32, start),
            false => (-step).mul_add((n - 1 - i) as f32, end),
        })
        .collect()
}

/// `numpy.linspace(start, end, n)` in float64.
pub fn linspace(start: f64, end: f64, n: usize) -> Vec<f64> {
    let step = (end - start) / (n.max(2) - 1) as f64;
    let mut points: Vec<f64> = (0..n).map(|i| i as f64 * step + start).collect();
    if n > 1 {
        points[n - 1] = end;
    }
    points
}

/// Betas from a cumulative alpha given as a function of time in `0..=1`, at most 0.999 each (Nichol and
/// Dhariwal 2021, arXiv 2102.09672, equation 17).
fn betas_for_alpha_bar(n: usize, alpha_bar: impl Fn(f64) -> f64) -> Vec<f32> {
    let at = |i: usize| alpha_bar(i as f64 / n as f64);
    (0..n).map(|i| (1.0 - at(i + 1) / at(i)).min(0.999) as f32).collect()
}

/// Shifts and scales `sqrt(alpha_bar)` so that the last timestep is pure noise and the first is kept (Lin et al.
/// 2023, "Common Diffusion Noise Schedules and Sample Steps are Flawed", arXiv 2305.08891, algorithm 1).
fn rescale_zero_terminal_snr(betas: &[f32]) -> Vec<f32> {
    let root: Vec<f32> = cumulative_alphas(betas).iter().map(|a| a.sqrt()).collect();
    let (first, last) = (root[0], root[root.len() - 1]);
    let gain = first / (first - last);
    let bar: Vec<f32> = root.iter().map(|r| ((r - last) * gain).powi(2)).collect();
    (0..bar.len()).map(|i| 1.0 - if i == 0 { bar[0] } else { bar[i] / bar[i - 1] }).collect()
}

/// `cumprod(1 - betas)`: alphas in float32, their product carried in float64 as torch carries it.
fn cumulative_alphas(betas: &[f32]) -> Vec<f32> {
    let mut product = 1.0f64;
    betas
        .iter()
        .map(|beta| {
            product *= f64::from(1.0 - beta);
            product as f32
        })
        .collect()
}

/// `alphas_cumprod` of a configuration: how much of the picture's energy is left at each training timestep.
pub fn alphas_cumprod(config: &SchedulerConfig) -> Vec<f32> {
    let n = config.num_train_timesteps;
    let (start, end) = (config.beta_start, config.beta_end);
    let betas = match (&config.trained_betas, config.beta_schedule) {
        (Some(betas), _) => betas.clone(),
        (None, BetaSchedule::Linear) => linspace_f32(start as f32, end as f32, n),
        (None, BetaSchedule::ScaledLinear) => {
            linspace_f32(start.sqrt() as f32, end.sqrt() as f32, n).iter().map(|b| b * b).collect()
        }
        (None, BetaSchedule::SquaredCosCapV2) => {
            let angle = |t: f64| (t + 0.008) / 1.008 * std::f64::consts::FRAC_PI_2;
            betas_for_alpha_bar(n, |t| angle(t).cos().powi(2))
        }
        (None, BetaSchedule::Exp) => betas_for_alpha_bar(n, |t| (t * -12.0).exp()),
    };
    match config.rescale_betas_zero_snr {
        true => cumulative_alphas(&rescale_zero_terminal_snr(&betas)),
        false => cumulative_alphas(&betas),
    }
}

/// Sigmas of the variance-exploding view, `sqrt((1 - a) / a)`, one a training timestep, rising. With zero
/// terminal SNR the last alpha is `2^-24` in place of zero, as diffusers has it, so that its sigma is finite.
pub fn training_sigmas(config: &SchedulerConfig) -> Vec<f32> {
    let mut alphas = alphas_cumprod(config);
    if let (true, Some(last)) = (config.rescale_betas_zero_snr, alphas.last_mut()) {
        *last = (-24.0f32).exp2();
    }
    alphas.iter().map(|a| ((1.0 - a) / a).sqrt()).collect()
}

/// `numpy.interp` of a table over `0..table.len()`.
pub fn interpolate(table: &[f32], at: f64) -> f64 {
    let last = table.len() - 1;
    if at >= last as f64 {
        return f64::from(table[last]);
    }
    let low = at.max(0.0) as usize;
    let (a, b) = (f64::from(table[low]), f64::from(table[low + 1]));
    (b - a) * (at.max(0.0) - low as f64) + a
}

/// How many training timesteps a run spans and how it divides them: diffusers' schedulers differ in this alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Grid {
    /// As many points as steps, rounded to training timesteps (DDIM, PNDM, LCM).
    Rounded,
    /// As many points as steps, fractional where the spacing is `linspace` (Euler, Heun, LMS).
    Fractional,
    /// One point more than steps, the last dropped, rounded (the multistep solvers); counts only the first
    /// `usize` training timesteps.
    Multistep(usize),
}

/// The timesteps of a run, falling from noise to picture (section 3.3 of arXiv 2305.08891 names the spacings).
/// For `trailing` a float ratio may yield one point more than asked for; so it does in numpy.
pub fn timesteps(config: &SchedulerConfig, steps: usize, grid: Grid) -> Result<Vec<f64>> {
    let train = config.num_train_timesteps;
    if steps == 0 || steps > train {
        return Err(Error::Sampler(format!(
            "{steps} steps cannot be taken: the model was trained with {train} timesteps, give 1 to {train}"
        )));
    }
    let (span, points) = match grid {
        Grid::Multistep(span) => (span, steps + 1),
        _ => (train, steps),
    };
    let mut visited: Vec<f64> = match config.timestep_spacing {
        Spacing::Linspace => {
            let mut even = linspace(0.0, span as f64 - 1.0, points);
            match grid {
                Grid::Fractional => even.iter_mut().for_each(|t| *t = f64::from(*t as f32)),
                _ => even.iter_mut().for_each(|t| *t = t.round_ties_even()),
            }
            even
        }
        Spacing::Leading => {
            let ratio = span / points;
            (0..points).map(|i| (i * ratio) as f64 + config.steps_offset as f64).collect()
        }
        Spacing::Trailing => {
            let ratio = train as f64 / steps as f64;
            // numpy.arange fills from its first difference, whose rounding is part of the result.
            let delta = (span as f64 - ratio) - span as f64;
            let count = (span as f64 / ratio).ceil() as usize;
            let back = |i: usize| (span as f64 + i as f64 * delta).round_ties_even() - 1.0;
            return Ok((0..count).map(back).collect());
        }
    };
    visited.reverse();
    visited.truncate(steps);
    Ok(visited)
}
