//! Words with vectors of their own, in files of every trainer's: text states as diffusers has them after
//! `load_textual_inversion`, and as an implementation in PyTorch of its own has A1111's and ComfyUI's rules
//! (tests/goldens/embeddings.py); a picture; and what does not fit.

use crate::pictures::{LATENTS, apart, read_png};
use crate::support::{Device, Golden, Report};
use calotype::words::PromptStyle;
use calotype::{DType, GivenNoise, HostTensor, Lora, Model, Precision, Request, TextualInversion};
use calotype_testkit::error;
use safetensors::SafeTensors;
use serde_json::Value as Json;
use std::path::PathBuf;
use std::rc::Rc;

/// Of the golden's largest magnitude.
const STATES: f64 = 1e-4;

fn file(name: &str) -> PathBuf {
    golden("embeddings").join(name)
}

fn golden(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(name)
}

fn goldens(field: &str) -> (Vec<u8>, Json) {
    let bytes = std::fs::read(golden("embeddings.safetensors")).unwrap();
    let (_, header) = SafeTensors::read_metadata(&bytes).unwrap();
    let said = serde_json::from_str(&header.metadata().as_ref().unwrap()[field]).unwrap();
    (bytes, said)
}

fn tensor(bytes: &[u8], name: &str) -> Option<HostTensor> {
    let tensors = SafeTensors::deserialize(bytes).unwrap();
    let view = tensors.tensor(name).ok()?;
    Some(HostTensor::from_bytes(view.shape(), DType::F32, view.data().to_vec()))
}

fn with(mut model: Model, files: &Json) -> Model {
    for each in files.as_array().unwrap() {
        let embedding = TextualInversion::open(file(each[0].as_str().unwrap())).unwrap();
        let name = each[1].as_str().map(String::from).or(embedding.word.clone()).unwrap();
        model.add_embedding(name, &embedding).unwrap();
    }
    model
}

#[test]
fn states_are_those_of_the_peers() {
    let (bytes, cases) = goldens("cases");
    let mut report = Report::default();
    for device in Device::all() {
        for case in cases.as_array().unwrap() {
            let text = |name: &str| case[name].as_str().unwrap();
            let model = with(Golden::open(text("model"), "stages").model(), &case["files"]);
            let mut pipeline = device.pipeline(model, Precision::F32);
            let request = Request {
                prompt_style: text("style").parse::<PromptStyle>().unwrap(),
                cfg_scale: Some(1.0),
                steps: Some(4),
                ..Request::new(text("prompt"))
            };
            let condition = &pipeline.conditions(&request).unwrap().1[0];
            let name = format!("{}/{}", text("model"), text("name"));
            let states = tensor(&bytes, &name).unwrap();
            assert_eq!(condition.states.shape().numel(), states.shape().numel(), "{name}");
            let label = format!("{name} {}", device.name);
            let found = condition.states.clone().reshape(states.shape());
            report.case(&label, error(&found, &states), STATES);
            if let Some(pooled) = tensor(&bytes, &format!("{name}.pooled")) {
                let found = HostTensor::from_f32(pooled.shape(), &condition.pooled);
                report.case(&format!("{label} pooled"), error(&found, &pooled), STATES);
            }
        }
    }
    report.finish();
}

#[test]
fn a_picture_with_a_word_is_that_of_diffusers() {
    let (bytes, case) = goldens("picture");
    let mut report = Report::default();
    for device in Device::all() {
        let model = with(Golden::open("sd1-tiny", "stages").model(), &case["files"]);
        let size = case["size"].as_u64().map(|size| size as usize);
        let request = Request {
            prompt_style: PromptStyle::Plain,
            negative_prompts: vec![case["negative_prompt"].as_str().unwrap().into()],
            width: size,
            height: size,
            steps: case["steps"].as_u64().map(|steps| steps as usize),
            cfg_scale: case["guidance"].as_f64().map(|scale| scale as f32),
            noise: Some(GivenNoise {
                latents: tensor(&bytes, "picture.latents").unwrap(),
                added: Vec::new(),
            }),
            ..Request::new(case["prompt"].as_str().unwrap())
        };
        let output = device.pipeline(model, Precision::F32).text_to_image(&request).unwrap();
        let final_latents = tensor(&bytes, "picture.final").unwrap();
        report.case(&format!("picture {}", device.name), error(&output.latents, &final_latents), LATENTS);
        let off = apart(&output.pictures[0].rgb(), &read_png(&file("picture.png")));
        report.check(off <= 1, || format!("picture {} differs by {off} of 255", device.name));
    }
    report.finish();
}

#[test]
fn what_a_file_says_is_told() {
    let web = TextualInversion::open(file("sd1-web.pt")).unwrap();
    assert_eq!((web.word.as_deref(), web.step, web.count()), (Some("my-cat"), Some(1500), 3));
    assert_eq!(web.trained_with.as_deref(), Some("tiny"));
    let first = TextualInversion::open(file("sd1-first.pt")).unwrap();
    assert_eq!((first.word.as_deref(), first.step, first.count()), (None, None, 2));
    let xl = TextualInversion::open(file("xl.safetensors")).unwrap();
    assert_eq!(xl.family().as_deref(), Some("SDXL"));
}

#[test]
fn a_word_of_another_model_is_refused_and_nothing_is_changed() {
    let mut model = Golden::open("sd2-tiny", "stages").model();
    let before = model.framed(calotype::Role::Text, "a my-cat", Default::default()).unwrap();
    for (name, told) in [
        ("sd1-web.pt", "vectors are 32 wide, and the model's text encoder takes 48"),
        ("xl.safetensors", "vectors are 40 and 24 wide (for SDXL)"),
    ] {
        let why = model
            .add_embedding("my-cat", &TextualInversion::open(file(name)).unwrap())
            .unwrap_err()
            .to_string();
        assert!(why.contains(name) && why.contains(told), "{why}");
    }
    assert_eq!(model.framed(calotype::Role::Text, "a my-cat", Default::default()).unwrap(), before);
    let fits = TextualInversion::open(file("sd2-one.bin")).unwrap();
    assert!(model.add_embedding(" ", &fits).is_err());
    model.add_embedding("my-cat", &fits).unwrap();
    let twice = model.add_embedding("My-Cat", &fits).unwrap_err().to_string();
    assert!(twice.contains("two embeddings are called My-Cat"), "{twice}");
    let mut xl = Golden::open("sdxl-tiny", "stages").model();
    let why = xl
        .add_embedding("my-cat", &TextualInversion::open(file("sd1-web.pt")).unwrap())
        .unwrap_err()
        .to_string();
    assert!(why.contains("text encoders take 24 and 40"), "{why}");
}

/// A1111's `bundle_emb`: a LoRA's file brings words, which are those of files by themselves.
#[test]
fn a_lora_brings_words() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("style.safetensors");
    let (lora, word) = (golden("sd1-tiny/loras/kohya.safetensors"), file("sd1-kohya.safetensors"));
    let (lora, word) = (std::fs::read(lora).unwrap(), std::fs::read(word).unwrap());
    let (lora, word) = (SafeTensors::deserialize(&lora).unwrap(), SafeTensors::deserialize(&word).unwrap());
    let bundled = [("bundle_emb.ink.emb_params".to_owned(), word.tensor("emb_params").unwrap())];
    let all = lora.tensors().into_iter().chain(bundled);
    std::fs::write(&path, safetensors::serialize(all, None).unwrap()).unwrap();

    let prompt = "a red ink";
    let framed = |model: &Model| model.framed(calotype::Role::Text, prompt, Default::default()).unwrap();
    let plain = Golden::open("sd1-tiny", "stages").model();
    let mut named = Golden::open("sd1-tiny", "stages").model();
    named.add_embedding("ink", &TextualInversion::open(file("sd1-kohya.safetensors")).unwrap()).unwrap();
    assert_ne!(framed(&plain), framed(&named));

    // Without the layers' own change, so that the word's is all there is.
    let off = |file| vec![("style".to_owned(), Rc::new(Lora::open(file).unwrap()), 0.0)];
    let mut model = Golden::open("sd1-tiny", "stages").model();
    pollster::block_on(model.set_loras(&off(&path))).unwrap();
    assert_eq!(framed(&model), framed(&named));
    let device = &Device::all()[0];
    let states = |model| device.pipeline(model, Precision::F32).conditions(&Request::new(prompt)).unwrap().1;
    let (found, wanted) = (states(model), states(named));
    assert_eq!(found[0].states.to_f32(), wanted[0].states.to_f32());

    // One that was added before is kept.
    let mut model = Golden::open("sd1-tiny", "stages").model();
    model.add_embedding("INK", &TextualInversion::open(file("sd1-many.safetensors")).unwrap()).unwrap();
    pollster::block_on(model.set_loras(&off(&path))).unwrap();
    assert_eq!(model.embeddings().collect::<Vec<_>>(), ["INK"]);
}

#[test]
fn pictures_carry_the_words_that_a1111_put_there() {
    let web = TextualInversion::open(file("sd1-web.pt")).unwrap();
    for name in ["sd1-shown.png", "sd1-hidden.png", "sd1-hidden.webp"] {
        let word = calotype::open_embedding(file(name)).unwrap();
        assert_eq!(
            (&word.word, word.step, &word.trained_with),
            (&web.word, web.step, &web.trained_with),
            "{name}"
        );
        assert_eq!(word.towers[0].values, web.towers[0].values, "{name}");
        assert_eq!(word.towers[0].width, web.towers[0].width, "{name}");
    }
    let same = calotype::open_embedding(file("sd1-web.pt")).unwrap();
    assert_eq!(same.towers[0].values, web.towers[0].values);
    let error = calotype::open_embedding(file("picture.png")).unwrap_err().to_string();
    assert!(error.contains("picture.png") && error.contains("carries no embedding"), "{error}");
}

#[test]
fn what_is_no_word_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let told = |tensors: &[(&str, &[usize], f32)]| {
        let tensors = tensors.iter().map(|(name, shape, value)| {
            let values = vec![*value; shape.iter().product()];
            (*name, HostTensor::from_f32(*shape, &values))
        });
        let tensors: Vec<(&str, HostTensor)> = tensors.collect();
        let views = tensors.iter().map(|(name, tensor)| {
            let shape = tensor.shape().dims().to_vec();
            (
                *name,
                safetensors::tensor::TensorView::new(safetensors::Dtype::F32, shape, tensor.bytes()).unwrap(),
            )
        });
        let path = folder.path().join("word.safetensors");
        std::fs::write(&path, safetensors::serialize(views, None).unwrap()).unwrap();
        TextualInversion::open(&path).map(|embedding| embedding.count()).map_err(|error| error.to_string())
    };
    assert_eq!(told(&[("emb_params", &[2, 4], 1.0)]), Ok(2));
    assert_eq!(told(&[("<word>", &[4], 1.0),]), Ok(1));
    for (tensors, parts) in [
        (
            &[("emb_params", &[2usize, 4] as &[usize], f32::NAN)][..],
            ["emb_params", "8 values that are not finite"],
        ),
        (&[("emb_params", &[0, 4], 0.0)], ["emb_params", "[0, 4]"]),
        (&[("emb_params", &[], 0.0)], ["emb_params", "[]"]),
        (&[("clip_l", &[2, 4], 0.0), ("clip_g", &[1, 6], 0.0)], ["vectors for its text encoders", "[1, 2]"]),
        (&[("a", &[4], 0.0), ("b", &[4], 0.0)], ["not a usable embedding", "nothing known"]),
        (
            &[("string_to_param.a", &[4], 0.0), ("string_to_param.b", &[4], 0.0)],
            ["string_to_param.a", "of its own"],
        ),
        (&[("lora_unet_x.lora_up.weight", &[4, 4], 0.0)], ["not a usable embedding", "it is a LoRA"]),
    ] {
        let why = told(tensors).unwrap_err();
        assert!(parts.iter().all(|part| why.contains(part)) && why.contains("word.safetensors"), "{why}");
    }
}
