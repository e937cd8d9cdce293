//! Every op case of the testkit: each GPU, in each precision, against the CPU.

use crate::support::{Device, Report, plain, watched};
use calotype::{Choice, DType, HostTensor, Precision};
use calotype_cpu::CpuExecutor;
use calotype_graph::plan::plan;
use calotype_testkit::check::REFUSAL;
use calotype_testkit::{Case, cases, error, run_case};

const BOTH: &[Precision] = &[Precision::F32, Precision::F16];

/// A GPU and the precisions to test on it, so that together they run every kernel: the GPU as it is; as a browser
/// sees it, with default limits, checked shaders and halves packed in pairs; and where that first one is software,
/// with the kernels that true GPUs run. Those that are not a browser's watch their indices: drivers keep no kernel of ours
/// inside of what is bound to it.
fn gpus() -> Vec<(Device, &'static [Precision])> {
    let all = [("gpu", watched(Choice::default())), ("plain gpu", plain())];
    let open = |(name, choice)| Some((Device::gpu(name, choice)?, BOTH));
    let mut gpus: Vec<(Device, &[Precision])> = all.into_iter().filter_map(open).collect();
    if gpus.first().is_some_and(|(gpu, _)| gpu.executor.caps().software) {
        gpus.extend(Device::gpu("as gpu", as_gpu()).map(|gpu| (gpu, &BOTH[1..])));
    }
    gpus
}

fn as_gpu() -> Choice {
    watched(Choice { as_gpu: true, ..Choice::default() })
}

/// The same with k split wherever it can be.
fn splitting() -> Vec<(Device, &'static [Precision])> {
    [
        ("gpu", watched(Choice::default()), BOTH),
        ("plain gpu", plain(), BOTH),
        ("as gpu", as_gpu(), &BOTH[1..]),
    ]
    .into_iter()
    .filter_map(|(name, choice, precisions)| {
        let choice = Choice { only_cut: Some(usize::MAX), ..choice };
        Some((Device::gpu(name, choice)?, precisions))
    })
    .collect()
}

fn check<'a>(gpus: &[(Device, &[Precision])], cases: impl Iterator<Item = &'a Case>) {
    if gpus.is_empty() {
        return;
    }
    let (cpu, mut report) = (CpuExecutor::new(), Report::default());
    let mut refused = 0;
    for case in cases {
        // Inputs are such as f16 holds, so the f32 result is the reference of both precisions.
        let expected = run_case(&cpu, case, Precision::F32).unwrap();
        for (gpu, precisions) in gpus {
            for &precision in *precisions {
                let name = format!("{} {} {precision:?}", case.name, gpu.name);
                match run_case(&*gpu.executor, case, precision) {
                    Ok(found) => {
                        report.case(&name, worst(&found, &expected), case.tolerance.at(precision));
                    }
                    Err(e) if packed(gpu, case, precision) && e.to_string().contains(REFUSAL) => refused += 1,
                    Err(e) => report.check(false, || format!("{name}: {e}")),
                }
            }
        }
    }
    println!("{refused} refused for want of shader-f16");
    report.finish();
}

/// Whether halves are packed in pairs.
fn packed(gpu: &Device, case: &Case, precision: Precision) -> bool {
    !gpu.executor.caps().f16 && (precision == Precision::F16 || case.weights == DType::F16)
}

fn worst(found: &[HostTensor], expected: &[HostTensor]) -> f64 {
    assert_eq!(found.len(), expected.len());
    found.iter().zip(expected).map(|(a, b)| error(a, b)).fold(0.0, f64::max)
}

/// One of three parts, so that a machine of a few cores runs them side by side: dealt out like cards, so that each has
/// its share of the large ones.
fn check_part(part: usize) {
    check(&gpus(), cases().iter().skip(part).step_by(3));
}

#[test]
fn gpus_agree_with_the_cpu_1() {
    check_part(0);
}

#[test]
fn gpus_agree_with_the_cpu_2() {
    check_part(1);
}

#[test]
fn gpus_agree_with_the_cpu_3() {
    check_part(2);
}

/// Products and convolutions deep enough for two slices, a few of each kind of what follows their sums.
#[test]
fn gpus_agree_with_the_cpu_where_k_is_split() {
    const SOME: [&str; 16] = [
        "matmul.deep",
        "matmul.deep_plain",
        "matmul.ff_320",
        "matmul.time_embedding",
        "conv2d.deep",
        "conv2d.deep_upsample",
        "conv2d.deep_past_a_tile",
        "conv2d.all",
        "conv2d.unet_down",
        "fused.gate_unet",
        "fused.row_norm_unet",
        "fused.skip_unet",
        "matmul.q8_0_deep_plain",
        "matmul.q4_0_deep_plain",
        "conv2d.q8_0_deep",
        "conv2d.q4_0_deep",
    ];
    let (all, gpus) = (cases(), splitting());
    let found = all.iter().filter(|case| SOME.contains(&case.name.as_str()));
    assert_eq!(found.clone().count(), SOME.len());
    for case in found.clone() {
        for (gpu, _) in &gpus {
            let plan = plan(&case.graph, Precision::F32, &gpu.executor.caps()).unwrap();
            assert!(plan.cuts.values().any(|(_, cut)| cut.splits > 1), "{} {}", case.name, gpu.name);
        }
    }
    check(&gpus, found);
}

#[test]
fn cases_have_names_of_their_own() {
    let all = cases();
    let mut names: Vec<&str> = all.iter().map(|c: &Case| c.name.as_str()).collect();
    names.sort_unstable();
    let before = names.len();
    names.dedup();
    assert_eq!(names.len(), before);
}
