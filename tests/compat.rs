//! The first programs by their names in the library, against `tests/goldens/compat.py`'s pictures.

use crate::support::Device;
use calotype::compat::keras::{Generation, Rules, StableDiffusion};
use calotype::{HostTensor, ModelPlace, OpenDevice, Picture, Precision, Search};
use std::path::PathBuf;
use std::rc::Rc;

fn goldens() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

fn keras(release: &str, size: [usize; 2]) -> StableDiffusion {
    let place = goldens().join("sd1-tiny/model");
    let place = ModelPlace::find(place.to_str(), &Search::default(), &mut |_| ()).unwrap();
    let model = place.open(Precision::F32).unwrap();
    let device = OpenDevice { executor: Rc::clone(&Device::cpu().executor), adapter: None };
    let rules = Rules { release: release.parse().unwrap(), ..Rules::default() };
    StableDiffusion::new((&device, Precision::F32), model, rules, size).unwrap()
}

fn apart(ours: &Picture, name: &str) -> u8 {
    let bytes = std::fs::read(goldens().join("compat").join(name)).unwrap();
    let theirs = Picture::read(name, &bytes).unwrap();
    assert_eq!((ours.width, ours.height), (theirs.width, theirs.height), "{name}");
    let [ours, theirs] =
        [ours, &theirs].map(|p| p.pixels.chunks_exact(p.channels).flat_map(|pixel| &pixel[..3]));
    ours.zip(theirs).map(|(a, b)| a.abs_diff(*b)).max().unwrap()
}

#[test]
fn keras_stable_diffusion_draws_by_its_releases() {
    let asked = |num_steps| Generation { num_steps: Some(num_steps), seed: Some(7), ..Generation::default() };
    let mut model = keras("0.9", [100, 140]);
    let pictures = model.text_to_image("a cat", &asked(4)).unwrap();
    assert!(apart(&pictures[0], "keras.png") <= 1);
    // The same of its parts, and of noise as TensorFlow has it.
    let encoded = model.encode_text("a cat").unwrap();
    assert_eq!(model.generate_image(&encoded, &asked(4)).unwrap()[0].pixels, pictures[0].pixels);
    let mut noise = vec![0.0; 16 * 16 * 4];
    Rules::default().generator(7).randn(&mut noise);
    let noise = HostTensor::from_f32([1, 16, 16, 4], &noise);
    let given = Generation { diffusion_noise: Some(noise), seed: Some(1), ..asked(4) };
    assert_eq!(model.generate_image(&encoded, &given).unwrap()[0].pixels, pictures[0].pixels);
    let long = model.encode_text(&"cat ".repeat(80)).unwrap_err();
    assert!(long.to_string().contains("77"), "{long}");

    let mut old = keras("0.4.1", [128, 128]);
    assert!(apart(&old.text_to_image("a cat", &asked(3)).unwrap()[0], "keras_0.4.png") <= 1);
}
