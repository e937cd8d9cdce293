//! Kernels stay inside of what is bound to them: drivers are not asked to keep them there. The op tests watch each kernel's
//! indices; here is what watching finds, and a model whose kernels are watched.

use crate::support::{Device, Golden, watched};
use calotype::{Choice, Precision, Request};
use calotype_graph::ops::{Activate, Activation};
use calotype_graph::{Elem, Graph, Ports, ProgramSpec, Rate};

#[test]
fn a_kernel_that_leaves_what_is_bound_is_named() {
    let Some(Device { executor, .. }) = Device::gpu("watched", watched(Choice::default())) else { return };
    let mut graph = Graph::new("too much");
    let x = graph.input("x", [1, 64], Elem::Float, Rate::Step);
    let y = graph.push("y", Activate { x, activation: Activation::Silu }).unwrap();
    graph.output("y", y);
    let run = |length: usize| {
        let port =
            |name: &str, length| executor.port(name, [1, length].into(), calotype::DType::F32).unwrap();
        let ports = Ports::from([("x".to_string(), port("x", length)), ("y".to_string(), port("y", 64))]);
        let spec = ProgramSpec { graph: &graph, ports: &ports, precision: Precision::F32 };
        let program = executor.prepare(&[spec]).unwrap().remove(0);
        executor.run(&program, 0).unwrap();
        pollster::block_on(executor.read(&ports["y"])).map(drop).map_err(|e| e.to_string())
    };
    assert_eq!(run(64), Ok(()));
    let error = run(32).unwrap_err();
    assert!(error.contains("activation[") && error.contains("outside of what is bound, 8 times"), "{error}");
    assert_eq!(run(64), Ok(()), "what was told stays told");
}

#[test]
fn a_models_kernels_stay_inside() {
    let Some(device) = Device::gpu("watched", watched(Choice::default())) else { return };
    let mut pipeline = device.pipeline(Golden::open("sd1-tiny", "stages").model(), Precision::F16);
    let request = Request { width: Some(72), height: Some(200), steps: Some(2), ..Request::new("a cat") };
    pipeline.text_to_image(&request).unwrap();
}
