//! `--lora`, and a model folder that has a form for few steps.

use crate::support::{Folder, goldens, json_lines, settings, tiny};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::fs;
use std::path::Path;

fn lora(name: &str) -> String {
    goldens().join("sd1-tiny/loras").join(name).to_str().unwrap().to_string()
}

#[test]
fn a_lora_changes_the_picture_as_far_as_its_scale_says() {
    let folder = Folder::new();
    let file = lora("peft.safetensors");
    let plain = folder.drawn(&[]);
    let with = folder.drawn(&["--lora", &file]);
    assert_ne!(plain, with);
    assert_eq!(with, folder.drawn(&["--lora", &format!("{file}:1.0")]));
    assert_ne!(with, folder.drawn(&["--lora", &format!("{file}:0.5")]));
    assert_eq!(plain, folder.drawn(&["--lora", &format!("{file}:0")]));
    // Two halves are one whole, but for rounding; two LoRAs are both there.
    let kohya = lora("kohya.safetensors");
    assert_ne!(with, folder.drawn(&["--lora", &file, "--lora", &kohya]));

    let scaled = format!("{file}:0.5");
    let said = folder.draw(&["a cat", "--lora", &scaled, "--lora", &kohya, "-o", "l.png", "--json"]);
    assert_eq!(json_lines(&said)[0]["loras"], serde_json::json!([["peft", 0.5], ["kohya", 1.0]]));
    let settings = settings(&folder.read("l.png")).unwrap();
    assert_eq!(settings.prompt, "a cat <lora:peft:0.5> <lora:kohya:1>");
}

#[test]
fn a_plan_counts_what_loras_take() {
    let folder = Folder::new();
    let (model, file) = (tiny(), lora("peft.safetensors"));
    let bytes = |more: &[&str]| {
        let args = [&["plan", "-m", &model, "--dtype", "f16", "--json"], more].concat();
        json_lines(&folder.run(&args))[0]["weight_bytes"].as_u64().unwrap()
    };
    // Sums are kept in the type of the rest.
    assert_eq!(bytes(&[]), bytes(&["--lora", &file]));
}

#[test]
fn loras_that_cannot_be_used_are_named() {
    let folder = Folder::new();
    let refused = |model: &str, file: &str, parts: &[&str]| {
        folder.fails(1, &["generate", "a cat", "--backend", "cpu", "-m", model, "--lora", file], parts);
    };
    refused(&tiny(), "absent.safetensors", &["--lora: absent.safetensors", "no such file", "or a folder"]);
    refused(&tiny(), "owner/name", &["--lora: owner/name", "no such file", "download the file first"]);
    refused("owner/name", "absent", &["--lora: absent"]);
    let vae = Path::new(&tiny()).join("vae/diffusion_pytorch_model.safetensors");
    refused(&tiny(), vae.to_str().unwrap(), &["vae", "no LoRA"]);
    let other = goldens().join("sd2-tiny/model");
    refused(other.to_str().unwrap(), &lora("peft.safetensors"), &["peft.safetensors", "LoRA tensor"]);
    // A drive is none of the files, even where one is called so.
    fs::copy(lora("peft.safetensors"), folder.path().join("C")).unwrap();
    refused(&tiny(), r"C:\none\ink", &[r"--lora: C:\none\ink", "no such file"]);
    let args = ["generate", "a cat", "--lora", "x:nan"];
    folder.fails(2, &args, &["--lora", "style.safetensors:0.8"]);
    let args = ["generate", "a cat", "--lora", "ink.safetensors:strong"];
    folder.fails(2, &args, &["--lora ink.safetensors:strong", "the scale is a number"]);
    let args = ["generate", "a cat", "--lora", "ink.safetensors:"];
    folder.fails(2, &args, &["--lora ink.safetensors:", "the scale is a number"]);
}

#[test]
fn a_lora_says_what_it_is() {
    let folder = Folder::new();
    let told =
        |name: &str| json_lines(&folder.run(&["inspect", &lora(name), "--json"])).remove(0)["lora"].clone();
    let kohya = told("kohya.safetensors");
    assert_eq!((&kohya["ranks"], &kohya["alphas"]), (&serde_json::json!([6]), &serde_json::json!([4.0])));
    assert_eq!(
        (&kohya["kinds"]["LoRA"], &kohya["kinds"].as_object().unwrap().len()),
        (&kohya["naming"]["kohya"], &1)
    );
    let dora = told("dora.safetensors")["kinds"].clone();
    assert_eq!((&dora["DoRA"], &dora["LoRA"]), (&serde_json::json!(33), &serde_json::json!(33)));
    assert_eq!(told("lycoris.safetensors")["kinds"], serde_json::json!({ "LoHa": 12, "LoKr": 12 }));
    let said = folder.run(&["inspect", &lora("dora.safetensors")]);
    assert!(said.out.contains("DoRA (33 layers)") && said.out.contains("diffusers"), "{}", said.out);
    let model = Path::new(&tiny()).join("unet/diffusion_pytorch_model.safetensors");
    assert!(told(model.to_str().unwrap()).is_null());
    // A torn one is told as one.
    folder.write("torn.safetensors", renamed("lora_B", "lora_C", &[]));
    folder.fails(1, &["inspect", "torn.safetensors"], &["torn.safetensors: ", "lora_A", "stands alone"]);
}

#[cfg(unix)]
#[test]
fn what_is_no_file_is_not_waited_for() {
    let folder = Folder::new();
    let made = std::process::Command::new("mkfifo").arg(folder.path().join("pipe")).status().unwrap();
    assert!(made.success());
    let draw = ["generate", "a cat", "--backend", "cpu", "-m"];
    for name in ["pipe", "/dev/zero"] {
        for flag in ["--lora", "--latents"] {
            let parts = [&format!("{flag}: {name}"), "not a regular file"];
            folder.fails(1, &[&draw[..], &[&tiny(), flag, name]].concat(), &parts);
        }
    }
}

/// The UNet's half of a LoRA of rank 3, under other names and with further tensors.
fn renamed(from: &str, to: &str, more: &[(&str, Dtype, &[usize], Vec<u8>)]) -> Vec<u8> {
    let bytes = fs::read(lora("peft.safetensors")).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let own = file.tensors().into_iter().filter(|(name, _)| name.starts_with("unet."));
    let own = own.map(|(name, view)| (name.replacen(from, to, 1), view));
    let more = more.iter().map(|(name, dtype, shape, bytes)| {
        (name.to_string(), TensorView::new(*dtype, shape.to_vec(), bytes).unwrap())
    });
    safetensors::serialize(own.chain(more), None).unwrap()
}

#[test]
fn a_folder_as_peft_writes_it_is_a_lora() {
    let folder = Folder::new();
    fs::create_dir(folder.path().join("ink")).unwrap();
    folder.write("plain.safetensors", renamed("unet.", "unet.", &[]));
    folder.write("ink/adapter_model.safetensors", renamed("unet.", "base_model.model.", &[]));
    let said = folder.draw(&["a cat", "--lora", "ink", "-o", "w.png", "--json"]);
    assert!(
        said.err.contains("warning: ink/adapter_model.safetensors: no adapter_config.json"),
        "{}",
        said.err
    );
    assert_eq!(json_lines(&said)[0]["loras"], serde_json::json!([["ink", 1.0]]));
    let config = r#"{"peft_type": "LORA", "r": 3, "lora_alpha": 6, "target_modules": ["to_q"]}"#;
    folder.write("ink/adapter_config.json", config);
    let ink = folder.drawn(&["--lora", "ink"]);
    assert_eq!(ink, folder.drawn(&["--lora", "ink/adapter_model.safetensors"]));
    assert_eq!(ink, folder.drawn(&["--lora", "plain.safetensors:2"]));
}

#[test]
fn a_bad_lora_is_not_a_bad_model() {
    let (folder, model) = (Folder::new(), tiny());
    let own = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q";
    let alpha = format!("unet.{own}.alpha");
    let float = |value: f32| value.to_le_bytes().to_vec();
    let huge = 1_000_000_000_000_000_000i64.to_le_bytes().to_vec();
    let second =
        ["down", "up"].map(|half| format!("lora_te2_text_model_encoder_layers_0_mlp_fc1.lora_{half}.weight"));
    type Bad<'a> = (Vec<u8>, &'a str, &'a [&'a str]);
    let bad: [Bad; 6] = [
        (
            renamed("", "", &[(&alpha, Dtype::F32, &[], float(f32::NAN))]),
            "",
            &[&alpha, "NaN", "leave it out"],
        ),
        (
            renamed("", "", &[(&alpha, Dtype::F32, &[2], float(1.0).repeat(2))]),
            "",
            &[&alpha, "[2]", "one number"],
        ),
        (
            renamed("", "", &[(&alpha, Dtype::C64, &[], float(1.0).repeat(2))]),
            "",
            &[&alpha, "c64", "f32, f16 or bf16"],
        ),
        (renamed("", "", &[(&alpha, Dtype::I64, &[], huge)]), ":1e30", &["lora_A.weight", "smaller scale"]),
        (renamed("unet.", "transformer.", &[]), "", &["transformer.", "SD3"]),
        (
            renamed(
                "",
                "",
                &[
                    (&second[0], Dtype::F32, &[1, 1], float(1.0)),
                    (&second[1], Dtype::F32, &[1, 1], float(1.0)),
                ],
            ),
            "",
            &["SDXL", "one text encoder"],
        ),
    ];
    for (bytes, scale, parts) in bad {
        folder.write("bad.safetensors", bytes);
        let file = format!("bad.safetensors{scale}");
        let args = ["generate", "a cat", "--backend", "cpu", "-m", &model, "--dtype", "f32", "--lora", &file];
        folder.fails(1, &args, &[&["bad.safetensors: "][..], parts].concat());
    }
    // Each tensor is finite, and what the UNet makes of them is not.
    folder.write("bad.safetensors", renamed("", "", &[]));
    let args = [
        "generate",
        "a cat",
        "--backend",
        "cpu",
        "-m",
        &model,
        "--dtype",
        "f32",
        "--lora",
        "bad.safetensors:1e38",
    ];
    folder.fails(1, &args, &["without the LoRAs (bad)"]);
}

/// A copy of the tiny model with a `calotype.json`.
fn with_defaults(folder: &Folder, text: &str) {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            match entry.path().is_dir() {
                true => copy(&entry.path(), &to),
                false => fs::copy(entry.path(), to).map(drop).unwrap(),
            }
        }
    }
    copy(Path::new(&tiny()), &folder.path().join("model"));
    fs::create_dir_all(folder.path().join("model/quick")).unwrap();
    let file = folder.path().join("model/quick/pytorch_lora_weights.safetensors");
    fs::copy(lora("peft.safetensors"), file).unwrap();
    folder.write("model/calotype.json", text);
}

const DEFAULTS: &str = r#"{"steps": 3, "cfg_scale": 4.5, "few_steps":
    {"lora": "quick/pytorch_lora_weights.safetensors", "scale": 0.5, "steps": 2, "most_steps": 4}}"#;

#[test]
fn a_folder_says_how_it_is_drawn_with() {
    let folder = Folder::new();
    with_defaults(&folder, DEFAULTS);
    let run = |more: &[&str]| {
        let args = [&["generate", "a cat", "--backend", "cpu", "-m", "model", "--seed", "1", "--json"], more];
        let said = folder.run(&[&args.concat()[..], &["-o", "p.png", "--overwrite"]].concat());
        let run = &json_lines(&said)[0];
        let told = settings(&folder.read("p.png")).unwrap();
        assert_eq!(told.get("Few steps"), run["few_steps"].as_str());
        assert_eq!(told.prompt, "a cat");
        (run["steps"].as_u64().unwrap(), run["cfg_scale"].as_f64().unwrap(), run["few_steps"] == "quick")
    };
    assert_eq!(run(&[]), (2, 1.0, true));
    assert_eq!(run(&["--steps", "4"]), (4, 1.0, true));
    assert_eq!(run(&["--steps", "5"]), (5, 4.5, false));
    assert_eq!(run(&["--cfg-scale", "2"]), (3, 2.0, false));
    assert_eq!(run(&["-n", "blurry"]), (3, 4.5, false));
    assert_eq!(run(&["--no-few-steps"]), (3, 4.5, false));

    // The form is the LoRA at its scale, and no more; without it the model is the model.
    let quick = format!("{}:0.5", lora("peft.safetensors"));
    let tiny = tiny();
    let same = |a: &[&str], b: &[&str]| assert_eq!(folder.drawn(a), folder.drawn(b), "{a:?}");
    same(&["-m", "model", "--steps", "2"], &["-m", &tiny, "--cfg-scale", "1", "--lora", &quick]);
    same(&["-m", "model", "--no-few-steps"], &["-m", &tiny, "--cfg-scale", "4.5"]);
    let told = &json_lines(&folder.run(&["inspect", "model", "--json"]))[0];
    assert_eq!((&told["steps"], &told["few_steps"]["steps"]), (&3.into(), &2.into()));
    let plan = &json_lines(&folder.run(&["plan", "-m", "model", "--json"]))[0];
    assert_eq!((&plan["steps"], &plan["guided"]), (&2.into(), &false.into()));
}

#[test]
fn defaults_that_make_no_sense_are_refused() {
    let folder = Folder::new();
    let args = ["generate", "a cat", "--backend", "cpu", "-m", "model"];
    with_defaults(&folder, &DEFAULTS.replace("\"steps\": 3", "\"stairs\": 3"));
    folder.fails(1, &args, &["model/calotype.json", "stairs"]);
    with_defaults(&folder, &DEFAULTS.replace("quick/", "slow/"));
    folder.fails(1, &args, &["slow/pytorch_lora_weights.safetensors"]);
}
