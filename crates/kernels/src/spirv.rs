//! The SPIR-V that wgpu-hal's Vulkan back end hands to a driver, made as it makes it (wgpu-hal's `vulkan/device.rs`).

use anyhow::{Result, anyhow};
use calotype_shaders::Variant;
use naga::back::spv::{self, Capability as C};
use naga::proc::{BoundsCheckPolicies, BoundsCheckPolicy};

/// Of one variant under its overrides, without wgpu's runtime checks: as it runs unless `--checked` asks for them.
pub fn spirv(variant: &Variant, overrides: &[(&'static str, f64)]) -> Result<Vec<u32>> {
    let module = naga::front::wgsl::parse_str(&variant.source())?;
    let mut validator =
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all());
    let info = validator.validate(&module).map_err(|e| anyhow!("{e:?}"))?;
    let constants = overrides.iter().map(|(name, value)| (name.to_string(), *value)).collect();
    let stage = naga::ShaderStage::Compute;
    let (module, info) =
        naga::back::pipeline_constants::process_overrides(&module, &info, Some((stage, "main")), &constants)?;
    let mut capabilities = vec![
        C::Shader,
        C::Matrix,
        C::GroupNonUniform,
        C::GroupNonUniformVote,
        C::GroupNonUniformArithmetic,
        C::GroupNonUniformBallot,
        C::GroupNonUniformShuffle,
        C::GroupNonUniformShuffleRelative,
        C::GroupNonUniformQuad,
        C::Float16,
        C::Int8,
        C::DotProductInputAllKHR,
        C::DotProductInput4x8BitKHR,
        C::DotProductInput4x8BitPackedKHR,
        C::DotProductKHR,
    ];
    if variant.defines.contains(&"COOP") {
        capabilities.extend([C::CooperativeMatrixKHR, C::VulkanMemoryModel]);
    }
    let unchecked = BoundsCheckPolicy::Unchecked;
    let options = spv::Options {
        lang_version: (1, 6),
        flags: spv::WriterFlags::empty(),
        capabilities: Some(capabilities.into_iter().collect()),
        bounds_check_policies: BoundsCheckPolicies {
            index: unchecked,
            buffer: unchecked,
            image_load: unchecked,
            binding_array: unchecked,
        },
        zero_initialize_workgroup_memory: spv::ZeroInitializeWorkgroupMemoryMode::None,
        force_loop_bounding: false,
        use_storage_input_output_16: true,
        emit_int_div_checks: false,
        ..Default::default()
    };
    let pipeline = spv::PipelineOptions { shader_stage: stage, entry_point: "main".into() };
    Ok(spv::write_vec(&module, &info, &options, Some(&pipeline))?)
}

/// The module as naga should have written it: without strides on arrays in workgroup memory, which SPIR-V forbids there
/// (VUID-StandaloneSpirv-None-10684, gfx-rs/wgpu#7696). For spirv-val, which else stops at the first of them.
pub fn without_strides(words: &[u32]) -> Vec<u32> {
    const POINTER: u32 = 32; // OpTypePointer: result, storage class, type
    const DECORATE: u32 = 71; // OpDecorate: target, decoration, …
    const WORKGROUP: u32 = 4;
    const ARRAY_STRIDE: u32 = 6;
    let (head, mut rest) = words.split_at(5);
    let mut instructions = Vec::new();
    while let [first, ..] = rest {
        let (own, others) = rest.split_at(((first >> 16).max(1) as usize).min(rest.len()));
        instructions.push(own);
        rest = others;
    }
    let is = |own: &[u32], operation: u32| own[0] & 0xffff == operation;
    let pointers = instructions.iter().filter(|own| is(own, POINTER) && own[2] == WORKGROUP);
    let arrays: Vec<u32> = pointers.map(|own| own[3]).collect();
    let forbidden = |own: &&&[u32]| is(own, DECORATE) && own[2] == ARRAY_STRIDE && arrays.contains(&own[1]);
    let kept = instructions.iter().filter(|own| !forbidden(own)).flat_map(|own| own.iter().copied());
    head.iter().copied().chain(kept).collect()
}

/// A module as a file holds it.
pub fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_strides_of_workgroup_memory_go() {
        let instruction =
            |operation: u32, rest: &[u32]| [&[(rest.len() as u32 + 1) << 16 | operation], rest].concat();
        let stride = |array| instruction(71, &[array, 6, 16]);
        let pointers = [instruction(32, &[10, 4, 7]), instruction(32, &[11, 12, 8])].concat();
        let module = |decorations: &[Vec<u32>]| [vec![0; 5], decorations.concat(), pointers.clone()].concat();
        let other = instruction(71, &[7, 2]);
        let found = without_strides(&module(&[stride(7), other.clone(), stride(8)]));
        assert_eq!(found, module(&[other, stride(8)]));
    }
}
