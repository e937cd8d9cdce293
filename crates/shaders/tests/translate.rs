//! Every variant in every language that wgpu hands to a driver: SPIR-V for Vulkan, MSL for Metal, HLSL for DX12. What
//! can not be run here at least translates, as pipelines have it done: with `override` constants resolved, plain and
//! with every switch on.

use calotype_shaders::{VARIANTS, Variant};
use naga::back::pipeline_constants::process_overrides;
use naga::back::{hlsl, msl, spv};
use naga::valid::{Capabilities, ModuleInfo, ValidationFlags, Validator};
use naga::{Module, ShaderStage};

const MAIN: &str = "main";

/// Calls `each` with every variant's module, once with overrides as the shader presets them and once with ones.
fn visit(each: &dyn Fn(&Module, &ModuleInfo) -> Result<(), String>) {
    let mut failed = Vec::new();
    let mut count = 0;
    for variant in VARIANTS {
        let module = naga::front::wgsl::parse_str(&variant.source()).unwrap();
        let info = Validator::new(ValidationFlags::all(), Capabilities::all()).validate(&module).unwrap();
        let names = module.overrides.iter().filter_map(|(_, o)| o.name.clone());
        let on = names.map(|name| (name, 1.0)).collect::<Vec<_>>();
        for constants in [Vec::new(), on] {
            let constants = constants.into_iter().collect();
            let entry = Some((ShaderStage::Compute, MAIN));
            let result = process_overrides(&module, &info, entry, &constants)
                .map_err(|e| e.to_string())
                .and_then(|(module, info)| each(&module, &info));
            if let Err(why) = result {
                failed.push(format!("{}: {why}", variant.label()));
            }
            count += 1;
        }
    }
    println!("{count} modules");
    assert!(failed.is_empty(), "{}", failed.join("\n"));
}

fn uses_matrices(module: &Module) -> bool {
    module.types.iter().any(|(_, t)| matches!(t.inner, naga::TypeInner::CooperativeMatrix { .. }))
}

#[test]
fn to_spirv() {
    visit(&|module, info| {
        let options = spv::Options { lang_version: (1, 6), ..Default::default() };
        let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: MAIN.into() };
        let words = spv::write_vec(module, info, &options, Some(&pipeline)).map_err(|e| e.to_string())?;
        if words.first() == Some(&0x0723_0203) { Ok(()) } else { Err("no SPIR-V".into()) }
    });
}

#[test]
fn to_msl() {
    visit(&|module, info| {
        let options = msl::Options { lang_version: (3, 1), ..Default::default() };
        let pipeline = msl::PipelineOptions {
            entry_point: Some((ShaderStage::Compute, MAIN.into())),
            ..Default::default()
        };
        let (text, _) = msl::write_string(module, info, &options, &pipeline).map_err(|e| e.to_string())?;
        if text.contains("kernel void") { Ok(()) } else { Err("no kernel".into()) }
    });
}

#[test]
fn to_hlsl_but_for_cooperative_matrices() {
    visit(&|module, info| {
        if uses_matrices(module) {
            return Ok(());
        }
        let options = hlsl::Options { shader_model: hlsl::ShaderModel::V6_2, ..Default::default() };
        let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, MAIN.into())) };
        let mut text = String::new();
        hlsl::Writer::new(&mut text, &options, &pipeline)
            .write(module, info, None)
            .map_err(|e| e.to_string())?;
        if text.contains("numthreads") { Ok(()) } else { Err("no kernel".into()) }
    });
}

#[test]
fn cooperative_matrices_have_the_shapes_they_are_multiplied_in() {
    // naga does not check that shapes agree, so a mistake would show on a device only.
    let coop: Vec<&Variant> = VARIANTS.iter().filter(|v| v.defines.contains(&"COOP")).collect();
    assert!(!coop.is_empty());
    for variant in coop {
        let module = naga::front::wgsl::parse_str(&variant.source()).unwrap();
        let side = variant.defines.iter().find_map(|d| d.strip_prefix("SIDE=")).unwrap();
        for (_, ty) in module.types.iter() {
            if let naga::TypeInner::CooperativeMatrix { columns, rows, .. } = ty.inner {
                assert_eq!((columns as u32, rows as u32), (side.parse().unwrap(), side.parse().unwrap()));
            }
        }
        // On Metal matrices are loaded from scalars.
        let vectors = module.global_variables.iter().any(|(_, v)| {
            let array = &module.types[v.ty].inner;
            let naga::TypeInner::Array { base, .. } = *array else { return false };
            v.name.as_deref().is_some_and(|name| name.ends_with("tile"))
                && matches!(module.types[base].inner, naga::TypeInner::Vector { .. })
        });
        assert_eq!(vectors, !variant.defines.contains(&"SCALAR"), "{}", variant.label());
    }
}
