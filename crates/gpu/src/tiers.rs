//! Which tiers of kernels an adapter is given: those that hold their proof.

use crate::adapter::{Choice, TierReport};
use crate::proof::{computes, cuts, prove, reference};
use crate::runner::Runner;
use calotype_graph::Caps;
use calotype_graph::lower::{Matrices, Tier};
use calotype_tensor::HostTensor;
use std::sync::Mutex;

/// Proves tier after tier, leaves the device with the best that holds, and tells of all. Fails where a tier was asked
/// for that does not hold.
pub(crate) async fn settle(gpu: &mut Runner, choice: &Choice) -> Result<Vec<TierReport>, crate::Error> {
    let (offer, plain) = (gpu.device.offer.clone(), gpu.device.caps.clone());
    begin(gpu, &plain).await?;
    let software = gpu.report().kind == "cpu";
    let asked = choice.tier.unwrap_or(Tier::Coop);
    let mut best = plain.clone();
    let mut reports = Vec::new();
    let mut trial = Trial { plain, reference: None };
    for tier in Tier::ALL.into_iter().skip(1).filter(|t| *t <= asked) {
        let candidates: Vec<Caps> = match tier {
            Tier::F16 if offer.has(wgpu::Features::SHADER_F16) => vec![Caps { f16: true, ..best.clone() }],
            Tier::Subgroups if offer.has(wgpu::Features::SUBGROUP) => {
                vec![Caps { subgroups: true, ..best.clone() }]
            }
            Tier::Coop if best.f16 => {
                // Weights for the software tile lie in another order.
                let with = |m: &Matrices| Caps { matrices: Some(*m), software: false, ..best.clone() };
                offer.matrices.iter().map(with).collect()
            }
            _ => Vec::new(),
        };
        let mut report = TierReport { tier, used: false, note: absent(gpu, tier).into() };
        if tier == Tier::Coop && software && choice.tier.is_none() && !candidates.is_empty() {
            report.note = "slower than none where shaders run in software".into();
        } else {
            for caps in candidates {
                match trial.of(gpu, tier, &caps).await {
                    Ok(()) => {
                        report.used = true;
                        report.note = caps.matrices.map_or("proven".into(), |matrices| matrices.to_string());
                        best = caps;
                        break;
                    }
                    Err(why) => {
                        gpu.device.forgive();
                        log::warn!("{}: tier {tier} is not used: {why}", gpu.report().name);
                        report.note = why;
                    }
                }
            }
        }
        reports.push(report);
    }
    gpu.device.caps = best;
    match reports.iter().find(|r| Some(r.tier) == choice.tier && !r.used) {
        None => Ok(reports),
        Some(TierReport { tier, note, .. }) => Err(crate::Error::NoSuchTier {
            tier: *tier,
            adapter: gpu.report().name.clone(),
            reason: note.clone(),
        }),
    }
}

/// Why an adapter does not have a tier.
fn absent(gpu: &Runner, tier: Tier) -> &'static str {
    match (gpu.report().compiler, tier) {
        (Some("FXC"), Tier::F16 | Tier::Subgroups) => {
            "DX12's compiler FXC does not have it; with Microsoft's DXC (dxcompiler.dll) beside the program it may be there"
        }
        _ => "the adapter does not have it",
    }
}

/// Fails where not even the plain kernels compute. In a tab every kernel takes long to compile, and the browser vouches
/// for its adapters.
async fn begin(gpu: &mut Runner, plain: &Caps) -> Result<(), crate::Error> {
    if cfg!(target_arch = "wasm32") {
        return Ok(());
    }
    let report = gpu.report();
    let key = format!("begin {plain:?} {} {} {}", report.name, report.driver, gpu.device.checked);
    let verdict = match known(&key) {
        Some(verdict) => verdict,
        None => {
            let verdict = computes(gpu, plain).await;
            remember(key, &verdict);
            verdict
        }
    };
    verdict.map_err(|reason| {
        let report = gpu.report();
        crate::Error::Wrong { adapter: report.name.clone(), driver: report.driver.clone(), reason }
    })
}

/// Verdicts of this process: a second device on the same adapter need not be tried again.
static VERDICTS: Mutex<Vec<(String, Result<(), String>)>> = Mutex::new(Vec::new());

fn known(key: &str) -> Option<Result<(), String>> {
    let verdicts = VERDICTS.lock().unwrap_or_else(|e| e.into_inner());
    verdicts.iter().find(|(k, _)| k == key).map(|(_, verdict)| verdict.clone())
}

fn remember(key: String, verdict: &Result<(), String>) {
    VERDICTS.lock().unwrap_or_else(|e| e.into_inner()).push((key, verdict.clone()));
}

struct Trial {
    plain: Caps,
    /// What the plain kernels found.
    reference: Option<Vec<HostTensor>>,
}

impl Trial {
    async fn of(&mut self, gpu: &mut Runner, tier: Tier, caps: &Caps) -> Result<(), String> {
        let report = gpu.report();
        let key = format!("{tier} {caps:?} {} {} {}", report.name, report.driver, gpu.device.checked);
        if let Some(verdict) = known(&key) {
            return verdict;
        }
        let start = web_time::Instant::now();
        if self.reference.is_none() {
            self.reference = Some(reference(gpu, &self.plain).await?);
        }
        let expected = self.reference.as_deref().unwrap_or_default();
        // Any cut may be found to be the fastest one day. In software and in a tab none is looked for, and each takes long
        // to compile.
        let tuned = cfg!(not(target_arch = "wasm32")) && !caps.software;
        let every = caps.matrices.is_some() || (tier == Tier::F16 && tuned);
        let tried: Vec<Caps> = match every {
            true => {
                let all = 0..cuts(caps).map_err(|e| e.to_string())?;
                all.map(|at| Caps { only_cut: Some(at), ..caps.clone() }).collect()
            }
            false => vec![caps.clone()],
        };
        let mut verdict = Ok(());
        for caps in &tried {
            verdict = verdict.and(prove(gpu, caps, expected).await);
        }
        log::info!("tier {tier} was tried for {} ms", start.elapsed().as_millis());
        remember(key, &verdict);
        verdict
    }
}
