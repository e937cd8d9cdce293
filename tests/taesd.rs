//! A tiny decoder: pictures of the same latents as diffusers' AutoencoderTiny makes (tests/goldens/taesd.py), from files of every
//! naming; and what is none.

use crate::pictures::{apart, read_png};
use crate::support::{Device, Golden, Report};
use calotype::{Model, Precision, Request};
use std::path::PathBuf;

fn file(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/taesd").join(name)
}

fn with(model: Model, name: &str) -> Result<Model, String> {
    let mut model = model;
    model.open_decoder(&file(name)).map(|()| model).map_err(|error| error.to_string())
}

#[test]
fn pictures_of_a_tiny_decoder_are_those_of_diffusers() {
    let golden = Golden::open("sd1-tiny", "pictures");
    let cases = golden.cases.as_array().unwrap();
    let square = cases.iter().find(|case| case["name"] == "square").unwrap();
    let (latents, peer) = (golden.tensor(&square["final"]), read_png(&file("picture.png")));
    let mut report = Report::default();
    for device in Device::all() {
        for name in ["folder", "decoder.safetensors", "decoder.pth", "combined.safetensors"] {
            let mut pipeline = device.pipeline(with(golden.model(), name).unwrap(), Precision::F32);
            let pictures = pipeline.decode_latents(&latents).unwrap();
            let off = apart(&pictures[0].rgb(), &peer);
            report.check(off <= 1, || format!("{name} {} differs by {off} of 255", device.name));
        }
    }
    report.finish();
}

#[test]
fn a_tiny_decoder_is_planned_and_told() {
    let model = || Golden::open("sd1-tiny", "pictures").model();
    let device = Device::cpu();
    let request = Request { steps: Some(1), width: Some(64), height: Some(64), ..Request::new("a cat") };
    let (own, tiny) = (
        device.pipeline(model(), Precision::F32).plan(&request).unwrap(),
        device.pipeline(with(model(), "folder").unwrap(), Precision::F32).plan(&request).unwrap(),
    );
    assert!(tiny.weight_bytes < own.weight_bytes);
    let settings = |model: &Model| request.settle(model).unwrap().settings(0);
    assert_eq!(settings(&model()).get("VAE Decoder"), None);
    assert_eq!(settings(&with(model(), "folder").unwrap()).get("VAE Decoder"), Some("TAESD"));
}

#[test]
fn what_is_no_tiny_decoder_is_told() {
    let model = || Golden::open("sd1-tiny", "pictures").model();
    let told = |name: &str| with(model(), name).err().unwrap();
    assert!(told("encoder.safetensors").contains("it is the encoder"), "{}", told("encoder.safetensors"));
    assert!(told("picture.png").contains("picture.png"));
    assert!(told("../sd1-tiny/loras/peft.safetensors").contains("no layer is called"));
    assert!(told("absent").contains("absent"));
    let folder = tempfile::tempdir().unwrap();
    let config = std::fs::read_to_string(file("folder/config.json")).unwrap();
    std::fs::write(folder.path().join("config.json"), config.replace("relu", "silu")).unwrap();
    let why = model().open_decoder(folder.path()).unwrap_err().to_string();
    assert!(why.contains("act_fn = \"silu\" is not supported"), "{why}");
}
