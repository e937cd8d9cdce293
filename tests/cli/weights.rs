//! Files of weights of every format, where the command takes such.

use crate::support::{Folder, goldens, json_lines, tiny};
use safetensors::SafeTensors;
use serde_json::Value as Json;
use std::fs;
use std::path::Path;

#[path = "../../crates/weights/tests/made/mod.rs"]
mod made;

fn inspected(folder: &Folder, name: &str) -> Json {
    let file = goldens().join("files").join(name);
    json_lines(&folder.run(&["inspect", file.to_str().unwrap(), "--json"])).remove(0)
}

#[test]
fn inspect_tells_of_a_file_what_it_is() {
    let folder = Folder::new();
    let manifest: Vec<Json> =
        serde_json::from_slice(&fs::read(goldens().join("files.json")).unwrap()).unwrap();
    for name in ["numbers.ckpt", "legacy.pth", "oldest.pt", "blocks.gguf", "early.h5"] {
        let told = inspected(&folder, name);
        let expected = manifest.iter().find(|file| file["file"] == name).unwrap();
        assert_eq!(told["format"], expected["format"], "{name}");
        let mut names: Vec<&str> =
            told["tensors"].as_array().unwrap().iter().map(|t| t["name"].as_str().unwrap()).collect();
        names.sort_unstable();
        assert_eq!(Json::from(names), expected["tensors"], "{name}");
        for (key, value) in expected["metadata"].as_object().unwrap() {
            assert_eq!(told["metadata"][key], *value, "{name}: {key}");
        }
    }
    let told = inspected(&folder, "blocks.gguf");
    assert_eq!((&told["dtypes"]["q4_k"], &told["dtypes"]["f32"]), (&1.into(), &2.into()));
    assert_eq!(inspected(&folder, "complex.pt")["tensors"][0]["read"], false);

    folder.write("blocks.gguf", made::golden("blocks.gguf"));
    let said = folder.run(&["inspect", "blocks.gguf"]).out;
    assert!(said.contains("q4_k") && said.contains("held as q8_0"), "{said}");

    // And in words, whatever the file is called.
    folder.write("model.safetensors", made::golden("training.ckpt"));
    let said = folder.run(&["inspect", "model.safetensors"]).out;
    for part in ["PyTorch pickle (zip)", "parameters", "8 f32, 1 i64", "left aside", "1.4.2"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    let long = made::dict(&[("w\n\u{1b}[31m", made::tensor("0", 4, 0, &[4], &[1]))]);
    folder.write("odd.pt", made::torch(&long, vec![0; 16]));
    assert!(!folder.run(&["inspect", "odd.pt"]).out.contains('\u{1b}'));
}

#[test]
fn hashes_are_those_by_which_sites_know_a_file() {
    let folder = Folder::new();
    let unet = Path::new(&tiny()).join("unet/diffusion_pytorch_model.safetensors");
    let told = json_lines(&folder.run(&["inspect", unet.to_str().unwrap(), "--json", "--hashes"])).remove(0);
    // By coreutils' sha256sum, of all, of 64 KiB from the first MiB on, and of what follows the header.
    let expected = serde_json::json!({
        "AutoV1": "edbcbfcb",
        "AutoV2": "c4c5a9f3d9",
        "AutoV3": "9d456db6d370",
        "SHA-256": "c4c5a9f3d91f6ee4074941be31235265e98ecbd12bd5cd124fd5409a09c4373d",
    });
    assert_eq!(told["hashes"], expected);
    folder.fails(2, &["inspect", &tiny(), "--hashes"], &["--hashes", "file"]);
}

#[test]
fn what_cannot_be_read_is_told_in_a_line() {
    let folder = Folder::new();
    let harm = made::call(made::global("os", "system"), &[made::text("id")]);
    folder.write("harm.ckpt", made::torch(&harm, vec![]));
    folder.fails(1, &["inspect", "harm.ckpt"], &["harm.ckpt", "os.system", "not run here"]);
    folder.write("page.ckpt", b"<!DOCTYPE html>");
    folder.fails(1, &["inspect", "page.ckpt"], &["page.ckpt", "web page"]);
    let cut = made::golden("early.h5");
    folder.write("cut.h5", &cut[..cut.len() / 2]);
    folder.fails(1, &["inspect", "cut.h5"], &["cut.h5", "truncated"]);
}

/// A component's weights as torch pickles them.
fn pickled(file: &Path) -> Vec<u8> {
    let bytes = fs::read(file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let mut members = Vec::new();
    let (mut names, mut values) = (Vec::new(), Vec::new());
    for (i, (name, view)) in tensors.tensors().into_iter().enumerate() {
        let shape: Vec<i64> = view.shape().iter().map(|&axis| axis as i64).collect();
        let numel: i64 = shape.iter().product();
        let strides: Vec<i64> = (0..shape.len()).map(|axis| shape[axis + 1..].iter().product()).collect();
        names.push(name);
        values.push(made::stored("HalfStorage", &i.to_string(), numel, 0, &shape, &strides));
        members.push((format!("model/data/{i}"), view.data().to_vec()));
    }
    let items: Vec<(&str, Vec<u8>)> = names.iter().map(String::as_str).zip(values).collect();
    members.push(("model/data.pkl".into(), [b"\x80\x02", &made::dict(&items)[..], b"."].concat()));
    let members: Vec<(&str, Vec<u8>)> = members.iter().map(|(name, data)| (&**name, data.clone())).collect();
    made::zip(&members)
}

#[test]
fn a_model_whose_weights_are_pickled_draws_the_same_picture() {
    let folder = Folder::new();
    let model = folder.path().join("old");
    for (component, new, old) in [
        ("text_encoder", "model", "pytorch_model"),
        ("unet", "diffusion_pytorch_model", "diffusion_pytorch_model"),
        ("vae", "diffusion_pytorch_model", "diffusion_pytorch_model"),
        ("tokenizer", "", ""),
        ("scheduler", "", ""),
        (".", "", ""),
    ] {
        fs::create_dir_all(model.join(component)).unwrap();
        let place = Path::new(&tiny()).join(component);
        for entry in fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().path()) {
            let name = entry.file_name().unwrap();
            if entry.extension().is_some_and(|e| e == "safetensors") {
                let file = place.join(format!("{new}.safetensors"));
                fs::write(model.join(component).join(format!("{old}.bin")), pickled(&file)).unwrap();
            } else if entry.is_file() {
                fs::copy(&entry, model.join(component).join(name)).unwrap();
            }
        }
    }
    assert_eq!(folder.drawn(&["-m", "old"]), folder.drawn(&[]));
}
