//! `patches/`: LoRAs of every kind make the weights that LyCORIS' formulas make in f64.

use calotype_tensor::HostTensor;
use calotype_weights::{Checkpoint, Lora, Merged, Tensors};
use pollster::block_on;
use safetensors::{SafeTensors, serialize};
use serde_json::Value as Json;
use std::path::PathBuf;
use std::rc::Rc;

/// Differences of weights, of the largest.
const WEIGHTS: f64 = 1e-6;

fn folder() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens/patches")
}

/// The tensors whose names begin so, under the rest of their names.
fn part(bytes: &[u8], start: &str) -> Vec<u8> {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensors = file.tensors().into_iter();
    let own = tensors.filter_map(|(name, view)| Some((name.strip_prefix(start)?.to_owned(), view)));
    let own: Vec<_> = own.collect();
    assert!(!own.is_empty(), "{start}");
    serialize(own, None).unwrap()
}

fn floats(source: &impl Tensors, name: &str) -> Vec<f64> {
    let info = source.get(name).unwrap();
    let bytes = block_on(source.read_all(name)).unwrap().into_owned();
    HostTensor::from_bytes([info.numel()], info.dtype, bytes).to_f32().into_iter().map(f64::from).collect()
}

#[test]
fn loras_of_every_kind_make_what_lycoris_makes_of_them() {
    let bytes = std::fs::read(folder().join("patches.safetensors")).unwrap();
    let cases: Json = serde_json::from_slice(&std::fs::read(folder().join("patches.json")).unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 80);
    let model = || Checkpoint::in_memory("model", part(&bytes, "model ")).unwrap();
    let mut wrong = Vec::new();
    for case in cases {
        let name = case["name"].as_str().unwrap();
        let lora = |file: &str| {
            let lora = Lora::new(Checkpoint::in_memory("lora", part(&bytes, &format!("{file}: "))).unwrap())
                .unwrap();
            lora.check(&[("unet", &model())]).unwrap();
            Rc::new(lora)
        };
        let loras = case["loras"].as_array().unwrap().iter();
        let loras: Vec<_> =
            loras.map(|l| (lora(l[0].as_str().unwrap()), l[1].as_f64().unwrap() as f32)).collect();
        let merged = Merged::new(model(), "unet", &loras).unwrap();
        let expected = Checkpoint::in_memory("goldens", part(&bytes, &format!("{name} makes "))).unwrap();
        for tensor in model().names() {
            let ours = floats(&merged, tensor);
            if !expected.contains(tensor) {
                assert_eq!(ours, floats(&model(), tensor), "{name}: {tensor} should be as it was");
                continue;
            }
            let theirs = floats(&expected, tensor);
            let largest = theirs.iter().fold(0f64, |most, v| most.max(v.abs()));
            assert_eq!(ours.len(), theirs.len());
            let far = ours.iter().zip(&theirs).fold(0f64, |far, (a, b)| far.max((a - b).abs())) / largest;
            if far > WEIGHTS {
                wrong.push(format!("{name}: {tensor} is off by {far:.1e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
