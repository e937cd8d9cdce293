//! `inpaint.json`: pictures of which a mask keeps a part, as StableDiffusionInpaintPipeline has them.

use crate::image_to_image::{request, scheduler};
use crate::pictures::{apart, read_png};
use crate::support::{Device, Golden, MODELS, Report};
use calotype::{Area, DType, Dialect, InpaintArea, Mask, Model, Precision, Request, StepRule};
use calotype_testkit::error;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::{Value as Json, json};
use std::sync::Arc;
use tempfile::TempDir;

fn mask(golden: &Golden, name: &Json) -> Mask {
    let name = name.as_str().unwrap();
    Mask::read(name, &std::fs::read(golden.folder.join(name)).unwrap()).unwrap()
}

fn masked(golden: &Golden, case: &Json) -> Request {
    let number = |field: &str| case["area"][field].as_u64().map(|number| number as usize);
    Request {
        mask: Some(Arc::new(mask(golden, &case["mask"]))),
        inpaint_area: if case["area"].is_object() { InpaintArea::Masked } else { InpaintArea::Whole },
        inpaint_padding: number("padding"),
        width: number("size"),
        height: number("size"),
        ..request(golden, case)
    }
}

/// The golden's model with a UNet that is told more than the latents: as the tiny model's but for its first convolution.
pub fn of_channels(golden: &Golden, channels: usize, class: &str) -> TempDir {
    let (from, to) = (golden.folder.join("model"), tempfile::tempdir().unwrap());
    for folder in ["scheduler", "text_encoder", "tokenizer", "unet", "vae"] {
        std::fs::create_dir(to.path().join(folder)).unwrap();
        for file in std::fs::read_dir(from.join(folder)).unwrap() {
            let file = file.unwrap();
            std::fs::copy(file.path(), to.path().join(folder).join(file.file_name())).unwrap();
        }
    }
    let put = |name: &str, change: &dyn Fn(&mut Json)| {
        let mut json: Json = serde_json::from_slice(&std::fs::read(from.join(name)).unwrap()).unwrap();
        change(&mut json);
        std::fs::write(to.path().join(name), json.to_string()).unwrap();
    };
    put("model_index.json", &|json| json["_class_name"] = class.into());
    put("unet/config.json", &|json| json["in_channels"] = channels.into());
    let weights = std::fs::read(from.join(UNET)).unwrap();
    let (own, first) = (SafeTensors::deserialize(&weights).unwrap(), golden.tensor(&json!("conv_in.weight")));
    let first = first.cast(DType::F16);
    let first = TensorView::new(Dtype::F16, first.shape().dims().to_vec(), first.bytes()).unwrap();
    let all = own.tensors().into_iter().filter(|(name, _)| name != "conv_in.weight");
    let all: Vec<_> = all.chain([("conv_in.weight".to_string(), first)]).collect();
    safetensors::serialize_to_file(all, None, &to.path().join(UNET)).unwrap();
    to
}

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

fn check(device: &dyn Fn() -> Option<Device>) {
    let mut report = Report::default();
    for model in MODELS {
        let Some(device) = device() else { return };
        let golden = Golden::open(model, "inpaint");
        let nine = of_channels(&golden, 9, "StableDiffusionInpaintPipeline");
        for case in golden.cases["pictures"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            let (mut opened, request) = match name.starts_with("nine") {
                true => (Model::at_path(nine.path(), None).unwrap(), masked(&golden, case)),
                false => (golden.model(), masked(&golden, case)),
            };
            opened.scheduler = scheduler(case);
            let output = device.pipeline(opened, Precision::F32).text_to_image(&request).unwrap();
            report.drawn(&format!("{model} {name} {}", device.name), &output, (&golden, case));
            // What is black in the mask is the picture that was given.
            let (own, drawn) = (request.init_img.unwrap(), output.pictures[0].rgb().into_owned());
            let places =
                request.mask.as_ref().unwrap().values.iter().zip(own.pixels.chunks(3).zip(drawn.chunks(3)));
            let kept: Vec<_> = places.filter(|(value, _)| **value == 0).map(|(_, pair)| pair).collect();
            report.check(kept.len() > 500 && kept.iter().all(|(own, drawn)| own == drawn), || {
                format!("{model} {name}: what the mask keeps is not kept")
            });
        }
    }
    report.finish();
}

#[test]
fn pictures_are_those_of_diffusers_on_the_cpu() {
    check(&|| Some(Device::cpu()));
}

#[test]
fn pictures_are_those_of_diffusers_on_a_gpu() {
    check(&|| Device::gpus().into_iter().next());
}

#[test]
fn pictures_are_those_of_a1111s_rules() {
    let mut report = Report::default();
    for device in [Some(Device::cpu()), Device::gpus().into_iter().next()].into_iter().flatten() {
        for model in MODELS {
            let golden = Golden::open(model, "inpaint_a1111");
            let cases = golden.cases["pictures"].as_array().unwrap();
            // The mask as OpenCV softens it, which computes with fewer digits.
            let soft = mask(&golden, &cases[0]["mask"]).blurred(cases[0]["mask_blur"].as_f64().unwrap());
            let theirs = Arc::new(mask(&golden, &golden.cases["soft"]));
            let off = apart(&soft.values, &theirs.values);
            report.check(off <= 1, || format!("{model}: a soft mask differs by {off} of 255"));
            // PIL's own layers differ by what is rounded twelve times.
            let own = request(&golden, &cases[0]).init_img.unwrap();
            let filled = read_png(&golden.folder.join(golden.cases["filled"].as_str().unwrap()));
            let off = apart(&theirs.fill(&own).pixels, &filled);
            report.check(off <= 1, || format!("{model}: a filled picture differs by {off} of 255"));
            for case in cases {
                let name = case["name"].as_str().unwrap();
                let request = Request {
                    img2img_steps: StepRule::A1111,
                    mask: Some(Arc::clone(&theirs)),
                    inpaint_fill: Some(case["fill"].as_str().unwrap().parse().unwrap()),
                    soft_mask: case["soft"].as_bool().unwrap(),
                    mask_blur: Some(0.0),
                    sampler: Some(case["sampler"].as_str().unwrap().parse().unwrap()),
                    schedule: Some(case["schedule"].as_str().unwrap().parse().unwrap()),
                    sampler_dialect: Some(Dialect::K),
                    ..masked(&golden, case)
                };
                let output = device.pipeline(golden.model(), Precision::F32).text_to_image(&request).unwrap();
                report.drawn(&format!("{model} {name} {}", device.name), &output, (&golden, case));
            }
        }
    }
    report.finish();
}

#[test]
fn halves_keep_to_a_mask_too() {
    let mut report = Report::default();
    let golden = Golden::open("sd1-tiny", "inpaint");
    let case = &golden.cases["pictures"][0];
    for device in Device::gpus().into_iter().take(1) {
        let mut opened = golden.model();
        opened.scheduler = scheduler(case);
        let output = device.pipeline(opened, Precision::F16).text_to_image(&masked(&golden, case)).unwrap();
        let off = error(&output.latents, &golden.tensor(&case["final"]));
        report.case(&format!("f16 {}", device.name), off, 2e-2);
    }
    report.finish();
}

#[test]
fn a_batch_is_its_pictures() {
    let golden = Golden::open("sd1-tiny", "inpaint");
    let case = &golden.cases["pictures"][0];
    let mut pipeline = Device::cpu().pipeline(golden.model(), Precision::F32);
    let mut draw = |seed: u64, batch_size: usize| {
        let request = Request { noise: None, seed, batch_size, steps: Some(4), ..masked(&golden, case) };
        pipeline.text_to_image(&request).unwrap().pictures
    };
    let (both, alone) = (draw(5, 2), draw(6, 1));
    assert_ne!(both[0], both[1]);
    assert!(apart(&both[1].rgb(), &alone[0].rgb()) <= 1);
}

#[test]
fn what_is_outpainted_keeps_the_picture() {
    let golden = Golden::open("sd1-tiny", "inpaint");
    let case = &golden.cases["pictures"][0];
    let (model, own) = (golden.model(), request(&golden, case).init_img.unwrap());
    let base = Request { noise: None, steps: Some(3), ..request(&golden, case) };
    let larger = Request { outpaint: Some([8, 0, 16, 24]), ..base.clone() };
    let mut pipeline = Device::cpu().pipeline(golden.model(), Precision::F32);
    let drawn = pipeline.text_to_image(&larger).unwrap().pictures.remove(0);
    assert_eq!((drawn.width, drawn.height), (72 + 24, 48 + 24));
    let inside = Area { left: 8, top: 0, width: 72, height: 48 };
    assert_eq!(drawn.part(inside).pixels, own.rgb().into_owned());
    // What it was made larger by is not what its edges are.
    assert_ne!(drawn.pixels.len(), 0);
    assert!(apart(&drawn.rgb(), &own.outpainted([8, 0, 16, 24]).pixels) > 8);
    for (request, part) in [
        (
            Request { outpaint: Some([8, 0, 5, 0]), ..base.clone() },
            "outpaint makes the picture 85x48, and the model draws multiples of 8: give 5 less or 3 more",
        ),
        (Request { outpaint: Some([0; 4]), ..base.clone() }, "and some at one of them"),
        (
            Request { init_img: None, strength: None, ..larger.clone() },
            "makes a picture larger: give init_img",
        ),
        (Request { inpaint_padding: Some(4), ..masked(&golden, case) }, "give inpaint_area masked"),
        (Request { soft_mask: true, ..base }, "soft_mask is about a mask: give mask"),
    ] {
        let error = request.settle(&model).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn a_part_is_drawn_larger_and_pasted_back() {
    let golden = Golden::open("sd1-tiny", "inpaint");
    let cases = golden.cases["pictures"].as_array().unwrap();
    let case = cases.iter().find(|case| case["name"] == "area").unwrap();
    let request = Request { noise: None, width: Some(64), height: Some(64), ..masked(&golden, case) };
    let (own, mask) = (request.init_img.clone().unwrap(), request.mask.clone().unwrap());
    let output = Device::cpu().pipeline(golden.model(), Precision::F32).text_to_image(&request).unwrap();
    assert_eq!(output.latents.shape().dims(), [1, 4, 8, 8]);
    let drawn = &output.pictures[0];
    assert_eq!((drawn.width, drawn.height), (own.width, own.height));
    let pairs = own.pixels.chunks(3).zip(drawn.pixels.chunks(3)).zip(&mask.values);
    let (kept, anew): (Vec<_>, Vec<_>) = pairs.partition(|(_, value)| **value == 0);
    assert!(kept.iter().all(|((own, drawn), _)| own == drawn));
    assert!(anew.iter().filter(|((own, drawn), _)| own != drawn).count() > anew.len() / 2);
    // Where nothing is said of a size a part is drawn at the model's own.
    let order = Request { width: None, height: None, ..request }.settle(&golden.model()).unwrap();
    assert_eq!((order.width, order.height), (64, 64));
}
