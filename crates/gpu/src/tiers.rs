//! Which tiers of kernels an adapter offers, and which of them it is given.

use crate::adapter::Choice;
use crate::executor::GpuExecutor;
use crate::proof::{computes, cuts, prove, reference};
use calotype_graph::lower::{Matrices, Tier};
use calotype_graph::{Caps, Executor};
use calotype_tensor::HostTensor;
use std::sync::Mutex;

/// What became of a tier on an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierReport {
    /// Which.
    pub tier: Tier,
    /// Whether it is used.
    pub used: bool,
    /// With what, or why not.
    pub note: String,
}

/// What an adapter offers beyond the plain tier, before any of it is proven.
#[derive(Clone, Debug)]
pub(crate) struct Offer {
    /// To be asked of the device.
    pub features: wgpu::Features,
    /// In the order in which to try them.
    pub matrices: Vec<Matrices>,
}

impl Offer {
    pub fn has(&self, feature: wgpu::Features) -> bool {
        self.features.contains(feature)
    }

    /// wgpu's consent to features that it is not sure of itself.
    pub fn experimental(&self) -> wgpu::ExperimentalFeatures {
        if self.matrices.is_empty() {
            return wgpu::ExperimentalFeatures::disabled();
        }
        // SAFETY: what may go wrong with cooperative matrices (gfx-rs/wgpu#8805) shows in wrong numbers, for which each
        // tier is tried before it is used; the kernels' indices stay within their arrays by construction.
        unsafe { wgpu::ExperimentalFeatures::enabled() }
    }
}

/// What an adapter offers up to the tier that was chosen.
pub(crate) fn offer(adapter: &wgpu::Adapter, choice: &Choice) -> Offer {
    let mut features = wgpu::Features::empty();
    let mut matrices = Vec::new();
    let upto = |tier| !choice.plain && choice.tier.is_none_or(|asked| asked >= tier);
    if upto(Tier::F16) {
        features |= adapter.features() & wgpu::Features::SHADER_F16;
    }
    // A browser knows subgroups by another name than wgpu's shaders do, and no cooperative matrices.
    if upto(Tier::Subgroups) && cfg!(not(target_arch = "wasm32")) {
        features |= adapter.features() & wgpu::Features::SUBGROUP;
    }
    let needed = wgpu::Features::SHADER_F16 | wgpu::Features::SUBGROUP;
    if upto(Tier::Coop) && features.contains(needed) {
        let coop = adapter.features() & wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
        matrices = if coop.is_empty() { Vec::new() } else { usable(adapter) };
        if !matrices.is_empty() {
            features |= coop;
        }
    }
    Offer { features, matrices }
}

/// The matrices of an adapter that kernels know how to use.
fn usable(adapter: &wgpu::Adapter) -> Vec<Matrices> {
    let info = adapter.get_info();
    let metal = info.backend == wgpu::Backend::Metal;
    let found = adapter.cooperative_matrix_properties();
    let has = |side| {
        found.iter().any(|p| {
            [p.m_size, p.n_size, p.k_size] == [side; 3]
                && p.ab_type == wgpu::CooperativeScalarType::F16
                && p.cr_type == wgpu::CooperativeScalarType::F32
        })
    };
    // Metal does not tell the size of subgroups; Apple's are 32.
    let lanes = if metal { 32..=32 } else { info.subgroup_min_size..=info.subgroup_max_size };
    let mut usable: Vec<Matrices> = Matrices::ALL
        .into_iter()
        .filter(|m| has(m.side) && m.scalar == metal && lanes.contains(&m.lanes))
        .collect();
    // Of the sizes that AMD's cards have, Mesa's compiler takes the largest where none is asked for.
    if info.driver == "radv" {
        usable.sort_by_key(|m| std::cmp::Reverse(m.lanes));
    }
    usable
}

/// Proves tier after tier, leaves the device with the best that holds, and tells of all. Fails where a tier was asked
/// for that does not hold.
pub(crate) async fn settle(gpu: &mut GpuExecutor, choice: &Choice) -> Result<Vec<TierReport>, crate::Error> {
    let (offer, plain) = (gpu.offer().clone(), gpu.caps());
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
                        gpu.forgive();
                        log::warn!("{}: tier {tier} is not used: {why}", gpu.report().name);
                        report.note = why;
                    }
                }
            }
        }
        reports.push(report);
    }
    gpu.set_caps(best);
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
fn absent(gpu: &GpuExecutor, tier: Tier) -> &'static str {
    match (gpu.report().compiler, tier) {
        (Some("FXC"), Tier::F16 | Tier::Subgroups) => {
            "DX12's compiler FXC does not have it; with Microsoft's DXC (dxcompiler.dll) beside the program it may be there"
        }
        _ => "the adapter does not have it",
    }
}

/// Fails where not even the plain kernels compute. In a tab every kernel takes long to compile, and the browser vouches
/// for its adapters.
async fn begin(gpu: &mut GpuExecutor, plain: &Caps) -> Result<(), crate::Error> {
    if cfg!(target_arch = "wasm32") {
        return Ok(());
    }
    let report = gpu.report();
    let key = format!("begin {plain:?} {} {} {}", report.name, report.driver, gpu.is_checked());
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
    async fn of(&mut self, gpu: &mut GpuExecutor, tier: Tier, caps: &Caps) -> Result<(), String> {
        let report = gpu.report();
        let key = format!("{tier} {caps:?} {} {} {}", report.name, report.driver, gpu.is_checked());
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
