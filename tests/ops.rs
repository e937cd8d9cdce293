//! Every op case of the testkit: each GPU, in each precision, against the CPU.

use crate::support::{Device, Report};
use calotype::{Choice, DType, HostTensor, Precision};
use calotype_cpu::CpuExecutor;
use calotype_testkit::{Case, cases, error, run_case};

/// What kernels of packed halves refuse, in words that tell the way out.
const REFUSAL: &str = "need --dtype f32 or a device with shader-f16";

/// A GPU and the precisions to test on it, so that together they run every kernel: the GPU as it is; as a browser
/// sees it, with default limits, checked shaders and halves packed in pairs; and where that first one is software,
/// with the kernels that true GPUs run.
fn gpus() -> Vec<(Device, &'static [Precision])> {
    const BOTH: &[Precision] = &[Precision::F32, Precision::F16];
    let mut gpus: Vec<(Device, &[Precision])> = Device::gpus().into_iter().map(|gpu| (gpu, BOTH)).collect();
    if gpus.first().is_some_and(|(gpu, _)| gpu.executor.caps().software) {
        let choice = Choice { as_gpu: true, ..Choice::default() };
        gpus.extend(Device::gpu("as gpu", choice).map(|gpu| (gpu, &BOTH[1..])));
    }
    gpus
}

fn check(part: usize, parts: usize) {
    let gpus = gpus();
    if gpus.is_empty() {
        return;
    }
    let (cpu, mut report) = (CpuExecutor::new(), Report::default());
    let mut refused = 0;
    // Dealt out like cards, so that every part has its share of the large ones.
    for case in cases().iter().skip(part).step_by(parts) {
        // Inputs are such as f16 holds, so the f32 result is the reference of both precisions.
        let expected = run_case(&cpu, case, Precision::F32).unwrap();
        for (gpu, precisions) in &gpus {
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

// Three parts, so that a machine of a few cores runs them side by side.

#[test]
fn gpus_agree_with_the_cpu_1() {
    check(0, 3);
}

#[test]
fn gpus_agree_with_the_cpu_2() {
    check(1, 3);
}

#[test]
fn gpus_agree_with_the_cpu_3() {
    check(2, 3);
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
