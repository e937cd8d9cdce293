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

/// A module as a file holds it.
pub fn bytes(words: &[u32]) -> Vec<u8> {
    words.iter().flat_map(|w| w.to_le_bytes()).collect()
}
