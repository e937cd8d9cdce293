//! `sdxl-tiny` as an EDM (Karras et al. 2022, arXiv:2206.00364) with latents of their own mean and deviation, such as Playground
//! 2.5 is: what StableDiffusionXLPipeline draws with it (`tests/goldens/edm.py`).

use crate::sdxl::text;
use crate::support::{Device, Golden, Report};
#[cfg(target_os = "linux")]
use calotype::samplers::SchedulerFile;
use calotype::{GivenNoise, Model, Precision, Request, Sampler};
use calotype_models::layout;
use serde_json::{Value as Json, json};
#[cfg(target_os = "linux")]
use std::{io::Read, path::Path};

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

/// A single file of a published model's names and shapes (`layouts.py`), whose zeros take no room on disk, and of some numbers
/// beside them.
#[cfg(target_os = "linux")]
pub fn published(path: &Path, model: &str, marks: &[(&str, &[f32])]) -> Model {
    let layouts =
        std::fs::File::open(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/layouts.txt.gz"));
    let mut text = String::new();
    flate2::read::GzDecoder::new(layouts.unwrap()).read_to_string(&mut text).unwrap();
    let lines = text.split("# ").find_map(|part| part.strip_prefix(model)?.strip_prefix('\n')).unwrap();
    let (mut header, mut end, mut numbers) = (serde_json::Map::new(), 0, Vec::new());
    let mut put = |name: &str, dtype: &str, shape: Json, bytes: usize| {
        let start = end;
        end += bytes;
        header.insert(name.into(), json!({ "dtype": dtype, "shape": shape, "data_offsets": [start, end] }));
    };
    for (name, values) in marks {
        put(name, "F32", json!([values.len()]), 4 * values.len());
        numbers.extend(values.iter().flat_map(|v| v.to_le_bytes()));
    }
    for line in lines.lines() {
        let (name, shape, _): (String, Vec<usize>, Json) = serde_json::from_str(line).unwrap();
        put(&name, "F16", json!(shape), 2 * shape.iter().product::<usize>());
    }
    let header = Json::from(header).to_string();
    let bytes = [&(header.len() as u64).to_le_bytes(), header.as_bytes(), &numbers].concat();
    std::fs::write(path, &bytes).unwrap();
    let size = (8 + header.len() + end) as u64;
    std::fs::OpenOptions::new().write(true).open(path).unwrap().set_len(size).unwrap();
    Model::at_path(path, None).unwrap()
}

#[test]
#[cfg(target_os = "linux")]
fn single_files_say_by_tensors_that_they_are_edms() {
    let (golden, folder) = (Golden::open("sdxl-tiny", "edm"), tempfile::tempdir().unwrap());
    let path = folder.path().join("model.safetensors");
    let drawn = |model: &Model| Request { steps: Some(8), ..Request::new("") }.settle(model).unwrap();
    let of = |name: &str, least: f64| {
        let case = golden.cases.as_array().unwrap().iter().find(|case| case["name"] == name).unwrap();
        let mut file = case["scheduler"].clone();
        // As the file has it.
        file["sigma_min"] = json!(least);
        SchedulerFile::new(text(&file["_class_name"]), &file.to_string()).unwrap().own().unwrap()
    };
    let plain = published(&path, "sdxl", &[]);
    assert_eq!((plain.config.vae.latents.clone(), drawn(&plain).sampler), (None, Sampler::EULER));
    let (mean, std) = ([-1.6, 1.9, -1.4, 2.5], [8.5, 5.9, 6.5, 5.2]);
    let playground = published(&path, "sdxl", &[("edm_mean", &mean), ("edm_std", &std)]);
    let vae = &playground.config.vae;
    assert_eq!((vae.scaling_factor, vae.latents.clone()), (0.5, Some([mean.to_vec(), std.to_vec()])));
    let own = of("edm_playground", 0.002);
    assert_eq!(drawn(&playground).program, own.program(8, 0.0).unwrap());
    let range: [(&str, &[f32]); 2] = [("edm_vpred.sigma_max", &[120.0]), ("edm_vpred.sigma_min", &[0.002])];
    let cosxl = published(&path, "sdxl", &range);
    assert_eq!(drawn(&cosxl).program, of("edm_cosxl", 0.002_f32.into()).program(8, 0.0).unwrap());
    assert_eq!((cosxl.config.vae.latents.clone(), cosxl.scheduler.prediction_type()), (None, "v_prediction"));
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
