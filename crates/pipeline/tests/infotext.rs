//! Settings that travel: what is written is read back whole, and texts as programs write them are read as they mean it.

use calotype_pipeline::Request;
use calotype_pipeline::image::{Infotext, settings, texts};
use calotype_pipeline::samplers::{Dialect, Sampler, Schedule};
use calotype_pipeline::words::PromptStyle;
use proptest::prelude::*;

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Prompts of any words and signs, several lines of them; values of anything.
    #[test]
    fn settings_are_read_as_they_were_written(
        prompt in "[^\\r\\n]{0,40}(\n[ -~äß猫]{1,30}){0,2}",
        negative in "[ -~äß猫]{0,40}",
        values in prop::collection::vec(("[A-Za-z_][A-Za-z0-9 /_-]{1,12}", "[^\\r]{0,30}"), 3..9),
    ) {
        // Lines are read without the blanks around them, and a text that begins as the negative prompt does is it.
        let plain = |text: &str| text.trim().split('\n').map(str::trim).collect::<Vec<_>>().join("\n");
        prop_assume!(!prompt.contains("Negative prompt:"));
        let text = Infotext {
            prompt: plain(&prompt),
            negative_prompt: plain(&negative),
            pairs: values,
        };
        let (read, left) = Infotext::parse_all(&text.to_string());
        prop_assert_eq!(&left, &Vec::<String>::new());
        let negative = read.negative_prompt.trim_start_matches('\n');
        prop_assert_eq!((read.prompt.trim_start_matches('\n'), negative, &read.pairs), (text.prompt.trim_start_matches('\n'), &*text.negative_prompt, &text.pairs));
    }
}

fn recalled(text: &str) -> (Request, Vec<String>) {
    let (settings, left) = Infotext::parse_all(text);
    let recalled = settings.recall(&left);
    (recalled.request, recalled.left)
}

const LAST: &str = "Steps: 20, Sampler: Euler a, CFG scale: 7, Seed: 1, Size: 64x72";

#[test]
fn texts_are_read_as_they_mean_it() {
    // The text, and its prompt, its negative prompt and how many settings it has.
    let cases: &[(&str, &str, &str, usize)] = &[
        ("a cat", "a cat", "", 0),
        ("", "", "", 0),
        (LAST, "", "", 5),
        ("a cat\nSteps: 20, Seed: 5", "a cat\nSteps: 20, Seed: 5", "", 0),
        ("a cat: nice, dog: good, bird: blue", "", "", 3),
        (
            "red\nblue\nNegative prompt: dark\ngreen\nSteps: 1, Seed: 2, Size: 8x8",
            "red\nblue",
            "dark\ngreen",
            3,
        ),
        ("Negative prompt: dark\nSteps: 1, Seed: 2, Size: 8x8", "", "dark", 3),
        ("  a cat  \r\n\r\nNegative prompt:dark\r\nSteps: 1, Seed: 2, CFG scale: 3", "a cat\n", "dark", 3),
        ("a\n\nb\nSteps: 1, Seed: 2, CFG scale: 3", "a\n\nb", "", 3),
        ("猫, café \"so\"\nSteps: 1, Seed: 2, CFG scale: 3", "猫, café \"so\"", "", 3),
        ("a\nSteps: 1, Seed: 2, Tiling, CFG scale: 3", "a", "", 3),
        ("a\nSteps: 1, Lora hashes: \"x: 12, y: 34\", Seed: 2", "a", "", 3),
        ("a\nSteps: 1, Note: \"x, \\\"y\\\"\\nz\", Seed: 2", "a", "", 3),
        ("a\nSteps: 1, Note: \"never closed, Seed: 2, CFG scale: 3", "a", "", 4),
        ("a\nSteps: 1, Note: , Seed: 2, CFG scale: 3", "a", "", 3),
        ("a\nSteps: 1,Seed: 2,CFG scale: 3,", "a", "", 3),
        ("a\nSteps:1, Seed:2, CFG scale:3", "a", "", 3),
        ("Negative prompt: a\nNegative prompt: b\nSteps: 1, Seed: 2, CFG scale: 3", "", "a\nb", 3),
        ("<lora:ink:0.8> a [b:c:0.5]\nSteps: 1, Seed: 2, CFG scale: 3", "<lora:ink:0.8> a [b:c:0.5]", "", 3),
        ("a\nTemplate: \"b, c: d\", Steps: 1, Seed: 2", "a", "", 3),
        ("Steps: 3 apples\nSteps: 1, Seed: 2, CFG scale: 3", "Steps: 3 apples", "", 3),
        ("a\nSteps: 1, Seed: 2, Model: v1-5 (pruned) [abc], VAE: x.pt", "a", "", 4),
        ("a\nSteps: 1, Seed: 2, Hashes: {\"model\": \"ab\"}, Version: f2", "a", "", 4),
    ];
    for (text, prompt, negative, count) in cases {
        let read = Infotext::parse(text);
        assert_eq!((&*read.prompt, &*read.negative_prompt), (*prompt, *negative), "{text:?}");
        assert_eq!(read.pairs.len(), *count, "{text:?}: {:?}", read.pairs);
    }
    let note = Infotext::parse(cases[12].0);
    assert_eq!(note.get("Note"), Some("x, \"y\"\nz"));
    let (_, left) = Infotext::parse_all(cases[10].0);
    assert_eq!(left, ["Tiling"]);
}

#[test]
fn samplers_and_schedules_are_known_by_every_name() {
    let of = |settings: &str| {
        let request = recalled(&format!("a\nSteps: 1, Seed: 2, {settings}")).0;
        (request.sampler.unwrap(), request.schedule)
    };
    let karras = Some(Schedule::Karras);
    assert_eq!(of("Sampler: DPM++ 2M, Schedule type: Karras"), ("dpm++_2m".parse().unwrap(), karras));
    assert_eq!(of("Sampler: DPM++ 2M Karras"), ("dpm++_2m".parse().unwrap(), karras));
    assert_eq!(of("Sampler: Euler a, Schedule type: Automatic"), (Sampler::EULER_ANCESTRAL, None));
    assert_eq!(of("Sampler: euler_a karras"), (Sampler::EULER_ANCESTRAL, karras));
    assert_eq!(of("Sampler: DPM++ 3M SDE Exponential").1, Some(Schedule::Exponential));
    for sampler in Sampler::ALL {
        assert_eq!(of(&format!("Sampler: {}, Steps: 1", sampler.label())).0, *sampler);
    }
}

#[test]
fn what_is_not_honoured_is_told() {
    let (request, left) = recalled(&format!(
        "a\n{LAST}, Model hash: abc, Denoising strength: 0.5, Hires upscale: 2, RNG: NV, Clip skip: 2, Version: v1.10.1"
    ));
    assert_eq!(left, ["Denoising strength: 0.5", "Hires upscale: 2"]);
    assert_eq!((request.clip_skip, request.width, request.height), (Some(2), Some(64), Some(72)));
    assert_eq!(request.sampler_dialect, Some(Dialect::K));
    let (request, left) = recalled("a\nSteps: many, Sampler: Unheard, Seed: -1, junk, Size: 8");
    assert_eq!(left, ["\"junk\" is no setting", "Steps: many", "Sampler: Unheard", "Seed: -1", "Size: 8"]);
    assert_eq!((request.steps, request.sampler), (None, None));
}

fn of(keyword: &str, text: &str) -> (Request, Vec<String>, Vec<(String, f32)>) {
    let (found, left) = settings(&[(keyword.into(), text.into())]).expect("settings");
    let recalled = found.recall(&left);
    (recalled.request, recalled.left, recalled.loras)
}

#[test]
fn graphs_of_comfyui_are_followed() {
    let graph = r#"{
        "3": {"class_type": "KSampler", "inputs": {"seed": 42, "steps": 9, "cfg": 6.5, "sampler_name": "dpmpp_2m",
            "scheduler": "karras", "denoise": 1.0, "model": ["8", 0], "positive": ["6", 0], "negative": ["7", 0], "latent_image": ["5", 0]}},
        "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sd/v1-5.safetensors"}},
        "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": ["9", 0], "batch_size": 1}},
        "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a (cat:1.2)", "clip": ["4", 1]}},
        "7": {"class_type": "ConditioningZeroOut", "inputs": {"conditioning": ["10", 0]}},
        "8": {"class_type": "LoraLoader", "inputs": {"lora_name": "style\\ink.safetensors", "strength_model": 0.7, "strength_clip": 0.7, "model": ["4", 0]}},
        "9": {"class_type": "PrimitiveInt", "inputs": {"value": 72}},
        "10": {"class_type": "CLIPTextEncode", "inputs": {"text": "dark", "clip": ["4", 1]}}
    }"#;
    let (request, left, loras) = of("prompt", graph);
    assert_eq!((&*request.prompts[0], &*request.negative_prompts[0]), ("a (cat:1.2)", "dark"));
    assert_eq!((request.seed, request.steps, request.cfg_scale), (42, Some(9), Some(6.5)));
    assert_eq!((request.width, request.height), (Some(64), Some(72)));
    assert_eq!((request.sampler_dialect, request.prompt_style), (Some(Dialect::Comfy), PromptStyle::Comfy));
    assert_eq!(request.schedule, Some(Schedule::Karras));
    assert_eq!(left, ["\"the node ConditioningZeroOut\" is no setting"]);
    assert_eq!(loras, [("ink".to_string(), 0.7)]);
    // A circle, and a graph of nothing.
    let circle = r#"{"1": {"class_type": "KSampler", "inputs": {"positive": ["2", 0], "model": ["2", 0]}}, "2": {"class_type": "X", "inputs": {"a": ["2", 0], "model": ["2", 0]}}}"#;
    assert_eq!(of("prompt", circle).0.prompts[0], "");
    assert_eq!(of("prompt", "{}").1.len(), 1);
}

#[test]
fn other_programs_settings_are_read() {
    let meta = r#"{"generation_mode": "txt2img", "positive_prompt": "a cat", "negative_prompt": "dark", "width": 64, "height": 72, "seed": 5,
        "cfg_scale": 7.5, "steps": 30, "scheduler": "dpmpp_2m_k", "clip_skip": 1, "model": {"name": "dreams"}, "loras": [{"model": {"name": "ink"}, "weight": 0.75}]}"#;
    let (request, left, loras) = of("invokeai_metadata", meta);
    assert_eq!((request.seed, request.clip_skip, request.schedule), (5, Some(2), Some(Schedule::Karras)));
    assert_eq!(loras, [("ink".to_string(), 0.75)]);
    assert_eq!(left, ["Prompt style: compel"]);

    let comment = r#"{"steps": 28, "sampler": "k_euler_ancestral", "seed": 9, "scale": 11.0, "uc": "dark", "strength": 0.7, "noise": 0.2}"#;
    let texts = [("Description".to_string(), "a {cat}".to_string()), ("Comment".into(), comment.into())];
    let (found, rest) = settings(&texts).unwrap();
    let recalled = found.recall(&rest);
    assert_eq!((&*recalled.request.prompts[0], recalled.request.seed), ("a {cat}", 9));
    assert_eq!(recalled.request.sampler, Some(Sampler::EULER_ANCESTRAL));
    assert_eq!(
        (recalled.request.clip_skip, recalled.left),
        (Some(2), vec!["Denoising strength: 0.7".into(), "ENSD: 31337".into()])
    );

    let text = "a cat\nNegative prompt: dark\nSteps: 20, CFG scale: 7.000000, Guidance: 3.500000, Eta: 0.000000, Seed: 42, Size: 64x72, \
                Model: a.safetensors, RNG: cuda, Sampler: euler_a discrete, Version: stable-diffusion.cpp";
    let (request, _, _) = of("parameters", text);
    assert_eq!((request.sampler, request.seed), (Some(Sampler::EULER_ANCESTRAL), 42));
    assert_eq!(request.cfg_scale, Some(7.0));
}

/// A JPEG's beginning with segments, as far as readers of texts look.
fn jpeg(segments: &[(u8, &[u8])]) -> Vec<u8> {
    let mut file = b"\xff\xd8".to_vec();
    for (kind, bytes) in segments {
        file.extend([0xff, *kind]);
        file.extend((bytes.len() as u16 + 2).to_be_bytes());
        file.extend(*bytes);
    }
    file.extend(b"\xff\xd9");
    file
}

/// EXIF with a user comment: one directory that points at another.
fn exif(comment: &[u8]) -> Vec<u8> {
    let mut tiff = b"MM\0*\0\0\0\x08".to_vec();
    tiff.extend(b"\0\x01\x87\x69\0\x04\0\0\0\x01\0\0\0\x1a\0\0\0\0");
    tiff.extend(b"\0\x01\x92\x86\0\x07");
    tiff.extend((comment.len() as u32).to_be_bytes());
    tiff.extend(b"\0\0\0\x2c\0\0\0\0");
    tiff.extend(comment);
    tiff
}

#[test]
fn exif_and_comments_carry_settings() {
    let wide = |text: &str, bytes: fn(u16) -> [u8; 2]| {
        [b"UNICODE\0".to_vec(), text.encode_utf16().flat_map(bytes).collect()].concat()
    };
    let text = "猫 and a cat\nSteps: 1, Seed: 2, Size: 8x8";
    for comment in [
        wide(text, u16::to_be_bytes),
        wide(text, u16::to_le_bytes),
        [b"\0\0\0\0\0\0\0\0", text.as_bytes()].concat(),
    ] {
        let tiff = exif(&comment);
        let app1 = [b"Exif\0\0".to_vec(), tiff.clone()].concat();
        assert_eq!(texts(&jpeg(&[(0xe1, &app1)])).unwrap(), [("parameters".to_string(), text.to_string())]);
        let padded = if tiff.len() % 2 == 1 { [tiff.clone(), vec![0]].concat() } else { tiff.clone() };
        let mut webp = b"RIFF".to_vec();
        webp.extend((padded.len() as u32 + 12 + 18).to_le_bytes());
        webp.extend(b"WEBPVP8X\x0a\0\0\0\x08\0\0\0\0\0\0\0\0\0EXIF");
        webp.extend((tiff.len() as u32).to_le_bytes());
        webp.extend(padded);
        assert_eq!(texts(&webp).unwrap(), [("parameters".to_string(), text.to_string())]);
    }
    let comment = [b"parameters\0", text.as_bytes()].concat();
    assert_eq!(texts(&jpeg(&[(0xe0, b"JFIF\0"), (0xfe, &comment)])).unwrap()[0].1, text);
    // Cut anywhere it is read as far as it goes.
    let whole = jpeg(&[(0xe1, &[b"Exif\0\0".to_vec(), exif(&wide(text, u16::to_be_bytes))].concat())]);
    (0..whole.len()).for_each(|end| drop(texts(&whole[..end])));
}
