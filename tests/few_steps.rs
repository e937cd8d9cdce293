//! Models and LoRAs of few steps, told by their names: what is drawn with is what diffusers makes of their authors' cards
//! (`tests/goldens/few_steps.py`), and flags overrule it.

use crate::sdxl::text;
use crate::support::Golden;
use calotype::samplers::SchedulerFile;
use calotype::{Lora, Model, ModelFiles, Request, Role, Sampler};
use serde_json::Value as Json;
use std::path::Path;

const MODEL: &str = "sdxl-tiny";

fn cases() -> Vec<Json> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/few_steps.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

/// The tiny model with a LoRA of that name, or with its own UNet in a file of that name.
fn model(name: &str) -> Model {
    let golden = Golden::open(MODEL, "stages");
    if name.contains("lora") {
        let mut model = golden.model();
        model.add_lora(name, Lora::open(golden.folder.join("lora.safetensors")).unwrap(), 0.5).unwrap();
        return model;
    }
    let (folder, home) = (golden.folder.join("model"), tempfile::tempdir().unwrap());
    let file = home.path().join(format!("{name}.safetensors"));
    std::fs::copy(folder.join("unet/diffusion_pytorch_model.safetensors"), &file).unwrap();
    let mut files = ModelFiles::at_path(&folder, None).unwrap();
    files.replace(Role::Denoiser, ModelFiles::part_at_path(&file, Role::Denoiser, None).unwrap()).unwrap();
    pollster::block_on(files.complete(calotype::Hints::default())).unwrap();
    Model::of(&files).unwrap()
}

#[test]
fn names_say_what_is_drawn_with() {
    for case in cases() {
        let name = text(&case["name"]);
        let order = Request::new("").settle(&model(name)).unwrap();
        let steps = case["steps"].as_u64().unwrap() as usize;
        let file = SchedulerFile::new(text(&case["class"]), &case["config"].to_string()).unwrap();
        let own = file.own().unwrap();
        assert_eq!((order.steps, order.sampler), (steps, own.sampler), "{name}");
        assert_eq!(f64::from(order.cfg_scale), case["guidance"].as_f64().unwrap(), "{name}");
        assert_eq!(order.program, own.program(steps, 0.0).unwrap(), "{name}");
    }
}

#[test]
fn flags_overrule_it() {
    let model = model("sdxl_lightning_4step_lora");
    let (steps, cfg_scale, sampler) = (Some(6), Some(2.0), Some(Sampler::DDIM));
    let order = Request { steps, cfg_scale, sampler, ..Request::new("") }.settle(&model).unwrap();
    assert_eq!((order.steps, order.cfg_scale, order.sampler), (6, 2.0, Sampler::DDIM));
    // At the model's timesteps yet.
    assert_eq!(order.program.steps[0].timestep, 999.0);
    assert_eq!(model.recipe().unwrap().kind, "Lightning");
}

#[test]
fn a_lora_that_is_gone_leaves_the_model_as_it_was() {
    let mut model = model("lcm-lora-sdxl");
    assert!(model.recipe().is_some());
    pollster::block_on(model.set_loras(&[])).unwrap();
    assert_eq!(model.recipe(), None);
    let order = Request::new("").settle(&model).unwrap();
    assert_eq!((order.steps, order.cfg_scale), (20, 5.0));
    // Of a LoRA that changes nothing nothing is said.
    let lora = Lora::open(Golden::open(MODEL, "stages").folder.join("lora.safetensors")).unwrap();
    model.add_lora("lcm-lora-sdxl", lora, 0.0).unwrap();
    assert_eq!(model.recipe(), None);
}

#[test]
fn a_folder_says_by_its_own_scheduler_how_it_is_drawn() {
    let golden = Golden::open(MODEL, "stages");
    let mut files = ModelFiles::at_path(&golden.folder.join("model"), None).unwrap();
    files.name = "someone/sdxl-turbo".into();
    let order = Request::new("").settle(&Model::of(&files).unwrap()).unwrap();
    assert_eq!((order.steps, order.cfg_scale, order.sampler), (4, 1.0, Sampler::EULER));
    // What it is called, not who made it.
    files.name = "turbo/sdxl".into();
    assert_eq!(Model::of(&files).unwrap().recipe(), None);
}
