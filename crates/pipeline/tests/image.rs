//! Pictures as files: what is written is read back.

use calotype_pipeline::image::{Infotext, Picture, parameters};

fn picture(width: usize, height: usize, value: u8) -> Picture {
    let pixels = (0..width * height).flat_map(|i| [value, i as u8, 7, 255]).collect();
    Picture::new(width, height, 4, pixels).expect("a picture")
}

fn settings(prompt: &str) -> Infotext {
    let mut settings =
        Infotext { prompt: prompt.into(), negative_prompt: "blurry,\nlow quality".into(), pairs: vec![] };
    settings.push("Steps", 20);
    settings.push("Sampler", "Euler a");
    settings.push("CFG scale", 7.5);
    settings.push("Seed", u64::MAX);
    settings.push("Size", "512x768");
    settings.push("Model", "a \"strange\", name: v1");
    settings.push("Version", "calotype 0.1.0");
    settings
}

#[test]
fn a_png_keeps_its_pixels_and_settings() {
    for prompt in ["café, 2 cats", "猫 and 🐱\nsecond line: with a colon", "Steps: 3", ""] {
        let settings = settings(prompt);
        let png = picture(5, 3, 9).png(Some(&settings.to_string())).expect("a PNG");
        let text = parameters(&png).expect("readable").expect("settings");
        assert_eq!(text, settings.to_string());
        let read = Infotext::parse(&text);
        assert_eq!(read, settings);
        assert_eq!((read.seed(), read.size()), (Some(u64::MAX), Some((512, 768))));
        let kind: &[u8] = if prompt.contains('猫') { b"iTXtparameters" } else { b"tEXtparameters" };
        assert!(png.windows(kind.len()).any(|w| w == kind), "{prompt}");

        let mut reader = png::Decoder::new(std::io::Cursor::new(&png)).read_info().expect("a PNG");
        let mut pixels = vec![0; reader.output_buffer_size().expect("a size")];
        reader.next_frame(&mut pixels).expect("pixels");
        assert_eq!(pixels, *picture(5, 3, 9).rgb());
    }
    assert_eq!(parameters(&picture(1, 1, 0).png(None).expect("a PNG")).expect("readable"), None);
    assert!(parameters(b"not a PNG").is_err());
}

#[test]
fn a1111s_text_is_read() {
    let text = "a cat: (fluffy:1.2), cute\nNegative prompt: dog\nSteps: 20, Sampler: DPM++ 2M, Schedule type: Karras, \
                CFG scale: 7, Seed: 42, Size: 512x512, Model hash: abc, Lora hashes: \"x: 1, y: 2\", Version: v1.9.0";
    let read = Infotext::parse(text);
    assert_eq!((read.prompt.as_str(), read.negative_prompt.as_str()), ("a cat: (fluffy:1.2), cute", "dog"));
    assert_eq!((read.get("Lora hashes"), read.get("Version")), (Some("x: 1, y: 2"), Some("v1.9.0")));
    assert_eq!(Infotext::parse("just: a prompt").prompt, "just: a prompt");
}

#[test]
fn a_grid_is_near_square_unless_told() {
    let pictures: Vec<Picture> = (0..5).map(|i| picture(2, 3, i)).collect();
    let near = Picture::grid(&pictures, None).expect("a grid");
    assert_eq!((near.width, near.height), (6, 6));
    assert_eq!((near.pixels[2 * 3], near.pixels[3 * 6 * 3], near.pixels[near.pixels.len() - 3]), (1, 3, 0));
    let row = Picture::grid(&pictures, Some(9)).expect("a grid");
    assert_eq!((row.width, row.height), (10, 3));
    assert!(Picture::grid(&[], None).is_err());
    assert!(Picture::grid(&[picture(1, 2, 0), picture(2, 1, 0)], None).is_err());
    assert!(Picture::new(2, 2, 3, vec![0; 11]).is_err());
}
