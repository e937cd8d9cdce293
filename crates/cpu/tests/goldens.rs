//! Every op that PyTorch has too, against what it computes in f64.

use calotype_cpu::CpuExecutor;
use calotype_graph::Precision;
use calotype_testkit::{error, goldens, run_case};
use std::path::Path;

#[test]
fn agrees_with_pytorch() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens");
    let goldens = goldens::ops(&folder).unwrap();
    assert!(goldens.len() > 50, "{} goldens", goldens.len());
    let cpu = CpuExecutor::new();
    let mut failures = Vec::new();
    for golden in &goldens {
        let case = &golden.case;
        let y = &run_case(&cpu, case, Precision::F32).unwrap_or_else(|e| panic!("{}: {e}", case.name))[0];
        let off = error(y, &golden.expected);
        println!("{:50} {off:.1e}", case.name);
        if off > case.tolerance.f32 {
            failures.push(format!("{}: {off:.1e} > {:.1e}", case.name, case.tolerance.f32));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
