//! `pictures.json`: prompts to pictures, as StableDiffusionPipeline draws them; and what a seed promises.

use crate::pictures::{apart, strings};
use crate::support::{Device, Golden, MODELS, Report};
use calotype::{BatchSeeds, GivenNoise, Output, Picture, Pipeline, Precision, Request, Sampler};

fn check(device: &dyn Fn() -> Option<Device>) {
    let mut report = Report::default();
    for model in MODELS {
        let Some(device) = device() else { return };
        let golden = Golden::open(model, "pictures");
        let mut pipeline = device.pipeline(golden.model(), Precision::F32);
        for case in golden.cases.as_array().unwrap() {
            let name = format!("{model} {} {}", case["name"].as_str().unwrap(), device.name);
            let number = |field: &str| case[field].as_f64().unwrap();
            let prompts = strings(&case["prompts"]);
            let request = Request {
                batch_size: prompts.len(),
                prompts,
                negative_prompts: strings(&case["negative_prompts"]),
                width: Some(number("width") as usize),
                height: Some(number("height") as usize),
                steps: Some(number("steps") as usize),
                cfg_scale: Some(number("guidance") as f32),
                cfg_rescale: number("guidance_rescale") as f32,
                noise: Some(GivenNoise { latents: golden.tensor(&case["latents"]), added: Vec::new() }),
                ..Request::new("")
            };
            let output = pipeline.text_to_image(&request).unwrap();
            let size = (request.width.unwrap(), request.height.unwrap());
            assert!(output.pictures.iter().all(|picture| (picture.width, picture.height) == size), "{name}");
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

/// A small request of the tiny models.
fn small(seed: u64, batch_size: usize) -> Request {
    Request {
        width: Some(64),
        height: Some(48),
        steps: Some(3),
        seed,
        batch_size,
        ..Request::new("a lighthouse")
    }
}

fn draw(pipeline: &mut Pipeline, request: &Request) -> Output {
    pipeline.text_to_image(request).unwrap()
}

#[test]
fn a_seed_is_a_picture() {
    let golden = Golden::open("sd2-tiny", "pictures");
    for device in Device::all() {
        let mut pipeline = device.pipeline(golden.model(), Precision::F32);
        // An ancestral sampler draws on the way too.
        let ancestral =
            |seed, batch| Request { sampler: Some(Sampler::EULER_ANCESTRAL), ..small(seed, batch) };
        let first = draw(&mut pipeline, &ancestral(7, 1));
        let other = draw(&mut pipeline, &ancestral(8, 1));
        let batch = draw(&mut pipeline, &ancestral(7, 2));
        let again = draw(&mut pipeline, &ancestral(7, 1));
        assert_eq!(first.pictures, again.pictures, "{}: the same seed, another picture", device.name);
        assert_ne!(first.pictures, other.pictures, "{}: another seed, the same picture", device.name);
        assert_eq!((&first.seeds, &other.seeds, &batch.seeds), (&vec![7], &vec![8], &vec![7, 8]));
        // Image i of a batch is what seed + i gives alone, but for sums taken in another order.
        for (alone, together) in [&first.pictures[0], &other.pictures[0]].into_iter().zip(&batch.pictures) {
            let off = apart(&alone.pixels, &together.pixels);
            assert!(off <= 1, "{}: in a batch a picture differs by {off} of 255", device.name);
        }
        // One generator for all draws the first image's noise as it draws it alone, then goes on.
        let one = Request { batch_seeds: BatchSeeds::One, ..small(7, 2) };
        let (one, each) = (draw(&mut pipeline, &one), draw(&mut pipeline, &small(7, 2)));
        assert!(apart(&one.pictures[0].pixels, &each.pictures[0].pixels) <= 1, "{}", device.name);
        assert!(differ(&one.pictures[1], &each.pictures[1]), "{}", device.name);
    }
}

#[test]
fn what_a_request_says_is_seen() {
    let golden = Golden::open("sd1-tiny", "pictures");
    let mut pipeline = Device::cpu().pipeline(golden.model(), Precision::F32);
    let base = draw(&mut pipeline, &small(1, 1)).pictures.remove(0);
    for (what, request) in [
        ("prompt", Request { prompts: vec!["a bowl of fruit".into()], ..small(1, 1) }),
        ("negative prompt", Request { negative_prompts: vec!["blurry".into()], ..small(1, 1) }),
        ("steps", Request { steps: Some(4), ..small(1, 1) }),
        ("cfg scale", Request { cfg_scale: Some(3.0), ..small(1, 1) }),
        ("no guidance", Request { cfg_scale: Some(1.0), ..small(1, 1) }),
        ("cfg rescale", Request { cfg_rescale: 0.7, ..small(1, 1) }),
        ("guidance", Request { guidance: "apg:eta=0:norm=1".parse().unwrap(), ..small(1, 1) }),
        ("half the guidance", Request { s_min_uncond: 1000.0, ..small(1, 1) }),
        ("sampler", Request { sampler: Some(Sampler::EULER), ..small(1, 1) }),
    ] {
        let picture = draw(&mut pipeline, &request).pictures.remove(0);
        assert!(differ(&picture, &base), "{what} makes no difference");
    }
    // Below 1 as at 1 there is no guidance, and no negative prompt.
    let bare = |cfg_scale, negative: &str| Request {
        cfg_scale: Some(cfg_scale),
        negative_prompts: vec![negative.into()],
        ..small(1, 1)
    };
    let [one, less] = [bare(1.0, "blurry"), bare(0.5, "")].map(|r| draw(&mut pipeline, &r).pictures);
    assert_eq!(one, less);
}

#[test]
fn two_models_share_a_device() {
    // Their tensors have the same names, and some the same shapes.
    let models = MODELS.map(|model| Golden::open(model, "pictures"));
    for name in ["cpu", "gpu"] {
        let device = || Device::all().into_iter().find(|device| device.name == name);
        let Some(shared) = device() else { return };
        let mut together = models.each_ref().map(|golden| shared.pipeline(golden.model(), Precision::F32));
        for (golden, pipeline) in models.iter().zip(&mut together) {
            let mut alone = device().unwrap().pipeline(golden.model(), Precision::F32);
            let expected = draw(&mut alone, &small(1, 1)).pictures;
            assert_eq!(
                draw(pipeline, &small(1, 1)).pictures,
                expected,
                "{name}: {}",
                golden.folder.display()
            );
        }
    }
}

/// Whether two pictures differ by more than rounding.
fn differ(a: &Picture, b: &Picture) -> bool {
    apart(&a.pixels, &b.pixels) > 1
}
