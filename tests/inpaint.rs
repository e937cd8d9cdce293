//! `inpaint.json`: pictures of which a mask keeps a part, as StableDiffusionInpaintPipeline has them.

use crate::image_to_image::{request, scheduler};
use crate::pictures::apart;
use crate::support::{Device, Golden, MODELS, Report};
use calotype::{Dialect, Mask, Precision, Request, StepRule};
use calotype_testkit::error;
use serde_json::Value as Json;
use std::sync::Arc;

fn mask(golden: &Golden, name: &Json) -> Mask {
    let name = name.as_str().unwrap();
    Mask::read(name, &std::fs::read(golden.folder.join(name)).unwrap()).unwrap()
}

fn masked(golden: &Golden, case: &Json) -> Request {
    Request { mask: Some(Arc::new(mask(golden, &case["mask"]))), ..request(golden, case) }
}

fn check(device: &dyn Fn() -> Option<Device>) {
    let mut report = Report::default();
    for model in MODELS {
        let Some(device) = device() else { return };
        let golden = Golden::open(model, "inpaint");
        for case in golden.cases["pictures"].as_array().unwrap() {
            let name = case["name"].as_str().unwrap();
            if name.starts_with("nine") {
                continue;
            }
            let (mut opened, request) = (golden.model(), masked(&golden, case));
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
            for case in cases {
                let name = case["name"].as_str().unwrap();
                let request = Request {
                    img2img_steps: StepRule::A1111,
                    mask: Some(Arc::clone(&theirs)),
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
