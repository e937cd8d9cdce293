//! Kernel launches and memory of a full-size step, counted without a GPU: lowering is plain data.

use calotype_graph::lower::Matrices;
use calotype_graph::{Caps, Precision};
use calotype_pipeline::{Model, Request, Stage, plan};

/// What a large GPU has.
fn gpu() -> Caps {
    Caps {
        f16: true,
        matrices: Some(Matrices::ALL[0]),
        workgroup_bytes: 48 << 10,
        max_buffer: 4 << 30,
        max_binding: (2 << 30) - 4,
        ..Caps::default()
    }
}

#[test]
fn a_guided_step_of_stable_diffusion_takes_at_most_300_launches() {
    let devices = [
        ("large GPU", gpu(), Precision::F16),
        ("GPU without tensor cores", Caps { matrices: None, ..gpu() }, Precision::F16),
        ("browser", Caps::default(), Precision::F16),
        ("browser, f32", Caps::default(), Precision::F32),
        ("software", Caps { software: true, ..gpu() }, Precision::F32),
    ];
    for (preset, most) in [("synthetic:sd15", 300), ("synthetic:sd21", 300), ("synthetic:sdxl", 1000)] {
        let model = Model::open(preset, None).unwrap();
        let request =
            Request { steps: Some(20), width: Some(512), height: Some(512), ..Request::new("a lighthouse") };
        for (device, caps, precision) in &devices {
            let planned = plan(&model, &request.settle(&model).unwrap(), *precision, caps).unwrap();
            let step = planned.stages.iter().find(|s| s.stage == Stage::Step).unwrap();
            println!("{preset}, {device}, {precision:?}: {} launches", step.dispatches);
            assert!(step.dispatches <= most, "{preset}, {device}: {} launches", step.dispatches);
        }
        // Fusion must not cost memory: 2.26 GiB is what the unfused graphs took.
        let planned = plan(&model, &request.settle(&model).unwrap(), Precision::F16, &gpu()).unwrap();
        let gib = planned.peak_bytes as f64 / f64::from(1 << 30);
        assert!(preset != "synthetic:sd15" || gib < 2.27, "{gib:.3} GiB");
    }
}

#[test]
fn prompts_at_once_take_no_more_launches() {
    let model = Model::open("synthetic:sd15", None).unwrap();
    let size = Request { width: Some(512), height: Some(512), ..Request::default() };
    let launches = |prompt: &str| {
        let order = Request { prompts: vec![prompt.into()], ..size.clone() }.settle(&model).unwrap();
        let planned = plan(&model, &order, Precision::F16, &gpu()).unwrap();
        planned.stages.iter().find(|stage| stage.stage == Stage::Step).unwrap().dispatches
    };
    assert!(launches("a lighthouse AND the sea :0.5 AND a gull") <= launches("a lighthouse"));
}
