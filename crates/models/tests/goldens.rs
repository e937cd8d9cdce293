//! Text encoder, UNet and VAE decoder on the CPU, held against what diffusers computes (`tests/goldens/README.md`).
//!
//! The graphs run twice: as they are built, and after the passes, which must not change what they compute.

use calotype_cpu::CpuExecutor;
use calotype_graph::ops::StepRow;
use calotype_graph::{Elem, Executor, Graph, Ports, Precision, ProgramSpec, passes};
use calotype_models::config::ModelConfig;
use calotype_models::{Role, clip, in_graphs, layout, unet, vae};
use calotype_tensor::{DType, HostTensor};
use calotype_weights::{Aliased, Checkpoint, DiskFolder};
use safetensors::SafeTensors;
use serde_json::Value as Json;
use std::path::{Path, PathBuf};

const MODELS: [&str; 2] = ["sd1-tiny", "sd2-tiny"];

/// What an f32 engine may differ by, of the largest magnitude. The goldens' own noise is below 3e-6; a sum in
/// another order and an exponential of another library make it a few times that.
const TOLERANCE: f32 = 2e-5;

fn config(folder: &Path) -> ModelConfig {
    ModelConfig::read(&folder.to_string_lossy(), |path| std::fs::read_to_string(folder.join(path))).unwrap()
}

/// A tiny model and what diffusers got from it.
struct Golden {
    folder: PathBuf,
    config: ModelConfig,
    stages: Json,
    tensors: Vec<u8>,
}

impl Golden {
    fn open(model: &str) -> Self {
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens").join(model);
        Self {
            config: config(&folder.join("model")),
            stages: serde_json::from_slice(&std::fs::read(folder.join("stages.json")).unwrap()).unwrap(),
            tensors: std::fs::read(folder.join("stages.safetensors")).unwrap(),
            folder,
        }
    }

    fn cases(&self, stage: &str) -> &[Json] {
        self.stages[stage].as_array().unwrap()
    }

    fn source(&self, component: &str) -> Aliased<Checkpoint> {
        let folder = DiskFolder::new(self.folder.join("model"));
        let role = Role::of_folder(component).unwrap();
        in_graphs(pollster::block_on(layout::checkpoint(&folder, role, None)).unwrap())
    }

    /// An f32 tensor as PyTorch has it, pictures in NHWC.
    fn tensor(&self, case: &Json, field: &str) -> HostTensor {
        let file = SafeTensors::deserialize(&self.tensors).unwrap();
        let view = file.tensor(case[field].as_str().unwrap()).unwrap();
        let tensor = HostTensor::from_bytes(view.shape(), DType::F32, view.data().to_vec());
        let &[b, c, h, w] = view.shape() else { return tensor };
        let nchw = tensor.to_f32();
        let nhwc: Vec<f32> = (0..b * h * w * c)
            .map(|i| {
                let (image, pixel, channel) = (i / (h * w * c), i / c % (h * w), i % c);
                nchw[(image * c + channel) * h * w + pixel]
            })
            .collect();
        HostTensor::from_f32([b, h, w, c], &nhwc)
    }

    /// Token ids, which are i64 there.
    fn ids(&self, case: &Json) -> HostTensor {
        let file = SafeTensors::deserialize(&self.tensors).unwrap();
        let view = file.tensor(case["input_ids"].as_str().unwrap()).unwrap();
        let ids: Vec<u32> =
            view.data().chunks_exact(8).map(|id| i64::from_le_bytes(id.try_into().unwrap()) as u32).collect();
        HostTensor::from_u32(view.shape(), &ids)
    }
}

/// A graph's only output for given inputs, at a row of the step table. What graphs leave for each other is theirs.
fn run(
    graphs: &mut [Graph],
    source: &Aliased<Checkpoint>,
    inputs: &[(&str, HostTensor)],
    row: usize,
) -> HostTensor {
    let executor = CpuExecutor::new();
    let mut ports = Ports::new();
    for graph in &mut *graphs {
        graph.resolve(source, Precision::F32).unwrap();
        pollster::block_on(executor.load(graph, source, &mut |_| ())).unwrap();
        let outputs = graph.outputs().iter().map(|(name, id)| (name.as_str(), *id));
        for (name, id) in graph.inputs().chain(outputs) {
            let value = graph.value(id);
            let dtype = if value.elem == Elem::U32 { DType::U32 } else { DType::F32 };
            let port = || executor.port(name, value.shape, dtype).unwrap();
            ports.entry(name.to_owned()).or_insert_with(port);
        }
    }
    for (name, tensor) in inputs {
        assert_eq!(ports[*name].shape, tensor.shape(), "{name}");
        executor.write(&ports[*name], 0, tensor.bytes()).unwrap();
    }
    let specs: Vec<ProgramSpec> =
        graphs.iter().map(|graph| ProgramSpec { graph, ports: &ports, precision: Precision::F32 }).collect();
    for program in executor.prepare(&specs).unwrap() {
        executor.run(&program, row).unwrap();
    }
    let (name, _) = graphs.last().unwrap().outputs().last().unwrap();
    pollster::block_on(executor.read(&ports[name])).unwrap()
}

/// Runs a graph as built and after the passes, and compares both with the golden.
fn check(
    what: &str,
    graph: Graph,
    source: &Aliased<Checkpoint>,
    inputs: &[(&str, HostTensor)],
    row: usize,
    expected: &HostTensor,
) {
    let (prompt, step) = passes::split(passes::fuse(graph.clone()));
    let mut passed: Vec<Graph> = [prompt, step].into_iter().filter(|part| !part.nodes().is_empty()).collect();
    for (how, graphs) in [("as built", &mut [graph][..]), ("after the passes", &mut passed[..])] {
        let found = run(graphs, source, inputs, row);
        assert_eq!(found.shape(), expected.shape(), "{what}");
        let (found, expected) = (found.to_f32(), expected.to_f32());
        let largest = expected.iter().fold(0.0f32, |most, v| most.max(v.abs()));
        assert!(found.iter().all(|v| v.is_finite()), "{what}, {how}: not finite");
        let error =
            found.iter().zip(&expected).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest;
        println!("{what}, {how}: {error:.1e} of {largest:.2}");
        assert!(error <= TOLERANCE, "{what}, {how}: differs by {error:e} of the largest, {largest}");
    }
}

#[test]
fn text_states_are_those_of_transformers() {
    for model in MODELS {
        let golden = Golden::open(model);
        let source = golden.source("text_encoder");
        for case in golden.cases("text") {
            let graph = clip::text_encoder(&golden.config.texts[0], 1).unwrap();
            let expected = golden.tensor(case, "output");
            check(
                &format!("{model} text {}", case["name"]),
                graph,
                &source,
                &[("ids", golden.ids(case))],
                0,
                &expected,
            );
        }
    }
}

#[test]
fn unet_predictions_are_those_of_diffusers() {
    /// The row that tells the case's time; the others tell other times.
    const ROW: usize = 2;
    for model in MODELS {
        let golden = Golden::open(model);
        let source = golden.source("unet");
        for case in golden.cases("unet") {
            let (latents, states) =
                (golden.tensor(case, "sample"), golden.tensor(case, "encoder_hidden_states"));
            let mut table = Vec::new();
            for row in 0..=ROW + 1 {
                let timestep = if row == ROW { case["timestep"].as_f64().unwrap() as f32 } else { 7.0 };
                let row = row as u32;
                table.extend(StepRow { timestep, row, ..bytemuck::Zeroable::zeroed() }.words());
            }
            let table = HostTensor::from_u32([ROW + 2, StepRow::WORDS], &table);
            let (x, tokens) = (latents.shape(), states.shape().dims()[1]);
            let &[batch, height, width, _] = x.dims() else { panic!("latents {x}") };
            let graph = unet::unet(&golden.config.unet, batch, height, width, tokens, ROW + 2).unwrap();
            let inputs = [("latents", latents), ("table", table), ("states", states)];
            let expected = golden.tensor(case, "output");
            check(&format!("{model} unet {}", case["name"]), graph, &source, &inputs, ROW, &expected);
        }
    }
}

#[test]
fn decoded_pictures_are_those_of_diffusers() {
    for model in MODELS {
        let golden = Golden::open(model);
        let source = golden.source("vae");
        for case in golden.cases("vae") {
            let (latents, pictures) = (golden.tensor(case, "latents"), golden.tensor(case, "output"));
            let x = latents.shape();
            let &[batch, height, width, _] = x.dims() else { panic!("latents {x}") };
            for image in 0..batch {
                let graph = vae::decoder(&golden.config.vae, height, width).unwrap();
                let inputs = [("latents", nth(&latents, image))];
                let expected = padded(&nth(&pictures, image));
                check(
                    &format!("{model} vae {} {image}", case["name"]),
                    graph,
                    &source,
                    &inputs,
                    0,
                    &expected,
                );
            }
        }
    }
}

/// One image of a batch.
fn nth(batch: &HostTensor, image: usize) -> HostTensor {
    let &[_, h, w, c] = batch.shape().dims() else { panic!("no batch {}", batch.shape()) };
    let values = batch.to_f32();
    HostTensor::from_f32([1, h, w, c], &values[image * h * w * c..][..h * w * c])
}

/// A picture with the fourth channel that the decoder leaves at zero.
fn padded(picture: &HostTensor) -> HostTensor {
    let values: Vec<f32> =
        picture.to_f32().chunks_exact(3).flat_map(|rgb| [rgb[0], rgb[1], rgb[2], 0.0]).collect();
    HostTensor::from_f32(picture.shape().with_channels(4).dims(), &values)
}
