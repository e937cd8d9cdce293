//! `--refiner`: the base draws the first steps, another model the rest; and what SDXL's family is refused for.

use crate::support::{Folder, goldens, json_lines, settings, tiny};
use std::fs;

fn model(name: &str) -> String {
    goldens().join(name).join("model").to_str().unwrap().to_string()
}

#[test]
fn a_refiner_goes_on_with_the_picture() {
    let (folder, base, refiner) = (Folder::new(), model("sdxl-tiny"), model("sdxl-refiner-tiny"));
    let draw = |more: &[&str]| folder.drawn(&[&["-m", &base, "--steps", "4"], more].concat());
    let alone = draw(&[]);
    let refined = draw(&["--refiner", &refiner]);
    assert_ne!(alone, refined);
    assert_eq!(refined, draw(&["--refiner", &refiner, "--refiner-switch", "0.8"]));
    assert_ne!(refined, draw(&["--refiner", &refiner, "--refiner-switch", "0.5"]));
    // What it is told counts.
    assert_ne!(refined, draw(&["--refiner", &refiner, "--aesthetic-score", "2"]));
    // So much memory, and the same picture.
    let plan = |more: &[&str]| {
        let args =
            [&["plan", "--backend", "cpu", "-m", &base, "--refiner", &refiner, "--json"], more].concat();
        json_lines(&folder.run(&args)).remove(0)
    };
    let free = plan(&["--max-vram", "100G"]);
    assert_eq!(free["strategy"]["leaving"], "nothing");
    let least = format!("{:.3}M", free["peak_bytes"].as_f64().unwrap() / f64::from(1 << 20) - 0.01);
    let kept = plan(&["--max-vram", &least]);
    assert!(kept["strategy"]["leaving"] != "nothing" && kept["fits"] == true, "{kept}");
    assert_eq!(refined, draw(&["--refiner", &refiner, "--max-vram", &least]));
}

#[test]
fn a_refined_picture_tells_how_it_was_drawn() {
    let (folder, base, refiner) = (Folder::new(), model("sdxl-tiny"), model("sdxl-refiner-tiny"));
    let args = ["a cat", "-m", &base, "--refiner", &refiner, "--seed", "1", "-o", "p.png", "--json"];
    let said = folder.draw(&args);
    assert_eq!(json_lines(&said)[0]["refiner"], refiner);
    let told = settings(&folder.read("p.png")).unwrap();
    assert_eq!((told.get("Refiner"), told.get("Refiner switch at")), (Some("model"), Some("0.8")));
    let again = ["generate", "--backend", "cpu", "-m", &base, "--from-png", "p.png", "-o", "q.png"];
    folder.fails(2, &again, &["--from-png p.png", "say with --refiner"]);
    folder.run(&[&again[..], &["--refiner", &refiner]].concat());
    assert!(folder.read("p.png") == folder.read("q.png"));
}

#[test]
fn what_the_family_cannot_do_is_one_line() {
    let (folder, base, refiner) = (Folder::new(), model("sdxl-tiny"), model("sdxl-refiner-tiny"));
    let refused = |code: i32, more: &[&str], parts: &[&str]| {
        folder.fails(code, &[&["generate", "a cat", "--backend", "cpu"], more].concat(), parts);
    };
    // A refiner as the model.
    refused(2, &["-m", &refiner], &["-m: model is a refiner", "--refiner"]);
    // Another family as the refiner, and a refiner for another family.
    refused(
        2,
        &["-m", &base, "--refiner", &tiny()],
        &["--refiner", "no Stable Diffusion XL", "leave it out"],
    );
    refused(2, &["-m", &tiny(), "--refiner", &refiner], &["--refiner", "is no Stable Diffusion XL"]);
    refused(1, &["-m", &base, "--refiner", "nowhere/at/all"], &["--refiner", "no such file or folder"]);
    // Sizes that are no multiples of 8, and less memory than will do.
    refused(2, &["-m", &base, "-W", "60"], &["--width 60 is not a multiple of 8", "56 or 64"]);
    refused(1, &["-m", &base, "--max-vram", "1M"], &["not enough memory", "--max-vram", "at least"]);
    refused(
        1,
        &["-m", &base, "--refiner", &refiner, "--max-vram", "1M"],
        &["not enough memory", "--max-vram", "at least"],
    );
    // A model of one text encoder.
    let half = folder.path().join("half");
    for part in ["scheduler", "text_encoder", "tokenizer", "tokenizer_2", "unet", "vae"] {
        fs::create_dir_all(half.join(part)).unwrap();
        for file in fs::read_dir(goldens().join("sdxl-tiny/model").join(part)).unwrap().map(Result::unwrap) {
            fs::copy(file.path(), half.join(part).join(file.file_name())).unwrap();
        }
    }
    fs::copy(goldens().join("sdxl-tiny/model/model_index.json"), half.join("model_index.json")).unwrap();
    let whole = "with all that its index names: fetch it whole";
    refused(1, &["-m", "half"], &["half/text_encoder_2/config.json: no such file", whole]);
    let part = |name: &str| goldens().join("sdxl-tiny").join(name).to_str().unwrap().to_string();
    let [unet, vae] =
        ["unet", "vae"].map(|name| part(&format!("model/{name}/diffusion_pytorch_model.safetensors")));
    let first = part("model/text_encoder/model.safetensors");
    refused(
        1,
        &["-m", &unet, "--text-encoder", &first, "--vae", &vae],
        &["and no second text encoder: give it as --text-encoder-2, or a file of the whole model"],
    );
    // Parts of a model, and what is none, as the refiner.
    refused(
        1,
        &["-m", &base, "--refiner", &vae],
        &[
            "--refiner: ",
            "the file holds the VAE, and no text encoder and no UNet",
            "or a file of the whole model",
        ],
    );
    let lora = part("lora.safetensors");
    refused(
        1,
        &["-m", &base, "--refiner", &lora],
        &["--refiner: ", "a LoRA, and no model: give it with --lora"],
    );
    refused(
        2,
        &["-m", &base, "--cache-weights"],
        &["--cache-weights keeps what a GPU reads, and --backend cpu runs on none"],
    );
}

#[test]
fn names_of_few_steps_are_told() {
    let (folder, base) = (Folder::new(), model("sdxl-tiny"));
    let lora = "sdxl_lightning_2step_lora.safetensors";
    fs::copy(goldens().join("sdxl-tiny/lora.safetensors"), folder.path().join(lora)).unwrap();
    let line = "sdxl_lightning_2step_lora is taken for one of few steps (Lightning): 2 steps, cfg scale 1, \
                EulerDiscreteScheduler (timestep_spacing trailing)";
    let with = ["-m", &base, "--lora", lora, "--backend", "cpu"];
    let said = folder.run(&[&["generate", "a cat", "-o", "p.png"], &with[..]].concat());
    assert!(said.err.contains(line) && said.err.contains("flags overrule"), "{}", said.err);
    let told = settings(&folder.read("p.png")).unwrap();
    let told = ["Steps", "Sampler", "CFG scale"].map(|name| told.get(name).unwrap().to_owned());
    assert_eq!(told, ["2", "Euler", "1"].map(String::from));
    let said = folder.run(&[&["plan"], &with[..]].concat());
    assert!(said.out.contains(line) && said.out.contains("2 steps of euler"), "{}", said.out);
    let plan = &json_lines(&folder.run(&[&["plan", "--json"], &with[..]].concat()))[0];
    assert_eq!((&plan["distilled"]["kind"], &plan["steps"]), (&"Lightning".into(), &2.into()));
    assert!(folder.run(&["inspect", lora]).out.contains(line));
    let plain = &json_lines(&folder.run(&["plan", "--json", "-m", &base]))[0];
    assert_eq!(plain["distilled"], serde_json::Value::Null);
}
