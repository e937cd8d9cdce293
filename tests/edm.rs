//! `sdxl-tiny` as an EDM (Karras et al. 2022, arXiv:2206.00364) with latents of their own mean and deviation, such as Playground
//! 2.5 is: what StableDiffusionXLPipeline draws with it (`tests/goldens/edm.py`).

use crate::sdxl::text;
use crate::support::{Device, Golden, Report};
use calotype::{GivenNoise, Model, Precision, Request, Sampler};
use calotype_models::layout;
use serde_json::{Value as Json, json};

/// The model with another scheduler, and latents of another mean and deviation.
fn model(golden: &Golden, case: &Json) -> Model {
    let file = |path: &str| std::fs::read(golden.folder.join("model").join(path)).unwrap();
    let json = |path: &str| serde_json::from_slice::<Json>(&file(path)).unwrap();
    let (mut index, mut vae) = (json(layout::INDEX), json("vae/config.json"));
    index["scheduler"] = json!(["diffusers", case["scheduler"]["_class_name"]]);
    for field in ["latents_mean", "latents_std", "scaling_factor"] {
        vae[field] = case[field].clone();
    }
    let changed = [
        (layout::INDEX, index.to_string()),
        ("vae/config.json", vae.to_string()),
        (layout::SCHEDULER, case["scheduler"].to_string()),
    ];
    let there = layout::small().filter(|path| golden.folder.join("model").join(path).exists());
    let same = there.filter(|path| changed.iter().all(|(other, _)| other != path)).map(String::from);
    let weights = ["text_encoder/model", "text_encoder_2/model", "unet/diffusion_pytorch_model"];
    let weights = weights.into_iter().chain(["vae/diffusion_pytorch_model"]);
    let same = same.chain(weights.map(|path| format!("{path}.safetensors")));
    let mut files: Vec<(String, Vec<u8>)> = same.map(|path| (path.clone(), file(&path))).collect();
    files.extend(changed.iter().map(|(path, text)| (path.to_string(), text.clone().into_bytes())));
    Model::in_memory("sdxl-tiny", files).unwrap()
}

#[test]
fn pictures_are_those_of_diffusers() {
    let (golden, mut report) = (Golden::open("sdxl-tiny", "edm"), Report::default());
    for device in [Device::cpu()].into_iter().chain(Device::gpus().into_iter().next()) {
        for case in golden.cases.as_array().unwrap() {
            let name = format!("{} {}", text(&case["name"]), device.name);
            let request = Request {
                prompts: vec![text(&case["prompt"]).into()],
                negative_prompts: vec![text(&case["negative_prompt"]).into()],
                width: Some(64),
                height: Some(64),
                steps: case["steps"].as_u64().map(|steps| steps as usize),
                noise: Some(GivenNoise {
                    latents: golden.tensor(&case["latents"]),
                    added: golden.list(&case["noise"]),
                }),
                ..Request::new("")
            };
            let mut pipeline = device.pipeline(model(&golden, case), Precision::F32);
            let output = pipeline.text_to_image(&request).unwrap();
            report.drawn(&name, &output, (&golden, case));
        }
    }
    report.finish();
}

#[test]
fn what_an_edm_is_not_drawn_with_is_said() {
    let golden = Golden::open("sdxl-tiny", "edm");
    let model = model(&golden, &golden.cases[0]);
    let request =
        |name: &str| Request { sampler: Some(name.parse::<Sampler>().unwrap()), ..Request::new("") };
    assert!(request("dpm++2m").settle(&model).is_ok() && request("euler").settle(&model).is_ok());
    for (request, part) in [
        (request("heun"), "give one of euler, dpm++2m"),
        (
            Request { schedule: Some("karras".parse().unwrap()), ..request("euler") },
            "which its own file chooses",
        ),
        (Request { sampler_dialect: Some("k".parse().unwrap()), ..request("euler") }, "in dialect k"),
    ] {
        let error = request.settle(&model).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
