//! `image_to_image.json`: pictures to latents, and pictures that begin from one, as AutoencoderKL and
//! StableDiffusionImg2ImgPipeline have them. `pictures_in.json`: files as PIL reads and resizes them.

use crate::pictures::{apart, read_png};
use crate::support::{Device, Golden, MODELS, Report};
use calotype::samplers::SchedulerFile;
use calotype::{
    GivenNoise, HostTensor, Leaving, Picture, Precision, Request, Resize, Stage, StepRule, VaeTiling, plan,
};
use calotype_testkit::error;
use serde_json::Value as Json;
use std::path::PathBuf;
use std::sync::Arc;

/// Of the largest magnitude.
const ENCODED: f64 = 1e-4;

fn text(value: &Json) -> &str {
    value.as_str().unwrap()
}

fn picture(golden: &Golden, name: &Json) -> Picture {
    let path = golden.folder.join(text(name));
    Picture::read(text(name), &std::fs::read(path).unwrap()).unwrap()
}

/// The scheduler that a case names.
pub fn scheduler(case: &Json) -> SchedulerFile {
    let mut config = case["scheduler_config"].clone();
    config["_class_name"] = case["scheduler_class"].clone();
    SchedulerFile::alone(&config.to_string().replace("\"-Infinity\"", "-Infinity")).unwrap()
}

/// What a case asks for.
pub fn request(golden: &Golden, case: &Json) -> Request {
    let mut noise = golden.list(&case["noise"]).into_iter();
    Request {
        prompts: vec![text(&case["prompt"]).into()],
        prompts_2: case["prompt_2"].as_str().map(String::from).into_iter().collect(),
        original_size: case["original_size"]
            .as_array()
            .map(|two| [0, 1].map(|i| two[i].as_u64().unwrap() as usize)),
        negative_prompts: vec![text(&case["negative_prompt"]).into()],
        steps: case["steps"].as_u64().map(|steps| steps as usize),
        cfg_scale: case["guidance"].as_f64().map(|scale| scale as f32),
        init_img: Some(Arc::new(picture(golden, &case["init"]))),
        strength: case["strength"].as_f64(),
        vae_noise: case["vae_noise"].is_string().then(|| golden.tensor(&case["vae_noise"])),
        noise: Some(GivenNoise { latents: noise.next().unwrap(), added: noise.collect() }),
        ..Request::new("")
    }
}

fn check(device: &dyn Fn() -> Option<Device>) {
    let mut report = Report::default();
    for model in MODELS {
        let Some(device) = device() else { return };
        let golden = Golden::open(model, "image_to_image");
        let scale = golden.model().config.vae.scaling_factor;
        let scaled = |key: &Json| {
            let tensor = golden.tensor(key);
            let values: Vec<f32> = tensor.to_f32().iter().map(|value| value * scale).collect();
            HostTensor::from_f32(tensor.shape(), &values)
        };
        let mut pipeline = device.pipeline(golden.model(), Precision::F32);
        for case in golden.cases["encodings"].as_array().unwrap() {
            let name = format!("{model} encoded {} {}", text(&case["name"]), device.name);
            let (picture, noise) = (picture(&golden, &case["png"]), golden.tensor(&case["noise"]).to_f32());
            let mean = pipeline.encode_picture(&picture, None).unwrap();
            report.case(&name, error(&mean, &scaled(&case["mean"])), ENCODED);
            let sample = pipeline.encode_picture(&picture, Some(&noise)).unwrap();
            report.case(&format!("{name}, a sample"), error(&sample, &scaled(&case["sample"])), ENCODED);
        }
        for case in golden.cases["pictures"].as_array().unwrap() {
            let name = format!("{model} {} {}", text(&case["name"]), device.name);
            let mut opened = golden.model();
            opened.scheduler = scheduler(case);
            let output =
                device.pipeline(opened, Precision::F32).text_to_image(&request(&golden, case)).unwrap();
            report.drawn(&name, &output, (&golden, case));
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

/// Two text encoders, sizes as conditions, and a VAE that is told to stay in f32.
#[test]
fn pictures_of_sdxl_are_those_of_diffusers() {
    let (golden, mut report) = (Golden::open("sdxl-tiny", "image_to_image"), Report::default());
    for device in [Device::cpu()].into_iter().chain(Device::gpus().into_iter().next()) {
        for case in golden.cases.as_array().unwrap() {
            let mut model = golden.model();
            model.scheduler = scheduler(case);
            let output =
                device.pipeline(model, Precision::F32).text_to_image(&request(&golden, case)).unwrap();
            report.drawn(&format!("{} {}", text(&case["name"]), device.name), &output, (&golden, case));
        }
    }
    report.finish();
}

#[test]
fn files_are_read_and_resized_as_pil_does_it() {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens/pictures_in");
    let read = |name: &str| Picture::read(name, &std::fs::read(folder.join(name)).unwrap());
    let text_of = std::fs::read_to_string(folder.with_extension("json")).unwrap();
    let cases: Json = serde_json::from_str(&text_of).unwrap();
    let mut report = Report::default();
    let mut hold = |name: &str, found: &Picture, png: &Json, off: u64| {
        let apart = apart(&found.rgb(), &read_png(&folder.join(text(png))));
        report.check(u64::from(apart) <= off, || format!("{name} differs by {apart} of 255"));
    };
    for case in cases["read"].as_array().unwrap() {
        let name = text(&case["file"]);
        hold(name, &read(name).unwrap(), &case["png"], case["off"].as_u64().unwrap());
    }
    for case in cases["resized"].as_array().unwrap() {
        let [width, height] = ["width", "height"].map(|side| case[side].as_u64().unwrap() as usize);
        let how: Resize = text(&case["mode"]).parse().unwrap();
        let found = read(text(&case["file"])).unwrap().resized(width, height, how).unwrap();
        assert_eq!((found.width, found.height), (width, height));
        // Weights have fewer bits here: each of two passes may round to the next number, and the second spreads the first's.
        hold(text(&case["png"]), &found, &case["png"], 2);
    }
    report.finish();
    for (name, part) in [
        ("cmyk.jpg", "CMYK"),
        ("moving.webp", "a moving picture"),
        ("cut.jpg", "cut off"),
        ("cut.png", "not readable"),
        ("wide.png", "60000x3 pixels are too many"),
    ] {
        let error = read(name).unwrap_err().to_string();
        assert!(error.starts_with(&format!("{name}: ")) && error.contains(part), "{error}");
        assert!(!error.contains('\n'), "{error}");
    }
    let error = Picture::read("words.txt", b"no picture").unwrap_err().to_string();
    assert_eq!(error, "words.txt: neither a PNG nor a JPEG nor a WebP");
}

#[test]
fn what_a_picture_is_asked_for_is_settled() {
    let golden = Golden::open("sd1-tiny", "image_to_image");
    let case = &golden.cases["pictures"][0];
    let (model, base) = (golden.model(), Request { noise: None, ..request(&golden, case) });
    // Its size is the picture's, and the steps are counted by either rule.
    let order = base.settle(&model).unwrap();
    assert_eq!((order.width, order.height, order.steps, order.program.count()), (72, 48, 10, 3));
    let a1111 = Request { img2img_steps: StepRule::A1111, ..base.clone() };
    assert_eq!(a1111.settle(&model).unwrap().program.count(), 4);
    let settings = a1111.settle(&model).unwrap().settings(0);
    assert_eq!((settings.get("Denoising strength"), settings.get("Img2img steps")), (Some("0.3"), None));
    assert_eq!(order.settings(0).get("Img2img steps"), Some("diffusers"));
    // Another size is made, by the rule that is asked for.
    let square = Request { width: Some(64), height: Some(64), resize: Resize::Crop, ..base.clone() };
    let init = square.settle(&model).unwrap().init.unwrap();
    let own = base.init_img.as_ref().unwrap();
    assert_eq!(*init.picture, own.resized(64, 64, Resize::Crop).unwrap());
    // The plan knows of the encoder.
    let caps = calotype::Caps::default();
    let stages = plan(&model, &order, Precision::F32, &caps).unwrap().stages;
    let at = stages.iter().position(|stage| stage.stage == Stage::Encoder).unwrap();
    assert!(stages[at].weight_bytes > 0 && stages[at + 1].stage == Stage::Context);
    for (request, part) in [
        (Request { strength: Some(1.5), ..base.clone() }, "strength 1.5 is not between 0 and 1"),
        (Request { strength: Some(0.05), ..base.clone() }, "strength 0.05 leaves none of 10 steps"),
        (
            Request { init_img: None, ..base.clone() },
            "strength is about a picture to begin from: give init_img",
        ),
        (
            Request { init_img: None, strength: None, resize: Resize::Fill, ..base.clone() },
            "resize is about a picture",
        ),
    ] {
        let error = request.settle(&model).unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
}

#[test]
fn each_run_begins_from_its_own_picture() {
    let golden = Golden::open("sd1-tiny", "image_to_image");
    let request = request(&golden, &golden.cases["pictures"][0]);
    let own = request.init_img.clone().unwrap();
    let turned = own.pixels.iter().map(|value| 255 - value).collect();
    let turned = Picture::new(own.width, own.height, own.channels, turned).unwrap();
    let other = Request { init_img: Some(turned.into()), ..request.clone() };
    let mut pipeline = Device::cpu().pipeline(golden.model(), Precision::F32);
    let mut draw = |request: &Request| pipeline.text_to_image(request).unwrap().pictures;
    let (first, second) = (draw(&request), draw(&other));
    assert_ne!(first, second);
    assert_eq!((draw(&request), draw(&request)), (first.clone(), first));
    assert_eq!(draw(&other), second);
}

#[test]
fn parts_that_leave_draw_the_same_picture() {
    let golden = Golden::open("sd1-tiny", "image_to_image");
    let request = request(&golden, &golden.cases["pictures"][0]);
    for device in Device::gpus().into_iter().take(1) {
        let mut pipeline = device.pipeline(golden.model(), Precision::F32);
        let whole = pipeline.text_to_image(&request).unwrap().pictures;
        let peak = pipeline.plan(&request).unwrap().peak_bytes;
        let mut pipeline = device.pipeline(golden.model(), Precision::F32);
        pipeline.limit(Some(peak - 1), VaeTiling::Off);
        assert_ne!(pipeline.plan(&request).unwrap().strategy.leaving, Leaving::Nothing);
        assert_eq!(pipeline.text_to_image(&request).unwrap().pictures, whole, "{}", device.name);
    }
}
