//! `-m FILE`: what a file of weights is taken for, and what it is called where it is no model.

use crate::support::{Folder, goldens, json_lines, settings, tiny};

/// A file of tensors of these names and shapes, all zeros.
fn weights(folder: &Folder, file: &str, tensors: &[(&str, &[usize])]) {
    let zeros = [0; 64];
    let views = tensors.iter().map(|(name, shape)| {
        let bytes = &zeros[..2 * shape.iter().product::<usize>()];
        (*name, safetensors::tensor::TensorView::new(safetensors::Dtype::F16, shape.to_vec(), bytes).unwrap())
    });
    folder.write(file, safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap());
}

#[test]
fn a_file_that_is_no_model_is_called_what_it_is() {
    let folder = Folder::new();
    let refused = |file: &'static str, parts: &[&str]| {
        folder.fails(1, &["plan", "-m", file], &[&[file, ": "].concat()]);
        folder.fails(1, &["plan", "-m", file], parts);
    };
    let lora: [(&str, &[usize]); 2] =
        [("lora_unet_conv_in.lora_down.weight", &[2, 2]), ("lora_unet_conv_in.lora_up.weight", &[2, 2])];
    weights(&folder, "ink.safetensors", &lora);
    refused("ink.safetensors", &["a LoRA, and no model", "--lora"]);
    weights(&folder, "word.safetensors", &[("emb_params", &[1, 2])]);
    refused("word.safetensors", &["a textual-inversion embedding, and no model"]);
    weights(&folder, "vae.safetensors", &[("first_stage_model.decoder.conv_in.weight", &[2, 2])]);
    refused(
        "vae.safetensors",
        &["the file holds the VAE, and no text encoder and no UNet: give them as --text-encoder and --unet"],
    );
    let mixed: [(&str, &[usize]); 2] =
        [("model.diffusion_model.out.2.bias", &[2]), ("unet.conv_out.bias", &[2])];
    weights(&folder, "mixed.safetensors", &mixed);
    refused("mixed.safetensors", &["are the same tensor of the unet", "two models are mixed"]);
    weights(&folder, "other.safetensors", &[("conv1.weight", &[2])]);
    refused("other.safetensors", &["of nothing known here, and no model"]);
    let cut = folder.read("vae.safetensors");
    folder.write("cut.safetensors", &cut[..cut.len() - 1]);
    refused("cut.safetensors", &["truncated", "download it again"]);
    folder.fails(2, &["plan", "--config", "sd9"], &["sd15, sd21"]);
    folder.fails(
        2,
        &["plan", "--prediction", "v"],
        &["--prediction: the built-in model is not made of files"],
    );
    folder.fails(2, &["plan", "--zsnr"], &["--zsnr: the built-in model is not made of files"]);
    folder.fails(1, &["plan", "-m", &tiny(), "--vae", "builtin"], &["no component can be taken from it"]);
    folder.fails(
        1,
        &["plan", "-m", &tiny(), "--vae", "nosuch.safetensors"],
        &["nosuch.safetensors: no such file", "--vae takes"],
    );
    folder.fails(1, &["plan", "-m", &tiny(), "--vae", "ink.safetensors"], &["ink.safetensors: a LoRA"]);

    let said = folder.run(&["inspect", "vae.safetensors", "--json"]);
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(report["is"]["what"], "of a model, its vae");
    let said = folder.run(&["inspect", "ink.safetensors"]);
    assert!(said.out.contains("what it is") && said.out.contains("a LoRA"), "{}", said.out);
}

/// A golden's file (tests/goldens/single_files.py), with a token embedding as long as CLIP's: of all other tokens zeros.
fn whole(folder: &Folder, file: &str) {
    let text = std::fs::read(goldens().join("single_files.json")).unwrap();
    let cases: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let case = &cases[0];
    let golden = std::fs::read(goldens().join("single_files").join(case["file"].as_str().unwrap())).unwrap();
    let golden = safetensors::SafeTensors::deserialize(&golden).unwrap();
    let rows = case["vocabulary"].as_u64().unwrap() as usize;
    let (name, _) = case["tokens"].as_object().unwrap().iter().next().unwrap();
    let width = golden.tensor(name).unwrap().shape()[1];
    let table = vec![0; 2 * width * rows];
    let views = golden.tensors().into_iter().map(|(tensor, view)| {
        let long = || {
            safetensors::tensor::TensorView::new(safetensors::Dtype::F16, vec![rows, width], &table).unwrap()
        };
        let view = if tensor == *name { long() } else { view };
        (tensor, view)
    });
    folder.write(file, safetensors::serialize(views.collect::<Vec<_>>(), None).unwrap());
}

#[test]
fn pictures_name_the_model_by_its_hash() {
    let folder = Folder::new();
    // What is kept of the file goes there.
    let cache = folder.path().join("cache");
    let folder = folder.with("CALOTYPE_CACHE_DIR", cache.to_str().unwrap());
    whole(&folder, "model.safetensors");
    let args = ["a cat", "-m", "model.safetensors", "-W", "64", "-H", "64", "--steps", "1", "-o", "a.png"];
    folder.run(&[&["generate", "--backend", "cpu"][..], &args].concat());
    let told = json_lines(&folder.run(&["inspect", "model.safetensors", "--hashes", "--json"])).remove(0);
    let hash = told["hashes"]["AutoV2"].as_str().unwrap();
    let settings = settings(&folder.read("a.png")).unwrap();
    assert_eq!((hash.len(), settings.get("Model hash")), (10, Some(hash)));
    assert_eq!(std::fs::read_dir(cache.join("hashes")).unwrap().count(), 1);
}

#[test]
fn a_component_from_elsewhere_is_blamed_by_its_own_name() {
    let folder = Folder::new();
    let own = std::path::Path::new(&tiny()).join("vae");
    let text = std::fs::read_to_string(own.join("config.json")).unwrap();
    std::fs::create_dir(folder.path().join("other")).unwrap();
    folder.write("other/config.json", text.replace("\"silu\"", "\"silly\""));
    let weights = "diffusion_pytorch_model.safetensors";
    folder.write(&format!("other/{weights}"), std::fs::read(own.join(weights)).unwrap());
    folder.fails(
        1,
        &["generate", "a cat", "--backend", "cpu", "-m", &tiny(), "--vae", "other"],
        &["error: other/config.json: act_fn", "silly"],
    );
}
