//! `loras.json`: pictures with LoRAs, as diffusers draws them with the same files.

use crate::pictures::LATENTS;
use crate::support::{Device, Golden, Report};
use calotype::{GivenNoise, HostTensor, Lora, Precision, Request};
use calotype_testkit::error;
use safetensors::{Dtype, tensor::TensorView};
use std::path::Path;
use std::rc::Rc;

#[test]
fn pictures_with_loras_are_those_of_diffusers() {
    let mut report = Report::default();
    for device in Device::all() {
        let golden = Golden::open("sd1-tiny", "loras");
        for case in golden.cases.as_array().unwrap() {
            let text = |field: &str| case[field].as_str().unwrap().to_string();
            let number = |field: &str| case[field].as_f64().unwrap();
            let mut model = golden.model();
            for lora in case["loras"].as_array().unwrap() {
                let file = golden.folder.join(Path::new(lora[0].as_str().unwrap()));
                let scale = lora[1].as_f64().unwrap() as f32;
                model.add_lora("test", Lora::open(file).unwrap(), scale).unwrap();
            }
            let request = Request {
                negative_prompts: vec![text("negative_prompt")],
                width: Some(number("width") as usize),
                height: Some(number("height") as usize),
                steps: Some(number("steps") as usize),
                cfg_scale: Some(number("guidance") as f32),
                noise: Some(GivenNoise { latents: golden.tensor(&case["latents"]), added: Vec::new() }),
                ..Request::new(text("prompt"))
            };
            let output = device.pipeline(model, Precision::F32).text_to_image(&request).unwrap();
            let name = format!("{} {}", text("name"), device.name);
            report.case(&name, error(&output.latents, &golden.tensor(&case["final"])), LATENTS);
        }
    }
    report.finish();
}

/// A LoRA of rank 2 for one convolution of sd1-tiny's middle: 64 to 64 channels, 3x3.
fn of_one_layer(file: &Path) -> Rc<Lora> {
    let tensors = [("A", [2, 64, 3, 3]), ("B", [64, 2, 1, 1])].map(|(half, shape)| {
        let count: usize = shape.iter().product();
        let values: Vec<f32> = (0..count).map(|i| ((i * 37 % 101) as f32 - 50.0) / 400.0).collect();
        (format!("unet.mid_block.resnets.0.conv1.lora_{half}.weight"), HostTensor::from_f32(shape, &values))
    });
    let views = tensors.iter().map(|(name, tensor)| {
        let shape = tensor.shape().dims().to_vec();
        (name, TensorView::new(Dtype::F32, shape, tensor.bytes()).unwrap())
    });
    std::fs::write(file, safetensors::serialize(views, None).unwrap()).unwrap();
    Rc::new(Lora::open(file).unwrap())
}

#[test]
fn other_loras_bring_the_tensors_alone_that_they_change() {
    /// Bytes of that convolution in f32. In the checkpoint it is in halves, which a GPU keeps.
    const LAYER: u64 = 64 * 64 * 9 * 4;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("one.safetensors");
    let lora = of_one_layer(&file);
    let request =
        Request { steps: Some(2), width: Some(64), height: Some(64), ..Request::new("a red house") };
    for device in Device::all() {
        let model = || Golden::open("sd1-tiny", "stages").model();
        let mut pipeline = device.pipeline(model(), Precision::F32);
        let mut brought = 0;
        let mut draw = |loras: &[(String, Rc<Lora>, f32)]| {
            pipeline.set_loras(loras).unwrap();
            let latents = pipeline.text_to_image(&request).unwrap().latents.to_f32();
            let bytes = pipeline.uploaded() - brought;
            brought = pipeline.uploaded();
            (latents, bytes)
        };
        let fresh = |scale: f32| {
            let mut model = model();
            model.add_lora("one", Lora::open(&file).unwrap(), scale).unwrap();
            device.pipeline(model, Precision::F32).text_to_image(&request).unwrap().latents.to_f32()
        };
        let (plain, all) = draw(&[]);
        assert!(all > 10 * LAYER, "{}: {all}", device.name);
        let at = |lora: &Rc<Lora>, scale| [("one".to_string(), Rc::clone(lora), scale)];
        assert_eq!(draw(&at(&lora, 0.5)), (fresh(0.5), LAYER), "{}: laid over it", device.name);
        // The same file is the same, opened again or not.
        assert_eq!(draw(&at(&lora, 0.5)).1, 0, "{}: again", device.name);
        let opened_again = Rc::new(Lora::open(&file).unwrap());
        assert_eq!(draw(&at(&opened_again, 0.5)).1, 0, "{}: opened again", device.name);
        assert_eq!(draw(&at(&lora, -0.25)), (fresh(-0.25), LAYER), "{}: another scale", device.name);
        let (bare, bytes) = draw(&[]);
        assert!([LAYER, LAYER / 2].contains(&bytes) && bare == plain, "{}: removed: {bytes}", device.name);
        // A LoRA for another model leaves all as it is.
        let other = folder.path().join("other.safetensors");
        let tensors: [(&str, [usize; 2]); 2] = [("A", [1, 7]), ("B", [7, 1])];
        let views = tensors.map(|(half, shape)| {
            let name =
                format!("unet.down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k.lora_{half}.weight");
            (name, TensorView::new(Dtype::F32, shape.to_vec(), &[0; 28]).unwrap())
        });
        std::fs::write(&other, safetensors::serialize(views, None).unwrap()).unwrap();
        assert!(pipeline.set_loras(&[("other".into(), Rc::new(Lora::open(other).unwrap()), 1.0)]).is_err());
        assert!(pipeline.model().loras.is_empty());
    }
}
