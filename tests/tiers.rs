//! Each tier of kernels by force: the ops it computes in its own way against the CPU, its kernels watching their indices, and
//! the same product over and over.
//! What every tier shares is in `ops.rs`.

use crate::support::{Device, Report, watched};
use calotype::{Choice, DType, Executor, HostTensor, Precision, Quant, Tier};
use calotype_cpu::CpuExecutor;
use calotype_testkit::check::in_its_own_way;
use calotype_testkit::{Case, cases, error, run_case};

/// The ops that a tier computes in its own way.
fn is_special(tier: &str, case: &Case) -> bool {
    // Each takes seconds to compile in software: activations are no tile's business, and odd channels not matrices'.
    let others = [".gelu", ".quick_gelu", ".relu", ".mish", "odd"];
    let own = match tier {
        "subgroups" => in_its_own_way(Tier::Subgroups, case),
        "coop, split" => in_its_own_way(Tier::Coop, case) && !["attention", "fused"].contains(&case.stem()),
        _ => in_its_own_way(Tier::Coop, case),
    };
    // Of what models make of several ops, those of a UNet's sizes.
    let fused = case.stem() != "fused" || case.name.ends_with("_unet") || case.name.ends_with("_past_a_tile");
    own && fused && !others.iter().any(|other| case.name.contains(other))
}

fn worst(found: &[HostTensor], expected: &[HostTensor]) -> f64 {
    found.iter().zip(expected).map(|(a, b)| error(a, b)).fold(0.0, f64::max)
}

/// Cooperative matrices with every product's k split that can be. None where a device lacks them.
fn split() -> Option<Device> {
    tier("coop")?;
    let choice = Choice { tier: Some(Tier::Coop), only_cut: Some(usize::MAX), ..Choice::default() };
    Device::gpu("coop, split", watched(choice))
}

fn tier(name: &str) -> Option<Device> {
    Device::tiers(&watched(Choice::default())).into_iter().find(|d| d.name == name)
}

fn check(device: Option<Device>) {
    let Some(Device { name: tier, executor }) = device else { return };
    let (cpu, mut report) = (CpuExecutor::new(), Report::default());
    let mut count = 0;
    for case in cases().iter().filter(|case| is_special(tier, case)) {
        let expected = run_case(&cpu, case, Precision::F32).unwrap();
        match run_case(&*executor, case, Precision::F16) {
            Ok(found) => {
                report.case(&format!("{} {tier}", case.name), worst(&found, &expected), case.tolerance.f16);
            }
            Err(e) => report.check(false, || format!("{}: {e}", case.name)),
        }
        count += 1;
    }
    assert!(count > 10, "{tier}: only {count} cases");
    report.finish();
}

#[test]
fn cooperative_matrices_agree_with_the_cpu() {
    check(tier("coop"));
}

#[test]
fn cooperative_matrices_agree_with_the_cpu_where_k_is_split() {
    check(split());
}

/// Whether weights are in halves or in blocks, whatever the precision.
fn stored_small(case: &Case) -> bool {
    case.weights == DType::F16 || case.quant != Quant::Off
}

/// Where there are matrices, halves and blocks lie column by column: kernels without matrices read them so too.
#[test]
fn f32_activations_read_weights_that_lie_for_matrices() {
    let Some(Device { executor, .. }) = tier("coop") else { return };
    let (cpu, mut report) = (CpuExecutor::new(), Report::default());
    let all = cases();
    let stored: Vec<&Case> =
        all.iter().filter(|case| stored_small(case) && !case.name.contains("odd")).collect();
    assert!(stored.len() > 10);
    for case in stored {
        let [expected, found] =
            [&cpu as &dyn Executor, &*executor].map(|on| run_case(on, case, Precision::F32));
        report.case(&case.name, worst(&found.unwrap(), &expected.unwrap()), case.tolerance.f32);
    }
    report.finish();
}

#[test]
fn subgroups_agree_with_the_cpu() {
    check(tier("subgroups"));
}

/// naga leaves out what Vulkan's memory model needs to order workgroup memory (gfx-rs/wgpu#8805), which cooperative
/// matrices bring with them. Threads that overtook one another would show as bits that differ from run to run.
/// CALOTYPE_RACE_RUNS sets how often; `scripts/gpu-check` wants it thousands of times.
#[test]
fn products_on_cooperative_matrices_are_the_same_every_time() {
    let (Some(whole), Some(split)) = (tier("coop"), split()) else { return };
    let runs = std::env::var("CALOTYPE_RACE_RUNS").map_or(100, |n| n.parse().expect("a number of runs"));
    for (name, device) in [
        ("matmul.to_k_context", &whole),
        ("matmul.past_two_whole_tiles", &whole),
        ("conv2d.past_a_tile", &whole),
        ("matmul.deep_whole", &split),
        ("conv2d.deep_whole_past_a_tile", &split),
    ] {
        let all = cases();
        let case = all.iter().find(|c| c.name == name).unwrap_or_else(|| panic!("no case {name}"));
        let expected = run_case(&CpuExecutor::new(), case, Precision::F32).unwrap();
        let first = run_case(&*device.executor, case, Precision::F16).unwrap();
        assert!(worst(&first, &expected) <= case.tolerance.f16, "{name}");
        for run in 1..runs {
            let next = run_case(&*device.executor, case, Precision::F16).unwrap();
            assert!(next[0].bytes() == first[0].bytes(), "{name}: run {run} differs");
        }
    }
}
