//! `calotype convert`: a model as another file.

use crate::support::{Folder, goldens, tiny};
use safetensors::SafeTensors;
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;

/// A file's tensors: type, shape and bytes by name.
fn tensors(path: &Path) -> BTreeMap<String, (String, Vec<usize>, Vec<u8>)> {
    let bytes = std::fs::read(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let of = |(name, view): (String, safetensors::tensor::TensorView<'_>)| {
        (name, (format!("{:?}", view.dtype()), view.shape().to_vec(), view.data().to_vec()))
    };
    file.tensors().into_iter().map(of).collect()
}

/// A component's file in a folder.
fn component(name: &str) -> String {
    let file = if name == "text_encoder" { "model" } else { "diffusion_pytorch_model" };
    format!("{name}/{file}.safetensors")
}

/// A tensor's name since diffusers 0.15.
fn today(name: &str) -> String {
    let older =
        [(".query.", ".to_q."), (".key.", ".to_k."), (".value.", ".to_v."), (".proj_attn.", ".to_out.0.")];
    older.iter().fold(name.into(), |name: String, (old, new)| name.replace(old, new))
}

const COMPONENTS: [&str; 3] = ["text_encoder", "unet", "vae"];

#[test]
fn a_folder_comes_back_from_a_file_as_it_was() {
    let folder = Folder::new();
    for model in ["sd1-tiny", "sd2-tiny"] {
        let original = goldens().join(model).join("model");
        let [file, gguf, again] = ["safetensors", "gguf", ""].map(|ending| format!("{model}.{ending}"));
        let again = again.trim_end_matches('.');
        folder.run(&["convert", original.to_str().unwrap(), &file]);
        folder.run(&["convert", &file, &gguf]);
        folder.run(&["convert", &gguf, again]);
        for name in COMPONENTS {
            let was = tensors(&original.join(component(name)));
            let mut is = tensors(&folder.path().join(again).join(component(name)));
            for (tensor, was) in was {
                // Counters, which OpenCLIP does not keep.
                if tensor.ends_with("position_ids") && model == "sd2-tiny" {
                    continue;
                }
                let is =
                    is.remove(&today(&tensor)).unwrap_or_else(|| panic!("{model} {name}/{tensor} is gone"));
                assert!(is == was, "{model} {name}/{tensor}: {:?} {:?}", was.1, is.1);
            }
            assert!(is.is_empty(), "{model} {name}: {:?}", is.keys());
        }
        // What a folder says of its scheduler goes along.
        let json = |path: &Path| serde_json::from_slice::<Json>(&std::fs::read(path).unwrap()).unwrap();
        let scheduler = |folder: &Path| json(&folder.join("scheduler/scheduler_config.json"));
        let (was, is) = (scheduler(&original), scheduler(&folder.path().join(again)));
        let predicts = |json: &Json| json.get("prediction_type").cloned().unwrap_or("epsilon".into());
        assert_eq!(predicts(&was), predicts(&is));
        // Its vocabulary is CLIP's whole one.
        let vocabulary = json(&folder.path().join(again).join("tokenizer/vocab.json"));
        assert_eq!(
            (&vocabulary["<|endoftext|>"], vocabulary.as_object().unwrap().len()),
            (&49407.into(), 49408)
        );
    }
}

#[test]
fn a_file_of_the_peers_goes_through_a_folder_unchanged() {
    let folder = Folder::new();
    for model in ["sd1", "sd2"] {
        let original = goldens().join("single_files").join(format!("{model}.safetensors"));
        let again = format!("{model}.safetensors");
        // Its prediction is told by its weights, or said.
        let prediction = if model == "sd2" { "v" } else { "eps" };
        folder.run(&["convert", original.to_str().unwrap(), model, "--prediction", prediction]);
        folder.run(&["convert", model, &again]);
        let (was, is) = (tensors(&original), tensors(&folder.path().join(&again)));
        for (name, was) in &was {
            // A folder has no place for OpenCLIP's last layer, and what goes with it.
            let left = [".resblocks.2.", "text_projection", "logit_scale"];
            match is.get(name) {
                Some(is) => assert!(was == is, "{name}"),
                None => assert!(
                    left.iter().any(|part| name.contains(part)) || name.starts_with("model_ema"),
                    "{name} is gone"
                ),
            }
        }
        let new = is.keys().find(|name| !was.contains_key(*name));
        assert_eq!(new, None, "{model}");
    }
}

#[test]
fn matrices_are_put_in_blocks_and_the_rest_is_told() {
    let folder = Folder::new();
    let said = folder.run(&["convert", &tiny(), "small.gguf", "--quant", "q8_0", "--dtype", "f32"]);
    assert!(said.out.starts_with("small.gguf: ") && said.out.contains(" q8_0"), "{}", said.out);
    assert!(said.out.contains("no whole number of blocks"), "{}", said.out);
    let report = folder.run(&["inspect", "small.gguf", "--json"]);
    let report: Json = serde_json::from_str(&report.out).unwrap();
    assert_eq!(
        (&report["format"], &report["metadata"]["general.architecture"]),
        (&"GGUF".into(), &"sd1".into())
    );
    let types = report["dtypes"].as_object().unwrap();
    assert_eq!(types.keys().collect::<Vec<_>>(), ["f32", "i64", "q8_0"]);
    let kept = report["tensors"].as_array().unwrap().iter();
    let kept: Vec<&Json> = kept.filter(|tensor| tensor["name"].as_str().unwrap().contains("embed")).collect();
    assert!(!kept.is_empty() && kept.iter().all(|tensor| tensor["dtype"] != "q8_0"), "{kept:?}");
}

#[test]
fn a_lora_that_is_merged_in_is_in_the_weights() {
    let folder = Folder::new();
    let lora = goldens().join("sd1-tiny/loras/kohya.safetensors");
    let lora = format!("{}:0.5", lora.display());
    folder.run(&["convert", &tiny(), "with", "--lora", &lora, "--dtype", "f32"]);
    folder.run(&["convert", &tiny(), "without", "--dtype", "f32"]);
    let of = |model: &str| tensors(&folder.path().join(model).join(component("unet")));
    let (with, without) = (of("with"), of("without"));
    let changed = with.iter().filter(|(name, tensor)| without[*name] != **tensor).count();
    assert!(changed > 10 && changed < with.len(), "{changed} of {}", with.len());
    let drawn = folder.drawn(&["--lora", &lora, "--dtype", "f32"]);
    // The folder brings its own tokenizer, so prompts are the same.
    assert_eq!(drawn, folder.drawn(&["-m", "with", "--dtype", "f32"]));
}

#[test]
fn what_cannot_be_converted_is_told_and_leaves_nothing() {
    let folder = Folder::new();
    let tiny = tiny();
    folder.write("there.safetensors", "something");
    std::fs::create_dir(folder.path().join("folder")).unwrap();
    for (code, args, parts) in [
        (
            2,
            &["convert", &tiny, "a.safetensors", "--quant", "q8_0"][..],
            &["--quant q8_0", "only a .gguf"][..],
        ),
        (2, &["convert", &tiny, "a.gguf", "--quant", "q2_k"], &["q8_0, q5_1"]),
        (2, &["convert", &tiny, "a.gguf", "--dtype", "f8"], &["use f32, f16 or bf16"]),
        (1, &["convert", &tiny, "a.ckpt"], &["a.ckpt: .ckpt is not written", ".safetensors or .gguf"]),
        (1, &["convert", &tiny, "there.safetensors"], &["there.safetensors", "exists", "--overwrite"]),
        (1, &["convert", &tiny, "folder"], &["folder"]),
        (1, &["convert", &tiny, "nosuch/a.gguf"], &["the folder nosuch does not exist"]),
        (1, &["convert", "there.safetensors", "a.gguf"], &["there.safetensors", "not a file of weights"]),
        (1, &["convert", "absent", "a.gguf"], &["absent: no such file or folder"]),
        (2, &["convert", "builtin", "a.gguf"], &["builtin", "not made of files"]),
        (1, &["convert", &tiny, "a.gguf", "--lora", "absent.safetensors"], &["--lora: absent.safetensors"]),
    ] {
        folder.fails(code, args, parts);
    }
    folder.run(&["convert", &tiny, "there.safetensors", "--overwrite"]);
    folder.fails(
        2,
        &["convert", "there.safetensors", "there.safetensors", "--overwrite"],
        &["OUT: there.safetensors belongs to what IN reads"],
    );
    folder.write("empty.safetensors", b"\x02\0\0\0\0\0\0\0{}");
    folder.fails(
        1,
        &["convert", "empty.safetensors", "a.gguf"],
        &["empty.safetensors: ", "nothing known here"],
    );
    // A number that f16 does not hold: nothing is left of the file.
    let huge = [7e4f32, 1.0].map(f32::to_le_bytes).concat();
    let view = safetensors::tensor::TensorView::new(safetensors::Dtype::F32, vec![2], &huge).unwrap();
    folder
        .write("vae.safetensors", safetensors::serialize([("decoder.conv_in.weight", view)], None).unwrap());
    folder.fails(
        1,
        &["convert", "vae.safetensors", "half.safetensors", "--dtype", "f16"],
        &["decoder.conv_in.weight", "vae.safetensors", "1 values that are too large for f16"],
    );
}
