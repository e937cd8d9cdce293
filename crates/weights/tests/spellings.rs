//! `spellings.json`: LoRAs in every spelling and number type make the weights that diffusers and PEFT make of them.

use calotype_tensor::HostTensor;
use calotype_weights::{Checkpoint, Lora, Merged, Tensors};
use pollster::block_on;
use safetensors::{SafeTensors, serialize, tensor::TensorView};
use serde_json::Value as Json;
use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::rc::Rc;

/// Differences of weights, of the largest: sums of three products in f32.
const WEIGHTS: f32 = 1e-6;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens/sd1-tiny")
}

/// The manifest, and the bytes of its tensors.
fn golden() -> (Json, Vec<u8>) {
    let text = std::fs::read(folder().join("spellings.json")).unwrap();
    (serde_json::from_slice(&text).unwrap(), std::fs::read(folder().join("spellings.safetensors")).unwrap())
}

fn floats(source: &impl Tensors, name: &str) -> Vec<f32> {
    let info = source.get(name).unwrap();
    let bytes = block_on(source.read_all(name)).unwrap().into_owned();
    HostTensor::from_bytes([info.numel()], info.dtype, bytes).to_f32()
}

/// The name of a component's file.
fn weights(component: &str) -> &'static str {
    if component == "unet" { "diffusion_pytorch_model.safetensors" } else { "model.safetensors" }
}

/// A case's file, and the layers that it changes, as `component/path`.
fn file(case: &Json, spellings: &[Json], kept: &SafeTensors<'_>) -> (Vec<u8>, BTreeSet<String>) {
    let spelling = spellings.iter().find(|s| s["name"] == case["spelling"]).unwrap();
    let mut layers = BTreeSet::new();
    let tensors = spelling["tensors"].as_object().unwrap().iter().map(|(name, what)| {
        let what = what.as_str().unwrap();
        let key = match what.rsplit_once(' ') {
            Some((layer, _)) => {
                layers.insert(layer.to_owned());
                format!("{} {what}", case["dtype"].as_str().unwrap())
            }
            None => case[what].as_str().unwrap().to_owned(),
        };
        (name.clone(), kept.tensor(&key).unwrap())
    });
    let tensors: Vec<(String, TensorView<'_>)> = tensors.collect();
    let metadata =
        case.get("metadata").map(|m| HashMap::from([("lora_adapter_metadata".into(), m.to_string())]));
    (serialize(tensors, metadata).unwrap(), layers)
}

#[test]
fn loras_make_what_diffusers_and_peft_make_of_them() {
    let (manifest, bytes) = golden();
    let kept = SafeTensors::deserialize(&bytes).unwrap();
    let expected = Checkpoint::in_memory("goldens", bytes.clone()).unwrap();
    let spellings = manifest["spellings"].as_array().unwrap();
    let cases = manifest["cases"].as_array().unwrap();
    assert!(cases.len() > 100);
    let mut wrong = Vec::new();
    for case in cases {
        let (file, layers) = file(case, spellings, &kept);
        let config = case.get("config").map(Json::to_string);
        let config = config.as_ref().map(|text| ("adapter_config.json", &text[..]));
        let lora = Rc::new(Lora::with(Checkpoint::in_memory("lora", file).unwrap(), config).unwrap());
        assert_eq!(lora.layers(), layers.len(), "{}", case["name"]);
        for layer in layers {
            let (component, path) = layer.split_once('/').unwrap();
            let checkpoint =
                Checkpoint::open(folder().join("model").join(component).join(weights(component))).unwrap();
            let merged = Merged::new(checkpoint, component, &[(Rc::clone(&lora), 1.0)]).unwrap();
            let ours = floats(&merged, &format!("{path}.weight"));
            let theirs = floats(&expected, &format!("{} {layer}", case["like"].as_str().unwrap()));
            let largest = theirs.iter().fold(0f32, |most, v| most.max(v.abs()));
            assert_eq!(ours.len(), theirs.len());
            if !ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() <= WEIGHTS * largest) {
                wrong.push(format!("{} {layer}", case["name"]));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn numbers_of_every_type_are_those_of_torch() {
    let (manifest, bytes) = golden();
    let source = Checkpoint::in_memory("goldens", bytes).unwrap();
    let types = manifest["numbers"].as_array().unwrap();
    assert_eq!(types.len(), 18);
    for dtype in types.iter().map(|dtype| dtype.as_str().unwrap()) {
        let name = format!("numbers {dtype}");
        assert_eq!(source.get(&name).unwrap().encoding.name(), dtype);
        let (ours, theirs) = (floats(&source, &name), floats(&source, &format!("{name} as f32")));
        assert_eq!(ours.len(), theirs.len(), "{dtype}");
        for (i, (ours, theirs)) in ours.iter().zip(&theirs).enumerate() {
            let same = ours.to_bits() == theirs.to_bits() || ours.is_nan() && theirs.is_nan();
            assert!(same, "{dtype}, number {i}: {ours:e}, and torch has {theirs:e}");
        }
        // Part of a tensor is part of its numbers.
        let info = source.get(&name).unwrap();
        let size = info.dtype.size();
        let part = block_on(source.read(&name, 1..2)).unwrap();
        assert_eq!(*part, block_on(source.read_all(&name)).unwrap()[size..2 * size], "{dtype}");
    }
}
