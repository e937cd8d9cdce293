//! The noise levels of a run by A1111's and ComfyUI's rules (A1111 and Forge: modules/sd_schedulers.py; ComfyUI:
//! comfy/samplers.py, comfy_extras/nodes_custom_sampler.py and nodes_align_your_steps.py).

use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::run::Clock;
use crate::schedule::{Schedule, beta, beta_quantile, karras, linspace};
use calotype_field::Field;

/// Levels that were searched for, of Stable Diffusion 1 and of SDXL.
type Tables<const N: usize> = [[f64; N]; 2];

/// Sabour et al. 2024, arXiv 2404.14507, "Align Your Steps", as A1111 rounds it.
static ALIGNED: Tables<11> = [
    [14.615, 6.475, 3.861, 2.697, 1.886, 1.396, 0.963, 0.652, 0.399, 0.152, 0.029],
    [14.615, 6.315, 3.771, 2.181, 1.342, 0.862, 0.555, 0.380, 0.234, 0.113, 0.029],
];

/// The same as ComfyUI has it.
#[rustfmt::skip]
static ALIGNED_COMFY: Tables<11> = [
    [
        14.6146412293, 6.4745760956, 3.8636745985, 2.6946151520, 1.8841921177, 1.3943805092, 0.9642583904, 0.6523686016,
        0.3977456272, 0.1515232662, 0.0291671582,
    ],
    [
        14.6146412293, 6.3184485287, 3.7681790315, 2.1811480769, 1.3405244945, 0.8620721141, 0.5550693289, 0.3798540708,
        0.2332364134, 0.1114188177, 0.0291671582,
    ],
];

/// The same for 32 steps, as Forge has it.
#[rustfmt::skip]
static ALIGNED_32: Tables<32> = [
    [
        14.615, 11.23951352, 8.64363081, 6.64729424, 5.57250862, 4.71648546, 3.99196065, 3.5195609,
        3.13490466, 2.79228788, 2.48773628, 2.21663865, 1.97508351, 1.7793172, 1.61475335, 1.46540953,
        1.314849, 1.16642497, 1.03475547, 0.91573744, 0.80748169, 0.71202361, 0.621739, 0.53065202,
        0.4529096, 0.37491455, 0.27461819, 0.2011529, 0.14105873, 0.06682881, 0.03166121, 0.015,
    ],
    [
        14.615, 11.1491618, 8.50522127, 6.48827151, 5.43707402, 4.60398619, 3.89854704, 3.27407457,
        2.74396527, 2.29968659, 1.95448514, 1.67108715, 1.42878152, 1.23181009, 1.06789649, 0.92579443,
        0.80290886, 0.69660121, 0.60436903, 0.52852552, 0.46773344, 0.41393379, 0.36258186, 0.31008517,
        0.26518925, 0.22326461, 0.17653877, 0.13959192, 0.10587381, 0.05519369, 0.02877334, 0.015,
    ],
];

/// Chen et al. 2024, arXiv 2405.11326, "GITS", as Forge has it.
static GITS: Tables<11> = [
    [14.615, 4.617, 2.507, 1.236, 0.702, 0.402, 0.240, 0.156, 0.104, 0.094, 0.029],
    [14.615, 4.734, 2.567, 1.529, 0.987, 0.652, 0.418, 0.268, 0.179, 0.127, 0.029],
];

/// The levels that `steps` steps go through, mostly one more than steps: some rules make more or fewer.
///
/// Errors where the dialect has no such schedule, or where a level would not be below the one before.
pub(crate) fn levels(
    (schedule, xl): (Schedule, bool),
    dialect: Dialect,
    clock: &Clock,
    steps: usize,
) -> Result<Vec<f64>> {
    let comfy = dialect == Dialect::Comfy;
    let of = usize::from(xl);
    let table: Vec<f64> = clock.logs.iter().map(|log| log.exp()).collect();
    let (least, most, count) = (table[0], table[table.len() - 1], table.len());
    let timed = |times: Vec<f64>| ended(times.into_iter().map(|t| clock.sigma(t)));
    let last = (count - 1) as f64;
    let n = steps as f64;
    let found = match schedule {
        Schedule::Discrete => timed(linspace(last, 0.0, steps)),
        Schedule::SgmUniform => timed(linspace(last, 0.0, steps + 1)[..steps].to_vec()),
        Schedule::Simple => ended((0..steps).map(|k| table[count - 1 - ((k * count) as f64 / n) as usize])),
        Schedule::DdimUniform => {
            let at: Vec<usize> = (1..count).step_by((count / steps.max(1)).max(1)).collect();
            ended(at.into_iter().rev().map(|t| table[t]))
        }
        Schedule::Karras => ended(karras(most, least, steps)),
        Schedule::Exponential | Schedule::Polyexponential => {
            ended(linspace(most.ln(), least.ln(), steps).into_iter().map(f64::exp))
        }
        Schedule::Beta if comfy => {
            let quantile = |k: usize| beta_quantile(1.0 - k as f64 / n, 0.6);
            let mut at: Vec<usize> =
                (0..steps).map(|k| (quantile(k) * last).round_ties_even() as usize).collect();
            at.dedup();
            ended(at.into_iter().map(|t| table[t]))
        }
        Schedule::Beta => ended(beta(most, least, steps)),
        Schedule::KlOptimal => {
            let at = |share: f64| (share * least.atan() + (1.0 - share) * most.atan()).tan();
            match comfy {
                true => ended(linspace(0.0, 1.0, steps).into_iter().map(at)),
                false => (0..=steps).map(|k| at(k as f64 / n)).collect(),
            }
        }
        Schedule::LinearQuadratic => linear_quadratic(steps).into_iter().map(|y| most * (1.0 - y)).collect(),
        Schedule::AlignYourSteps => match comfy {
            true => zeroed(&ALIGNED_COMFY[of], steps),
            false => ended(interpolated(&ALIGNED[of], steps)),
        },
        Schedule::AlignYourSteps32 => ended(interpolated(&ALIGNED_32[of], steps)),
        Schedule::Gits => ended(interpolated(&GITS[of], steps)),
        Schedule::Vp => {
            let sigma = |t: f64| (19.9 * t * t / 2.0 + 0.1 * t).exp_m1().sqrt();
            ended(linspace(1.0, 1e-3, steps).into_iter().map(sigma))
        }
        Schedule::Laplace => {
            let at = |u: f64| {
                let side = 0.5 - u;
                let sign = if side == 0.0 { 0.0 } else { side.signum() };
                (-0.5 * sign * (1.0 - 2.0 * side.abs() + 1e-5).ln()).exp().clamp(least, most)
            };
            linspace(0.0, 1.0, steps).into_iter().map(at).collect()
        }
        Schedule::Turbo => {
            let back = |k: usize| match comfy {
                true => last - (k * count / 10) as f64,
                false => ((steps - k) as f64 * count as f64 / n - 1.0).round_ties_even(),
            };
            ended((0..steps).map(|k| table[back(k).max(0.0) as usize]))
        }
        Schedule::Lu => return Err(Error::Sampler("scheduler lu is diffusers' alone".into())),
    };
    falling(found).ok_or_else(|| {
        Error::Sampler(format!(
            "scheduler {schedule} has not {steps} different noise levels in dialect {dialect}: give other {}, or another {}",
            Field::Steps,
            Field::Schedule
        ))
    })
}

/// The list, if each level is below the one before and there are two or more.
pub(crate) fn falling(levels: Vec<f64>) -> Option<Vec<f64>> {
    let sound = levels.len() > 1 && levels.windows(2).all(|pair| pair[0] > pair[1]);
    (sound && levels.iter().all(|level| level.is_finite() && *level >= 0.0)).then_some(levels)
}

/// With no noise at the end.
fn ended(levels: impl IntoIterator<Item = f64>) -> Vec<f64> {
    levels.into_iter().chain([0.0]).collect()
}

/// A table's values as `n`, evenly between them in logarithm, from its end on.
fn interpolated(table: &[f64], n: usize) -> Vec<f64> {
    let last = table.len() - 1;
    if n == table.len() {
        return table.to_vec();
    }
    let at = |share: f64| {
        let place = share * last as f64;
        let low = (place as usize).min(last - 1);
        let (a, b) = (table[last - low].ln(), table[last - low - 1].ln());
        (a + (b - a) * (place - low as f64)).exp()
    };
    linspace(0.0, 1.0, n).into_iter().rev().map(at).collect()
}

/// A table's values as one more than `n`, the last of which is zero.
fn zeroed(table: &[f64], n: usize) -> Vec<f64> {
    let mut levels = interpolated(table, n + 1);
    levels.pop();
    ended(levels)
}

/// How much noise is gone after each step: half of them go evenly to 1/40, the others quadratically on to all.
fn linear_quadratic(steps: usize) -> Vec<f64> {
    const THRESHOLD: f64 = 0.025;
    if steps == 1 {
        return vec![0.0, 1.0];
    }
    let (n, linear) = (steps as f64, (steps / 2) as f64);
    let quadratic = n - linear;
    let rest = linear - THRESHOLD * n;
    let square = rest / (linear * quadratic * quadratic);
    let slope = THRESHOLD / linear - 2.0 * rest / (quadratic * quadratic);
    let gone = |i: usize| {
        let i = i as f64;
        if i < linear {
            i * THRESHOLD / linear
        } else {
            square * i * i + slope * i + square * linear * linear
        }
    };
    (0..steps).map(gone).chain([1.0]).collect()
}
