//! DPM-Solver++(2M) as a stochastic equation, over a Brownian path: Lu et al. 2022, arXiv 2211.01095 (k-diffusion:
//! sampling.py, `sample_dpmpp_2m_sde`).

use super::Descriptor;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draw, Sheet};
use crate::run::{Run, lambda};

/// DPM++ 2M SDE, in its midpoint form.
pub static DPMPP_2M_SDE: Descriptor = Descriptor {
    names: &["dpm++_2m_sde", "dpmpp_2m_sde", "dpmpp_2m_sde_gpu", "k_dpmpp_2m_sde", "dpm++2m_sde"],
    label: "DPM++ 2M SDE",
    schedule: Some("exponential"),
    k: Some(|run, sheet| solve(run, sheet, false)),
    ..Descriptor::NONE
};

/// DPM++ 2M SDE, in its Heun form.
pub static DPMPP_2M_SDE_HEUN: Descriptor = Descriptor {
    names: &["dpm++_2m_sde_heun", "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu", "k_dpmpp_2m_sde_heun"],
    label: "DPM++ 2M SDE Heun",
    k: Some(|run, sheet| solve(run, sheet, true)),
    ..DPMPP_2M_SDE
};

const LAST: usize = 1;

fn solve(run: &Run, sheet: &mut Sheet, heun: bool) -> Result<()> {
    let (eta, mut h_last) = (run.knobs.eta, None);
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let (mut step, clean) = (run.at(sigma), run.clean(sigma));
        step.rows[0] = clean;
        step.rows[LAST] = clean;
        if next > 0.0 {
            let h = lambda(next) - lambda(sigma);
            let fall = -(-h * (1.0 + eta)).exp_m1();
            step.rows[0] = Lin::X * (next / sigma * (-eta * h).exp()) + clean * fall;
            if let Some(h_last) = h_last {
                let weight = if heun { 1.0 - fall / (h * (1.0 + eta)) } else { 0.5 * fall };
                step.rows[0] = step.rows[0] + (clean - Lin::register(LAST)) * (weight * h / h_last);
            }
            if eta > 0.0 {
                let deviation = next * (-(-2.0 * eta * h).exp_m1()).sqrt();
                step.add(Draw::Brownian { from: sigma, to: next }, deviation * run.knobs.s_noise);
            }
            h_last = Some(h);
        }
        sheet.push(step);
    }
    Ok(())
}
