//! LoRAs on disk: which file of a folder is opened, and what PEFT's `adapter_config.json` says beside it.

use calotype_weights::{Checkpoint, Lora, Merged, Tensors};
use pollster::block_on;
use safetensors::{Dtype, serialize, tensor::TensorView};
use std::path::Path;
use std::rc::Rc;

fn file(tensors: &[(&str, &[usize], f32)]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape, value)| value.to_le_bytes().repeat(shape.iter().product::<usize>()))
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
    });
    serialize(views, None).unwrap()
}

/// A LoRA of rank 4 of the layer `conv_in`, whose product is 4 throughout.
fn lora() -> Vec<u8> {
    let name = |half| format!("base_model.model.conv_in.lora_{half}.weight");
    file(&[(&name("A"), &[4, 2], 1.0), (&name("B"), &[2, 4], 1.0)])
}

/// What is added to a weight of zeros.
fn added(path: &Path) -> f32 {
    let lora = Rc::new(Lora::open(path).unwrap());
    let model = Checkpoint::in_memory("model", file(&[("conv_in.weight", &[2, 2], 0.0)])).unwrap();
    let merged = Merged::new(model, "unet", &[(lora, 1.0)]).unwrap();
    let bytes = block_on(merged.read_all("conv_in.weight")).unwrap().into_owned();
    f32::from_le_bytes(*bytes.first_chunk().unwrap())
}

fn refused(path: &Path, parts: &[&str]) {
    let error = Lora::open(path).err().expect("an error").to_string();
    parts.iter().for_each(|part| assert!(error.contains(part), "no {part:?} in: {error}"));
}

#[test]
fn what_peft_says_beside_its_file_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, config) = (folder.path(), folder.path().join("adapter_config.json"));
    let own = dir.join("adapter_model.safetensors");
    std::fs::write(&own, lora()).unwrap();
    // Without it alpha is the rank.
    assert_eq!([added(dir), added(&own)], [4.0, 4.0]);
    for (text, expected) in [
        (r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8}"#, 8.0),
        (r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": true}"#, 16.0),
        (r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {"conv_in": 2}}"#, 2.0),
    ] {
        std::fs::write(&config, text).unwrap();
        assert_eq!([added(dir), added(&own)], [expected; 2], "{text}");
        // It is not about other files.
        std::fs::write(dir.join("other.safetensors"), lora()).unwrap();
        assert_eq!(added(&dir.join("other.safetensors")), 4.0);
    }
    for (text, part) in
        [("{", "EOF"), (r#"{"peft_type": "LOHA"}"#, "peft_type = \"LOHA\": only LORA is read")]
    {
        std::fs::write(&config, text).unwrap();
        refused(dir, &["adapter_config.json", part]);
    }
}

#[test]
fn a_folder_has_one_lora() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    refused(dir, &["an empty folder", "pytorch_lora_weights.safetensors"]);
    std::fs::write(dir.join("notes.txt"), "").unwrap();
    refused(dir, &["notes.txt", "adapter_model.safetensors"]);
    std::fs::write(dir.join("style.safetensors"), lora()).unwrap();
    assert_eq!(added(dir), 4.0);
    std::fs::write(dir.join("another.safetensors"), lora()).unwrap();
    refused(dir, &["another.safetensors", "style.safetensors"]);
    std::fs::write(dir.join("pytorch_lora_weights.safetensors"), lora()).unwrap();
    assert_eq!(added(dir), 4.0);
}

#[test]
fn what_the_system_says_is_said_once() {
    let error = Lora::open("no/such/lora.safetensors").err().unwrap();
    assert!(error.to_string().starts_with("no/such/lora.safetensors: "), "{error}");
    assert!(std::error::Error::source(&error).is_none(), "a chain of causes would say it again");
}
