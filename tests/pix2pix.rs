//! `pix2pix.json`: pictures that another and an instruction make, as StableDiffusionInstructPix2PixPipeline has them.

use crate::image_to_image::{request, scheduler};
use crate::inpaint::of_channels;
use crate::support::{Device, Golden, MODELS, Report};
use calotype::{Guidance, Model, Precision, Request};
use serde_json::Value as Json;
use tempfile::TempDir;

fn opened(golden: &Golden) -> TempDir {
    of_channels(golden, 8, "StableDiffusionInstructPix2PixPipeline")
}

fn asked(golden: &Golden, case: &Json) -> Request {
    Request {
        image_cfg_scale: case["image_guidance"].as_f64().map(|scale| scale as f32),
        ..request(golden, case)
    }
}

fn check(device: &dyn Fn() -> Option<Device>) {
    let mut report = Report::default();
    for model in MODELS {
        let Some(device) = device() else { return };
        let golden = Golden::open(model, "pix2pix");
        let folder = opened(&golden);
        for case in golden.cases["pictures"].as_array().unwrap() {
            let mut opened = Model::at_path(folder.path(), None).unwrap();
            opened.scheduler = scheduler(case);
            let output =
                device.pipeline(opened, Precision::F32).text_to_image(&asked(&golden, case)).unwrap();
            let name = case["name"].as_str().unwrap();
            report.drawn(&format!("{model} {name} {}", device.name), &output, (&golden, case));
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
fn a_batch_is_its_pictures() {
    let golden = Golden::open("sd1-tiny", "pix2pix");
    let case = &golden.cases["pictures"][0];
    let folder = opened(&golden);
    let model = Model::at_path(folder.path(), None).unwrap();
    let mut pipeline = Device::cpu().pipeline(model, Precision::F32);
    let mut draw = |seed: u64, batch_size: usize| {
        let request = Request { noise: None, seed, batch_size, steps: Some(4), ..asked(&golden, case) };
        pipeline.text_to_image(&request).unwrap().latents.to_f32()
    };
    let (both, alone) = (draw(5, 2), draw(6, 1));
    let second = &both[alone.len()..];
    let off = second.iter().zip(&alone).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    assert!(off < 1e-4 && both[..alone.len()] != *second, "{off}");
}

#[test]
fn the_picture_is_begun_from_where_a_strength_is_said() {
    let golden = Golden::open("sd1-tiny", "pix2pix");
    let case = &golden.cases["pictures"][0];
    let folder = opened(&golden);
    let model = Model::at_path(folder.path(), None).unwrap();
    let draw = |strength| Request { strength, noise: None, ..asked(&golden, case) }.settle(&model).unwrap();
    let (whole, part) = (draw(None), draw(Some(0.5)));
    assert!(part.program.steps.len() <= whole.program.steps.len() / 2 + 1);
    let settings = whole.settings(0).to_string();
    assert!(
        settings.contains("Denoising strength: 1, ") && settings.contains("Image CFG scale: 1.5"),
        "{settings}"
    );
}

#[test]
fn what_it_cannot_do_is_told() {
    let golden = Golden::open("sd1-tiny", "pix2pix");
    let case = &golden.cases["pictures"][0];
    let folder = opened(&golden);
    let (edits, plain) = (Model::at_path(folder.path(), None).unwrap(), golden.model());
    let base = asked(&golden, case);
    for (model, request, part) in [
        (
            &edits,
            Request { init_img: None, ..base.clone() },
            "changes pictures as the prompt says: give one as init_img",
        ),
        (
            &edits,
            Request { image_cfg_scale: Some(-1.0), ..base.clone() },
            "image_cfg_scale -1 is no number of zero",
        ),
        (&edits, Request { guidance: Guidance::CfgZero, ..base.clone() }, "guidance: "),
        (
            &edits,
            Request { cfg_end: 0.5, ..base.clone() },
            "is guided by a picture too, in one way and all the time",
        ),
        (
            &edits,
            Request { prompts: vec!["a AND b".into()], ..base.clone() },
            "changes a picture by one prompt",
        ),
        (
            &plain,
            base.clone(),
            "is not told a picture, as InstructPix2Pix is (8 input channels): leave it out",
        ),
    ] {
        let error = request.settle(model).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}
