//! Configuration files as diffusers and transformers take them: every field at many values, as other releases wrote
//! them, and several at once (`tests/goldens/config_variants.py`). What those read means the same here, told by what
//! the network computes, or is refused by its name and value; what they do not read is not read.

use calotype_cpu::CpuExecutor;
use calotype_graph::ops::StepRow;
use calotype_graph::{Elem, Executor, Graph, Ports, Precision, ProgramSpec};
use calotype_models::config::{ModelConfig, ModelIndex, TextEncoder, VaeConfig};
use calotype_models::{Error, Role, clip, declare, in_graphs, unet, vae};
use calotype_tensor::{DType, HostTensor};
use calotype_weights::{Declared, Init, Synthetic, Tensors};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens/config_variants.json");

/// Of the largest magnitude: sums in another order, through a network.
const TOLERANCE: f32 = 1e-4;

/// What is not implemented, by field, and the values at which it is refused though diffusers or transformers go on.
#[path = "config_variants/refused.rs"]
mod refused;

/// What is read as it was meant though diffusers 0.42 or transformers 5 stop at it: mostly fields that nothing here
/// reads, whatever is in them, and values that other releases take.
#[path = "config_variants/lenient.rs"]
mod lenient;

struct Golden(Value);

impl Golden {
    fn open() -> Self {
        Self(serde_json::from_slice(&std::fs::read(GOLDEN).unwrap()).unwrap())
    }

    /// A base with a variant's changes, as JSON.
    fn changed(&self, kind: &str, changes: &Value) -> Value {
        let mut file = self.0[kind]["base"].as_object().unwrap().clone();
        for (field, value) in changes.as_object().unwrap() {
            match value.as_str() {
                Some("(absent)") => drop(file.remove(field)),
                _ => drop(file.insert(field.clone(), value.clone())),
            }
        }
        Value::Object(file)
    }

    /// A kind's variants, `[changes, outcome]`.
    fn cases(&self, kind: &str) -> Vec<Value> {
        let list = |value: &Value| value.as_array().unwrap().clone();
        let mut cases = list(&self.0[kind]["cases"]);
        for of in list(&self.0[kind]["fields"]) {
            let field = of[1].as_str().unwrap();
            cases.extend(list(&of[2]).iter().map(|tried| json!([{ field: tried[0] }, tried[1]])));
        }
        cases
    }

    /// Goes over a kind's variants. `tell` gives what the file means here, as the script has it.
    fn check(&self, kind: &str, tell: impl Fn(&Value) -> Result<Value, Error>) {
        let (mut wrong, mut refused) = (Vec::new(), BTreeMap::<String, BTreeSet<String>>::new());
        let (mut same, mut neither, mut lenient) = (0, 0, 0);
        let cases = self.cases(kind);
        for case in &cases {
            let theirs = case[1].as_u64().map(|i| &self.0[kind]["outcomes"][i as usize]);
            match (tell(&self.changed(kind, &case[0])), theirs) {
                (Ok(ours), Some(theirs)) if equal(&ours, theirs) => same += 1,
                (Ok(ours), Some(theirs)) => wrong.push(format!("{}: {ours} not {theirs}", case[0])),
                (Err(_), None) => neither += 1,
                (Ok(_), None) => {
                    lenient += 1;
                    let fields = case[0].as_object().unwrap();
                    if !fields.keys().any(|field| lenient::FIELDS.contains(&(kind, field))) {
                        wrong.push(format!("{}: read, though it makes no picture there", case[0]));
                    }
                }
                (Err(error), Some(_)) => {
                    let message = error.to_string();
                    assert!(message.starts_with("the file: ") && !message.contains('\n'), "{message}");
                    let (field, value) = blamed(error);
                    refused.entry(field).or_default().insert(value);
                }
            }
        }
        println!(
            "{kind}: {} variants, {same} mean the same, {neither} are read by neither, {lenient} here alone, {} refused",
            cases.len(),
            cases.len() - same - neither - lenient - wrong.len()
        );
        assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
        let listed = refused::VALUES.iter().filter(|(of, ..)| *of == kind);
        let listed: BTreeMap<String, BTreeSet<String>> =
            listed.map(|(_, f, v)| (f.to_string(), v.iter().map(|v| v.to_string()).collect())).collect();
        assert_eq!(refused, listed, "what is refused of {kind} is not what refused.rs lists");
    }
}

/// The field that an error names, with its value.
fn blamed(error: Error) -> (String, String) {
    match error {
        Error::Unknown { field, value, .. }
        | Error::Unsupported { field, value, .. }
        | Error::Invalid { field, value, .. }
        | Error::Class { field, class: value, .. } => (field, value),
        other => panic!("no field is named: {other}"),
    }
}

fn equal(ours: &Value, theirs: &Value) -> bool {
    let numbers = |list: &Value| {
        list.as_array()?.iter().map(|v| v.as_f64().map(|n| n as f32)).collect::<Option<Vec<f32>>>()
    };
    match (numbers(ours), numbers(theirs)) {
        (Some(a), Some(b)) => {
            let largest = b.iter().take(8).fold(0.0f32, |most, v| most.max(v.abs()));
            a.len() == b.len() && a.iter().zip(&b).all(|(a, b)| (a - b).abs() <= TOLERANCE * largest)
        }
        _ => ours == theirs,
    }
}

/// The numbers that the script gives a parameter.
fn init(name: &str, shape: &[usize]) -> Init {
    let std = match shape {
        _ if name.ends_with(".bias") => 0.125,
        [_] => 0.5,
        _ if name.contains("embedding.weight") => 0.5,
        _ => (shape.iter().skip(1).product::<usize>() as f32).sqrt().recip(),
    };
    Init::Normal { std }
}

/// Numbers that depend on a name alone.
fn numbers(name: &str, shape: &[usize]) -> Vec<f32> {
    let declared = Declared {
        name: name.into(),
        dtype: DType::F32,
        shape: shape.to_vec(),
        init: Init::Normal { std: 1.0 },
    };
    let source = Synthetic::new(0, [declared]).unwrap();
    let bytes = pollster::block_on(source.read(name, 0..shape.iter().product())).unwrap();
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// `[1, C, H, W]` as `[1, H, W, C]`.
fn pixels(nchw: &[f32], [c, h, w]: [usize; 3]) -> HostTensor {
    let nhwc: Vec<f32> = (0..c * h * w).map(|i| nchw[(i % c) * h * w + i / c]).collect();
    HostTensor::from_f32([1, h, w, c], &nhwc)
}

/// The other way round, without channels beyond `c`.
fn planes(nhwc: &HostTensor, c: usize) -> Vec<f32> {
    let &[_, h, w, stored] = nhwc.shape().dims() else { panic!("no picture") };
    let values = nhwc.to_f32();
    (0..c * h * w).map(|i| values[(i % (h * w)) * stored + i / (h * w)]).collect()
}

/// Eight elements, evenly spread.
fn picked(values: &[f32]) -> Vec<f32> {
    (0..8).map(|i| values[i * (values.len() - 1) / 7]).collect()
}

/// A graph's only output with the numbers of the script for weights.
fn run(mut graph: Graph, inputs: &[(&str, HostTensor)]) -> HostTensor {
    let mut declared = declare(&graph);
    declared.iter_mut().for_each(|tensor| tensor.init = init(&tensor.name, &tensor.shape));
    let source = in_graphs(Synthetic::new(0, declared).unwrap());
    let executor = CpuExecutor::new();
    graph.resolve(&source, Precision::F32).unwrap();
    pollster::block_on(executor.load(&graph, &source, &mut |_| ())).unwrap();
    let mut ports = Ports::new();
    for (name, id) in graph.inputs().chain(graph.outputs().iter().map(|(name, id)| (name.as_str(), *id))) {
        let value = graph.value(id);
        let dtype = if value.elem == Elem::U32 { DType::U32 } else { DType::F32 };
        ports.insert(name.to_owned(), executor.port(name, value.shape, dtype).unwrap());
    }
    for (name, tensor) in inputs {
        executor.write(&ports[*name], 0, tensor.bytes()).unwrap();
    }
    let spec = ProgramSpec { graph: &graph, ports: &ports, precision: Precision::F32 };
    executor.run(&executor.prepare(&[spec]).unwrap()[0], 0).unwrap();
    pollster::block_on(executor.read(&ports[&graph.outputs()[0].0])).unwrap()
}

#[test]
fn unets_are_those_of_diffusers() {
    let golden = Golden::open();
    golden.check("unet", |file| {
        let config = ModelConfig::read("", |path| {
            Ok(match path {
                "model_index.json" => golden.0["index"]["base"].to_string(),
                "text_encoder/config.json" => golden.0["text"]["base"].to_string(),
                "unet/config.json" => file.to_string(),
                "vae/config.json" => golden.0["vae"]["base"].to_string(),
                _ => "{}".into(),
            })
        })
        .map_err(renamed)?;
        let timestep = StepRow { timestep: 301.0, ..bytemuck::Zeroable::zeroed() };
        let inputs = [
            ("latents", pixels(&numbers("sample", &[1, 4, 8, 8]), [4, 8, 8])),
            ("table", HostTensor::from_u32([1, StepRow::WORDS], &timestep.words())),
            ("states", HostTensor::from_f32([1, 3, 8], &numbers("states", &[1, 3, 8]))),
        ];
        let output = run(unet::unet(&config.unet, 1, 8, 8, 3, 1).map_err(renamed)?, &inputs);
        let mut told = json!(picked(&planes(&output, config.unet.out_channels)));
        told.as_array_mut().unwrap().extend(config.unet.sample_size.iter().flatten().map(|side| json!(side)));
        Ok(told)
    });
}

/// The errors of a whole folder name files that the others do not.
fn renamed(error: Error) -> Error {
    let (field, value) = blamed(error);
    Error::Invalid { file: "the file".into(), field, value, why: String::new() }
}

/// What would not fit what the script feeds it.
fn unfit(field: &str, value: usize) -> Error {
    Error::Invalid {
        file: "the file".into(),
        field: field.into(),
        value: value.to_string(),
        why: String::new(),
    }
}

#[test]
fn vaes_are_those_of_diffusers() {
    Golden::open().check("vae", |file| {
        let config = VaeConfig::parse("the file", &file.to_string())?;
        if config.latent_channels != 4 {
            return Err(unfit("latent_channels", config.latent_channels));
        }
        let latents =
            numbers("latents", &[1, 4, 4, 4]).iter().map(|v| v / config.scaling_factor).collect::<Vec<_>>();
        let output = run(vae::decoder(&config, 4, 4)?, &[("latents", pixels(&latents, [4, 4, 4]))]);
        Ok(json!(picked(&planes(&output, 3))))
    });
}

#[test]
fn text_encoders_are_those_of_transformers() {
    const IDS: [u32; 6] = [0, 5, 9, 31, 2, 1];
    Golden::open().check("text", |file| {
        let encoder = TextEncoder::parse(Role::Text, false, "the file", &file.to_string())?;
        let config = &encoder.clip;
        if config.vocab_size <= 31 {
            return Err(unfit("vocab_size", config.vocab_size));
        }
        // No token sees those behind it.
        let mut ids = IDS.to_vec();
        ids.resize(config.max_position_embeddings.max(IDS.len()), 0);
        let output = run(
            clip::text_encoder(&encoder, 1)?,
            &[("ids", HostTensor::from_u32([1, config.max_position_embeddings], &ids))],
        );
        Ok(json!(picked(&output.to_f32()[..IDS.len() * config.hidden_size])))
    });
}

#[test]
fn indices_are_those_of_diffusers() {
    Golden::open().check("index", |file| {
        let index = ModelIndex::parse("the file", &file.to_string())?;
        Ok(json!([index.scheduler, "UNet2DConditionModel", "AutoencoderKL"]))
    });
}
