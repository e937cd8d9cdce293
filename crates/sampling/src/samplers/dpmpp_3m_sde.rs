//! DPM-Solver++(3M) as a stochastic equation, over a Brownian path (k-diffusion: sampling.py, `sample_dpmpp_3m_sde`,
//! after Lu et al. 2022, arXiv 2211.01095).

use super::Descriptor;
use crate::dialect::Dialect;
use crate::error::Result;
use crate::lin::Lin;
use crate::program::{Draw, Sheet};
use crate::run::{Run, lambda};

/// DPM++ 3M SDE.
pub static DPMPP_3M_SDE: Descriptor = Descriptor {
    names: &["dpm++_3m_sde", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu", "k_dpmpp_3m_sde"],
    label: "DPM++ 3M SDE",
    schedule: Some("exponential"),
    discards_penultimate: &[Dialect::K],
    k: Some(solve),
    ..Descriptor::NONE
};

/// The clean samples of one and of two steps ago.
const LAST: [usize; 2] = [1, 2];

fn solve(run: &Run, sheet: &mut Sheet) -> Result<()> {
    let (eta, mut past) = (run.knobs.eta, Vec::new());
    for i in 0..run.steps() {
        let (sigma, next) = run.pair(i);
        let (mut step, clean) = (run.at(sigma), run.clean(sigma));
        let [last, before] = LAST.map(Lin::register);
        step.rows[0] = clean;
        (step.rows[LAST[0]], step.rows[LAST[1]]) = (clean, last);
        if next > 0.0 {
            let h = lambda(next) - lambda(sigma);
            let hh = h * (1.0 + eta);
            let phi_2 = (-hh).exp_m1() / hh + 1.0;
            step.rows[0] = Lin::X * (-hh).exp() + clean * -(-hh).exp_m1();
            match past[..] {
                [.., h2, h1] => {
                    let (r0, r1) = (h1 / h, h2 / h);
                    let (newer, older) = ((clean - last) / r0, (last - before) / r1);
                    let first = newer + (newer - older) * (r0 / (r0 + r1));
                    let second = (newer - older) / (r0 + r1);
                    step.rows[0] = step.rows[0] + first * phi_2 - second * (phi_2 / hh - 0.5);
                }
                [h1] => step.rows[0] = step.rows[0] + (clean - last) * (phi_2 * h / h1),
                [] => {}
            }
            if eta > 0.0 {
                let deviation = next * (-(-2.0 * eta * h).exp_m1()).sqrt();
                step.add(Draw::Brownian { from: sigma, to: next }, deviation * run.knobs.s_noise);
            }
            past.push(h);
        }
        sheet.push(step);
    }
    Ok(())
}
