//! `single_files.json`: models in one file, as CompVis' and Stability's code saves them: pictures are those of diffusers,
//! from the file as it is and from its parts in files of their own.

use crate::pictures::{LATENTS, apart, read_png};
use crate::sdxl::numbers;
use crate::support::{Device, Golden, Report};
use calotype::convert::{How, convert};
use calotype::{
    Assembly, Encoding, GivenNoise, Hints, Mask, Model, ModelPlace, Picture, Precision, Predicts, Quant,
    Request, Role,
};
use calotype_testkit::error;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// A tensor's type, its shape and its bytes.
type Stored = (Dtype, Vec<usize>, Vec<u8>);

/// A golden file's tensors, each token embedding as long as it was: rows that no prompt uses are zeros.
fn tensors(golden: &Golden, case: &Json) -> BTreeMap<String, Stored> {
    let bytes =
        std::fs::read(golden.folder.join("single_files").join(case["file"].as_str().unwrap())).unwrap();
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let stored = |(name, view): (String, TensorView<'_>)| {
        (name, (view.dtype(), view.shape().to_vec(), view.data().to_vec()))
    };
    let mut all: BTreeMap<String, Stored> = file.tensors().into_iter().map(stored).collect();
    for (name, places) in case["tokens"].as_object().unwrap() {
        let (_, shape, kept) = all.get_mut(name).unwrap();
        let (rows, width) = (case["vocabulary"].as_u64().unwrap() as usize, 2 * shape[1]);
        let mut whole = vec![0; rows * width];
        for (row, at) in kept.chunks(width).zip(places.as_array().unwrap()) {
            whole[at.as_u64().unwrap() as usize * width..][..width].copy_from_slice(row);
        }
        (shape[0], *kept) = (rows, whole);
    }
    for (name, values) in case["marks"].as_object().into_iter().flatten() {
        let values = numbers(values);
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        all.insert(name.clone(), (Dtype::F32, vec![values.len()], bytes));
    }
    all
}

/// Whether a case's file says more than a model's tensors do.
fn is_marked(case: &Json) -> bool {
    !case["marks"].as_object().unwrap().is_empty()
}

fn write(path: &Path, tensors: &BTreeMap<String, Stored>) {
    let views: Vec<(&String, TensorView<'_>)> = tensors
        .iter()
        .map(|(name, (dtype, shape, bytes))| (name, TensorView::new(*dtype, shape.clone(), bytes).unwrap()))
        .collect();
    safetensors::serialize_to_file(views, None, path).unwrap();
}

fn here(path: &Path) -> ModelPlace {
    ModelPlace::Here(path.display().to_string())
}

/// What the file does not say.
fn hints(case: &Json) -> Hints {
    let prediction = if case["name"] == "sd2" { Predicts::V } else { Predicts::Epsilon };
    Hints { prediction: (!is_marked(case)).then_some(prediction), ..Hints::default() }
}

fn request(golden: &Golden, case: &Json) -> Request {
    let text = |field: &str| case[field].as_str().unwrap().to_string();
    let number = |field: &str| case[field].as_f64().unwrap();
    Request {
        negative_prompts: vec![text("negative_prompt")],
        width: Some(number("width") as usize),
        height: Some(number("height") as usize),
        steps: Some(number("steps") as usize),
        cfg_scale: Some(number("guidance") as f32),
        noise: Some(GivenNoise {
            latents: golden.tensor(&case["latents"]),
            added: golden.list(&case["noise"]),
        }),
        ..Request::new(text("prompt"))
    }
}

fn draw(device: &Device, model: Model, golden: &Golden, case: &Json, report: &mut Report, what: &str) {
    let text = |field: &str| case[field].as_str().unwrap().to_string();
    let output = device.pipeline(model, Precision::F32).text_to_image(&request(golden, case)).unwrap();
    let name = format!("{} {what} {}", text("name"), device.name);
    report.case(&name, error(&output.latents, &golden.tensor(&case["final"])), LATENTS);
    let off =
        apart(&output.pictures[0].rgb(), &read_png(&golden.folder.join("single_files").join(text("png"))));
    report.check(off <= 1, || format!("{name}: differs by {off} of 255"));
}

#[test]
fn pictures_of_single_files_are_those_of_diffusers() {
    let (golden, mut report) = (Golden::open("", "single_files"), Report::default());
    for case in golden.cases.as_array().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write(&path, &tensors(&golden, case));
        for device in Device::all() {
            let with = Assembly { parts: Vec::new(), hints: hints(case) };
            let model = here(&path).open_with(Precision::F32, &with).unwrap();
            draw(&device, model, &golden, case, &mut report, "whole");
        }
    }
    report.finish();
}

/// The refiner's file has one text encoder, where the base's has its first.
#[test]
fn a_refiner_in_one_file_goes_on_as_with_diffusers() {
    let (golden, mut report) = (Golden::open("", "single_files_refiner"), Report::default());
    let [base, refiner] = ["base", "refiner"].map(|which| &golden.cases[which]);
    let (whole, mut refining) = (tensors(&golden, base), tensors(&golden, refiner));
    refining.extend(whole.clone().into_iter().filter(|(name, _)| name.starts_with("first_stage_model.")));
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    write(&file("base.safetensors"), &whole);
    write(&file("refiner.safetensors"), &refining);
    let files = here(&file("refiner.safetensors")).files(None, &Assembly::default()).unwrap();
    convert(files, &file("folder"), &How::default(), false, &mut |_| true).unwrap();
    let mut told = base.clone();
    ["latents", "noise", "final", "png"].into_iter().for_each(|key| told[key] = golden.cases[key].clone());
    for name in ["refiner.safetensors", "folder"] {
        for device in [Device::cpu()].into_iter().chain(Device::gpus().into_iter().next()) {
            let mut model = here(&file("base.safetensors")).open(Precision::F32).unwrap();
            model.refine_with(here(&file(name)).open(Precision::F32).unwrap()).unwrap();
            let switch = refiner["switch"].as_f64();
            let request = Request { refiner_switch: switch, ..request(&golden, &told) };
            let output = device.pipeline(model, Precision::F32).text_to_image(&request).unwrap();
            let name = format!("{name} {}", device.name);
            report.case(&name, error(&output.latents, &golden.tensor(&told["final"])), LATENTS);
            let png = golden.folder.join("single_files").join(told["png"].as_str().unwrap());
            let off = apart(&output.pictures[0].rgb(), &read_png(&png));
            report.check(off <= 1, || format!("{name}: differs by {off} of 255"));
        }
    }
    report.finish();
}

/// A file of nine channels whose five more count for nothing, where all is drawn anew from noise, draws what the plain file draws.
#[test]
fn a_file_of_nine_channels_is_an_inpainting_model() {
    with_more_channels(5, "draws parts of pictures: give init_img and mask");
}

/// The same of eight.
#[test]
fn a_file_of_eight_channels_changes_pictures() {
    with_more_channels(4, "changes pictures as the prompt says: give one as init_img");
}

fn with_more_channels(more: usize, alone: &str) {
    let (golden, mut report) = (Golden::open("", "single_files"), Report::default());
    let case = &golden.cases[0];
    let mut all = tensors(&golden, case);
    let (_, shape, bytes) = all.get_mut("model.diffusion_model.input_blocks.0.0.weight").unwrap();
    let kernel = 2 * shape[2] * shape[3];
    let wide = |plain: &[u8]| [plain, &vec![0; more * kernel]].concat();
    *bytes = bytes.chunks(shape[1] * kernel).flat_map(wide).collect();
    shape[1] += more;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("model.safetensors");
    write(&path, &all);
    let plain = request(&golden, case);
    let [w, h] = [plain.width.unwrap(), plain.height.unwrap()];
    let request = Request {
        init_img: Some(Arc::new(Picture::plain(w, h, 90))),
        mask: (more == 5).then(|| Arc::new(Mask::new(w, h, vec![255; w * h]).unwrap())),
        strength: Some(1.0),
        ..plain
    };
    for device in Device::all() {
        let with = Assembly { parts: Vec::new(), hints: hints(case) };
        let model = here(&path).open_with(Precision::F32, &with).unwrap();
        let without = Request { mask: None, init_img: None, strength: None, ..request.clone() };
        let without = without.settle(&model).unwrap_err().to_string();
        assert!(without.contains(alone), "{without}");
        let output = device.pipeline(model, Precision::F32).text_to_image(&request).unwrap();
        report.case(device.name, error(&output.latents, &golden.tensor(&case["final"])), LATENTS);
        let png = golden.folder.join("single_files").join(case["png"].as_str().unwrap());
        let off = apart(&output.pictures[0].rgb(), &read_png(&png));
        report.check(off <= 1, || format!("{}: differs by {off} of 255", device.name));
    }
    report.finish();
}

#[test]
fn what_a_model_is_converted_to_draws_the_same_picture() {
    let (golden, mut report) = (Golden::open("", "single_files"), Report::default());
    let device = Device::cpu();
    for case in golden.cases.as_array().unwrap() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write(&path, &tensors(&golden, case));
        for name in ["model.gguf", "folder", "again.safetensors"] {
            let with = Assembly { parts: Vec::new(), hints: hints(case) };
            let files = here(&path).files(None, &with).unwrap();
            let (to, how) = (folder.path().join(name), How { hints: with.hints, ..How::default() });
            convert(files, &to, &how, false, &mut |_| true).unwrap();
            // What was said is kept.
            let model = here(&to).open_with(Precision::F32, &Assembly::default()).unwrap();
            draw(&device, model, &golden, case, &mut report, name);
        }
    }
    report.finish();
}

/// The blocks of a file stay blocks on a device, and draw what the numbers that they hold draw.
#[test]
fn blocks_that_stay_draw_what_their_numbers_draw() {
    let (golden, mut report) = (Golden::open("", "single_files"), Report::default());
    let devices = Device::all();
    for case in golden.cases.as_array().unwrap().iter().take(2) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model.safetensors");
        write(&path, &tensors(&golden, case));
        for quant in [Encoding::Q8_0, Encoding::Q5_0, Encoding::Q4_0] {
            let with = Assembly { parts: Vec::new(), hints: hints(case) };
            let files = here(&path).files(None, &with).unwrap();
            let to = folder.path().join(format!("{quant}.gguf"));
            let how = How { hints: with.hints, quant: Some(quant), ..How::default() };
            convert(files, &to, &how, false, &mut |_| true).unwrap();
            for device in &devices {
                let request = request(&golden, case);
                let [kept, decoded] = [Quant::Kept, Quant::Off].map(|quant| {
                    let mut model = here(&to).open_with(Precision::F32, &Assembly::default()).unwrap();
                    model.quant = quant;
                    let mut pipeline = device.pipeline(model, Precision::F32);
                    let bytes = pipeline.plan(&request).unwrap().weight_bytes;
                    (bytes, pipeline.text_to_image(&request).unwrap())
                });
                let name = format!("{} {quant} {}", case["name"], device.name);
                report.case(&name, error(&kept.1.latents, &decoded.1.latents), LATENTS);
                let off = apart(&kept.1.pictures[0].rgb(), &decoded.1.pictures[0].rgb());
                report.check(off <= 1, || format!("{name}: differs by {off} of 255"));
                // The CPU computes with the numbers.
                let less = device.executor.caps().host.is_some() || kept.0 < decoded.0;
                report.check(less, || format!("{name}: {} bytes of {}", kept.0, decoded.0));
            }
        }
    }
    report.finish();
}

#[test]
fn a_model_in_parts_is_the_model() {
    let (golden, mut report) = (Golden::open("", "single_files"), Report::default());
    let device = Device::cpu();
    for case in golden.cases.as_array().unwrap() {
        let (folder, all) = (tempfile::tempdir().unwrap(), tensors(&golden, case));
        // The UNet by its average's names, the VAE bare, the text encoder as it is.
        let part = |prefix: &str, rename: &dyn Fn(&str) -> String| -> BTreeMap<String, Stored> {
            let found = all.iter().filter(|(name, _)| name.starts_with(prefix));
            found.map(|(name, stored)| (rename(name), stored.clone())).collect()
        };
        let file = |name: &str| folder.path().join(name);
        let dotless =
            |name: &str| format!("model_ema.{}", name.trim_start_matches("model.").replace('.', ""));
        let mut unet = part("model.diffusion_model.", &dotless);
        unet.extend(part("edm_", &str::to_string));
        write(&file("unet.safetensors"), &unet);
        write(
            &file("vae.safetensors"),
            &part("first_stage_model.", &|name| name.replace("first_stage_model.", "")),
        );
        let texts: &[(Role, &str, &str)] = match case["file"].as_str().unwrap() {
            "sdxl.safetensors" => &[
                (Role::Text, "conditioner.embedders.0.", "text.safetensors"),
                (Role::Text2, "conditioner.embedders.1.", "text_2.safetensors"),
            ],
            _ => &[(Role::Text, "cond_stage_model.", "text.safetensors")],
        };
        texts.iter().for_each(|(_, prefix, name)| write(&file(name), &part(prefix, &str::to_string)));
        let missing = here(&file("unet.safetensors")).open(Precision::F32).err().unwrap().to_string();
        let (those, fields) = match texts.len() {
            1 => ("no text encoder and no VAE", "text_encoder and vae"),
            _ => (
                "no text encoder and no second text encoder and no VAE",
                "text_encoder and text_encoder_2 and vae",
            ),
        };
        let end = format!(
            "unet.safetensors: the file holds the UNet, and {those}: give them as {fields}, or a file of the whole model"
        );
        assert!(missing.ends_with(&end), "{missing}");
        let mut parts = vec![(Role::Vae, here(&file("vae.safetensors")))];
        parts.extend(texts.iter().map(|(role, _, name)| (*role, here(&file(name)))));
        let with = Assembly { parts, hints: hints(case) };
        let model = here(&file("unet.safetensors")).open_with(Precision::F32, &with).unwrap();
        draw(&device, model, &golden, case, &mut report, "in parts");
    }
    report.finish();
}

#[test]
fn what_does_not_go_together_is_told_in_a_line() {
    let golden = Golden::open("", "single_files");
    let cases = golden.cases.as_array().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str| folder.path().join(name);
    let [one, two] = [&cases[0], &cases[1]].map(|case| tensors(&golden, case));
    write(&file("one.safetensors"), &one);
    write(&file("two.safetensors"), &two);
    let refused = |place: &ModelPlace, with: &Assembly, parts: &[&str]| {
        let error = place.open_with(Precision::F32, with).err().unwrap().to_string();
        assert!(parts.iter().all(|part| error.contains(part)) && !error.contains('\n'), "{error}");
    };
    let other =
        Assembly { parts: vec![(Role::Denoiser, here(&file("two.safetensors")))], hints: Hints::default() };
    refused(&here(&file("one.safetensors")), &other, &["cross_attention_dim = 128", "hidden_size is 32"]);
    // A layer that is not there is missed by name.
    let mut holed = one.clone();
    holed.remove("model.diffusion_model.middle_block.0.in_layers.2.weight");
    write(&file("holed.safetensors"), &holed);
    let model = here(&file("holed.safetensors")).open(Precision::F32).unwrap();
    let mut pipeline = Device::cpu().pipeline(model, Precision::F32);
    let request = Request { width: Some(32), height: Some(32), ..Request::new("a") };
    let error = pipeline.text_to_image(&request).err().unwrap().to_string();
    assert!(error.contains("holed.safetensors: no tensor mid_block.resnets.0.conv1.weight"), "{error}");
}
