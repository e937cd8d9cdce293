//! Which tiers of kernels an adapter offers, before any of them is proven.

use crate::adapter::Choice;
use calotype_graph::lower::{Matrices, Tier};

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
