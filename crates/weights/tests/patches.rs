//! `patches/`: LoRAs of every kind make the weights that LyCORIS' formulas, and PEFT, make in f64.

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

/// How far numbers are from others, of the largest of those.
fn distance(ours: &[f64], theirs: &[f64]) -> f64 {
    assert_eq!(ours.len(), theirs.len());
    let largest = theirs.iter().fold(0f64, |most, v| most.max(v.abs()));
    ours.iter().zip(theirs).fold(0f64, |far, (a, b)| far.max((a - b).abs())) / largest
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
            let far = distance(&ours, &floats(&expected, tensor));
            if far > WEIGHTS {
                wrong.push(format!("{name}: {tensor} is off by {far:.1e}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn kinds_of_pefts_own_make_what_peft_makes_of_them() {
    let bytes = std::fs::read(folder().join("peft.safetensors")).unwrap();
    let cases: Json = serde_json::from_slice(&std::fs::read(folder().join("peft.json")).unwrap()).unwrap();
    let cases = cases.as_array().unwrap();
    assert!(cases.len() > 12);
    let mut wrong = Vec::new();
    for case in cases {
        let [name, component, config] =
            ["name", "component", "config"].map(|field| case[field].as_str().unwrap());
        let model = || Checkpoint::in_memory("model", part(&bytes, &format!("{component} "))).unwrap();
        let file = Checkpoint::in_memory("adapter", part(&bytes, &format!("{name}: "))).unwrap();
        let lora = Rc::new(Lora::with(file, Some(("adapter_config.json", config))).unwrap());
        lora.check(&[(component, &model())]).unwrap();
        let expected = Checkpoint::in_memory("goldens", part(&bytes, &format!("{name} makes "))).unwrap();
        assert_eq!(expected.names().len() as u64, case["changed"].as_u64().unwrap(), "{name}");
        // A share of every change but BOFT's, whose stages are shared out, is that share of the difference.
        for strength in [1.0, 0.4] {
            if strength < 1.0 && name.starts_with("boft") {
                continue;
            }
            let merged = Merged::new(model(), component, &[(lora.clone(), strength)]).unwrap();
            for tensor in model().names() {
                let (ours, before) = (floats(&merged, tensor), floats(&model(), tensor));
                if !expected.contains(tensor) {
                    assert_eq!(ours, before, "{name}: {tensor} should be as it was");
                    continue;
                }
                let between = |(before, after): (&f64, f64)| before + f64::from(strength) * (after - before);
                let theirs: Vec<f64> = before.iter().zip(floats(&expected, tensor)).map(between).collect();
                let far = distance(&ours, &theirs);
                if far > WEIGHTS {
                    wrong.push(format!("{name} at {strength}: {tensor} is off by {far:.1e}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
