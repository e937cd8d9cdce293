//! `stages.json`: one call of each stage. The bounds are of the golden's largest magnitude.

use crate::support::{Device, Golden, MODELS, Report, nhwc, nth};
use calotype::{Choice, DType, HostTensor, Model, Precision};
use calotype_graph::ops::StepRow;
use calotype_graph::{Elem, Error, Executor, Graph, Ports, ProgramSpec, passes};
use calotype_models::{Role, clip, unet, vae};
use calotype_tensor::Tensors;
use calotype_testkit::error;

/// What an engine is held to that stores activations so.
pub fn bound(precision: Precision) -> f64 {
    match precision {
        Precision::F32 => 1e-4,
        Precision::F16 => 1e-2,
    }
}

/// The last output of a graph after the passes, at a row of the step table.
pub fn run(
    executor: &dyn Executor,
    graph: Graph,
    source: &dyn Tensors,
    precision: Precision,
    inputs: &[(&str, HostTensor)],
    row: usize,
) -> Result<HostTensor, Error> {
    let (prompt, step) = passes::split(passes::fuse(graph));
    let mut graphs: Vec<Graph> = [prompt, step].into_iter().filter(|part| !part.nodes().is_empty()).collect();
    let mut ports = Ports::new();
    for graph in &mut graphs {
        graph.resolve(source, precision).unwrap();
        pollster::block_on(executor.load(graph, source, &mut |_| ())).unwrap();
        let outputs = graph.outputs().iter().map(|(name, id)| (name.as_str(), *id));
        for (name, id) in graph.inputs().chain(outputs) {
            let value = graph.value(id);
            let dtype = match value.elem {
                Elem::Float => precision.dtype(),
                Elem::F32 => DType::F32,
                Elem::U32 => DType::U32,
            };
            let port = || executor.port(name, value.shape, dtype).unwrap();
            ports.entry(name.to_owned()).or_insert_with(port);
        }
    }
    for (name, tensor) in inputs {
        let port = &ports[*name];
        assert_eq!(port.shape, tensor.shape(), "{name}");
        executor.write(port, 0, tensor.cast(port.dtype).bytes()).unwrap();
    }
    let specs: Vec<ProgramSpec> =
        graphs.iter().map(|graph| ProgramSpec { graph, ports: &ports, precision }).collect();
    for program in executor.prepare(&specs)? {
        executor.run(&program, row).unwrap();
    }
    let (name, _) = graphs.last().unwrap().outputs().last().unwrap();
    pollster::block_on(executor.read(&ports[name]))
}

/// A graph, its inputs, and what is expected of it.
type Run = (Graph, Vec<(&'static str, HostTensor)>, HostTensor);

/// Runs each case of a stage on each device. `build` gives a case's graphs (one an image, where the stage takes
/// one at a time) with their inputs and what is expected.
fn check(
    stage: &str,
    row: usize,
    role: Role,
    build: impl Fn(&Golden, &Model, &serde_json::Value) -> Vec<Run>,
) {
    let mut report = Report::default();
    for model in MODELS {
        let golden = Golden::open(model, "stages");
        let opened = golden.model();
        let split = Choice { only_cut: Some(usize::MAX), ..Choice::default() };
        let split = Device::gpu("gpu, k split", split);
        for device in Device::all().into_iter().chain(split).chain(Device::tiers(&Choice::default())) {
            let precisions = match device.name {
                // The CPU computes in f32 whatever is stored.
                "cpu" | "gpu, k split" => &[Precision::F32][..],
                "gpu" | "plain gpu" => &[Precision::F32, Precision::F16],
                // Tiers are about f16.
                _ => &[Precision::F16],
            };
            for &precision in precisions {
                for case in golden.cases[stage].as_array().unwrap() {
                    let name = format!("{model} {stage} {} {} {precision:?}", case["name"], device.name);
                    for (graph, inputs, expected) in build(&golden, &opened, case) {
                        match run(
                            &*device.executor,
                            graph,
                            opened.components.weights(role).unwrap(),
                            precision,
                            &inputs,
                            row,
                        ) {
                            Ok(found) => report.case(
                                &name,
                                error(&found.cast(DType::F32), &expected),
                                bound(precision),
                            ),
                            // Its heads of 5 channels are more than halves packed in pairs can do, and it says so.
                            Err(e) if (model, stage, device.name) == ("sd1-tiny", "unet", "plain gpu") => {
                                report.check(e.to_string().contains("precision f32"), || {
                                    format!("{name}: {e}")
                                });
                            }
                            Err(e) => report.check(false, || format!("{name}: {e}")),
                        }
                    }
                }
            }
        }
    }
    report.finish();
}

#[test]
fn text_states_are_those_of_transformers() {
    check("text", 0, Role::Text, |golden, model, case| {
        let graph = clip::text_encoder(&model.config.texts[0], 1).unwrap();
        vec![(graph, vec![("ids", golden.ids(&case["input_ids"]))], golden.tensor(&case["output"]))]
    });
}

#[test]
fn unet_predictions_are_those_of_diffusers() {
    /// The row that tells the case's time; the others tell another.
    const ROW: usize = 2;
    check("unet", ROW, Role::Denoiser, |golden, model, case| {
        let latents = nhwc(&golden.tensor(&case["sample"]));
        let states = golden.tensor(&case["encoder_hidden_states"]);
        let mut table = Vec::new();
        for row in 0..=ROW + 1 {
            let timestep = if row == ROW { case["timestep"].as_f64().unwrap() as f32 } else { 7.0 };
            let row = row as u32;
            table.extend(StepRow { timestep, row, ..bytemuck::Zeroable::zeroed() }.words());
        }
        let table = HostTensor::from_u32([ROW + 2, StepRow::WORDS], &table);
        let &[batch, height, width, _] = latents.shape().dims() else { unreachable!() };
        let tokens = states.shape().dims()[1];
        let graph = unet::unet(&model.config.unet, batch, height, width, tokens, ROW + 2).unwrap();
        let inputs = vec![("latents", latents), ("table", table), ("states", states)];
        vec![(graph, inputs, nhwc(&golden.tensor(&case["output"])))]
    });
}

#[test]
fn decoded_pictures_are_those_of_diffusers() {
    check("vae", 0, Role::Vae, |golden, model, case| {
        let latents = nhwc(&golden.tensor(&case["latents"]));
        let pictures = nhwc(&golden.tensor(&case["output"]));
        let &[batch, height, width, _] = latents.shape().dims() else { unreachable!() };
        let decode = |image| {
            let graph = vae::decoder(&model.config.vae, height, width).unwrap();
            (graph, vec![("latents", nth(&latents, image))], padded(&nth(&pictures, image)))
        };
        (0..batch).map(decode).collect()
    });
}

/// A picture with the fourth channel that the decoder leaves at zero.
fn padded(picture: &HostTensor) -> HostTensor {
    let rgb = picture.to_f32();
    let rgba: Vec<f32> = rgb.chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 0.0]).collect();
    HostTensor::from_f32(picture.shape().with_channels(4).dims(), &rgba)
}
