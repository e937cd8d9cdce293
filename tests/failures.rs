//! What goes wrong on the device or in the numbers is an error that names it: no panic, no hang, no black picture.

use crate::support::{Device, Golden, gpu};
use calotype::{
    Choice, DType, Error, HostTensor, Model, OpenDevice, Pipeline, Precision, Request, Role, Shape, VaeTiling,
};
use calotype_graph::Executor;
use calotype_tensor::{Made, Read, TensorInfo, Tensors};
use std::borrow::Cow;
use std::ops::{ControlFlow, Range};
use std::rc::Rc;

const MODEL: &str = "sd2-tiny";

fn model() -> Model {
    Golden::open(MODEL, "pictures").model()
}

fn request() -> Request {
    Request { width: Some(64), height: Some(64), steps: Some(3), ..Request::new("a lighthouse") }
}

/// The message of a run that must fail, one line.
fn message(result: Result<calotype::Output, Error>) -> String {
    let message = result.expect_err("the run must fail").to_string();
    assert!(!message.contains('\n'), "more than one line: {message}");
    println!("{message}");
    message
}

fn holds(message: &str, parts: &[&str]) {
    for part in parts {
        assert!(message.contains(part), "\"{part}\" is not in: {message}");
    }
}

/// A checkpoint of which one tensor is another.
struct Damaged {
    sound: Box<dyn Tensors>,
    tensor: TensorInfo,
    damage: fn(&mut [f32]),
}

impl Tensors for Damaged {
    fn get(&self, name: &str) -> calotype_tensor::Result<&TensorInfo> {
        if name == self.tensor.name { Ok(&self.tensor) } else { self.sound.get(name) }
    }

    fn names(&self) -> Vec<&str> {
        self.sound.names()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        Box::pin(async move {
            let bytes = self.sound.read(name, range).await?;
            if name != self.tensor.name {
                return Ok(bytes);
            }
            let info = self.sound.get(name)?;
            let mut values =
                HostTensor::from_bytes(info.shape.as_slice(), info.dtype, bytes.into_owned()).to_f32();
            (self.damage)(&mut values);
            Ok(Cow::Owned(HostTensor::from_f32(info.shape.as_slice(), &values).bytes().to_vec()))
        })
    }

    fn describe(&self, name: &str) -> String {
        self.sound.describe(name)
    }
}

/// Stands in for weights that nobody may ask for.
fn nothing() -> Box<dyn Tensors> {
    Box::new(Made::new("", [("", DType::F32, Shape::new(&[]))], |_, _| unreachable!()))
}

/// Damages a tensor of a component of the model.
fn damaged(component: &str, tensor: &str, damage: fn(&mut [f32])) -> Model {
    let mut model = model();
    let part = &mut model.components.get_mut(Role::of_folder(component).unwrap()).unwrap().weights;
    let info = part.get(tensor).unwrap_or_else(|error| panic!("{component}: {error}"));
    let tensor = TensorInfo { name: tensor.into(), dtype: DType::F32, ..info.clone() };
    let sound = std::mem::replace(part, nothing());
    *part = Box::new(Damaged { sound, tensor, damage });
    model
}

/// The message of a run of a damaged model, on every device that can fail so.
fn fails(component: &str, tensor: &str, damage: fn(&mut [f32]), precision: Precision, parts: &[&str]) {
    // The CPU computes in f32 whatever is stored.
    let devices = if precision == Precision::F16 { Device::gpus() } else { Device::all() };
    for device in devices {
        let model = damaged(component, tensor, damage);
        holds(&message(device.pipeline(model, precision).text_to_image(&request())), parts);
    }
}

#[test]
fn a_lost_gpu_is_an_error() {
    let lost = |when: &str, lose: &dyn Fn(&Rc<calotype_gpu::GpuExecutor>, &mut Pipeline) -> String| {
        let Some(gpu) = gpu(&Choice::default()) else { return };
        let gpu = Rc::new(gpu);
        let executor: Rc<dyn Executor> = gpu.clone();
        let mut pipeline = Pipeline::new(&OpenDevice { executor, adapter: None }, model(), Precision::F32);
        let message = lose(&gpu, &mut pipeline);
        assert!(message.contains("the GPU") && message.contains("lost"), "{when}: {message}");
        holds(&message, &[&gpu.report().name]);
        // And it stays lost.
        pipeline.text_to_image(&request()).map(drop).expect_err("the GPU is gone");
    };
    lost("before anything", &|gpu, pipeline| {
        gpu.destroy();
        message(pipeline.text_to_image(&request()))
    });
    lost("between two pictures", &|gpu, pipeline| {
        pipeline.text_to_image(&request()).unwrap();
        gpu.destroy();
        message(pipeline.text_to_image(&request()))
    });
    lost("between two steps", &|gpu, pipeline| {
        let gpu = gpu.clone();
        message(pipeline.text_to_image_with(&request(), |_, _| {
            gpu.destroy();
            ControlFlow::Continue(())
        }))
    });
}

#[test]
fn a_weight_that_is_not_a_number_is_named() {
    let nan = |values: &mut [f32]| values[3] = f32::NAN;
    for (component, tensor) in [
        ("text_encoder", "text_model.final_layer_norm.weight"),
        ("unet", "conv_in.weight"),
        ("unet", "mid_block.attentions.0.transformer_blocks.0.attn2.to_k.weight"),
        ("vae", "decoder.conv_out.weight"),
    ] {
        fails(
            component,
            tensor,
            nan,
            Precision::F32,
            &[tensor, component, "1 values", "not finite", "fetch"],
        );
    }
}

#[test]
fn a_weight_too_large_for_f16_is_named() {
    let large = |values: &mut [f32]| values[3] = -1e6;
    fails(
        "unet",
        "conv_in.weight",
        large,
        Precision::F16,
        &["conv_in.weight", "-1e6", "f16", "precision f32"],
    );
}

#[test]
fn numbers_that_overflow_name_their_stage() {
    // Weights that any type holds, whose products none does.
    let flood = |values: &mut [f32]| values.iter_mut().for_each(|v| *v = 3e38);
    let last = |component: &str| match component {
        "text_encoder" => "text_model.final_layer_norm.bias",
        "unet" => "conv_out.bias",
        _ => "decoder.conv_norm_out.weight",
    };
    fails(
        "unet",
        last("unet"),
        flood,
        Precision::F32,
        &["no picture", "the UNet, at step", "of 3", "not finite"],
    );
    fails(
        "vae",
        last("vae"),
        flood,
        Precision::F32,
        &["no picture", "the VAE decoder", "not finite", "weights"],
    );
    // Past f16's 65504 where activations are halves.
    let big = |values: &mut [f32]| values.iter_mut().for_each(|v| *v = 1e5);
    fails(
        "text_encoder",
        last("text_encoder"),
        big,
        Precision::F16,
        &["the text encoder", "not finite", "f32"],
    );
    fails(
        "unet",
        last("unet"),
        big,
        Precision::F16,
        &["the UNet, at step 1 of 3", "not finite", "precision f32"],
    );
}

#[test]
fn a_decoder_that_f16_does_not_hold_runs_in_f32() {
    let big = |values: &mut [f32]| values.iter_mut().for_each(|v| *v = 1e5);
    for device in Device::gpus() {
        let model = || damaged("vae", "decoder.conv_norm_out.weight", big);
        let mut halves = device.pipeline(model(), Precision::F16);
        let drawn = halves.text_to_image(&request()).expect("the picture is saved");
        let whole = device.pipeline(model(), Precision::F32).decode_latents(&drawn.latents).unwrap();
        assert_eq!(drawn.pictures[0].pixels, whole[0].pixels, "{}", device.name);
        // It is known from then on, also to the plan.
        let before = halves.executor().memory().allocations;
        halves.text_to_image(&request()).unwrap();
        assert!(halves.executor().memory().allocations - before <= 3, "nothing is prepared anew");
    }
}

/// The repair keeps to the limit too, in tiles where it must.
#[test]
fn a_decoder_that_is_repaired_keeps_to_its_limit() {
    let big = |values: &mut [f32]| values.iter_mut().for_each(|v| *v = 1e5);
    for device in Device::gpus() {
        let model = damaged("vae", "decoder.conv_norm_out.weight", big);
        let mut pipeline = device.pipeline(model, Precision::F16);
        let request = Request { width: Some(384), height: Some(384), ..request() };
        let order = pipeline.settle(&request).unwrap();
        // What halves take to the byte: f32 takes more.
        let halves = pipeline.check(&order).unwrap();
        let most = halves.peak_bytes;
        pipeline.limit(Some(most), VaeTiling::Auto);
        pipeline.text_to_image(&request).unwrap();
        let (used, whole) = (pipeline.executor().memory().peak, pipeline.check(&order).unwrap());
        println!("{}: {used} of {most}; {}; {}", device.name, halves.strategy, whole.strategy);
        assert!(used <= most && whole.peak_bytes <= most, "{used} and {} of {most}", whole.peak_bytes);
        assert!(halves.strategy.tiles.is_none() && whole.strategy.tiles.is_some(), "{}", device.name);
    }
}

#[test]
fn latents_are_decoded_without_the_unet() {
    for device in Device::all() {
        let drawn = device.pipeline(model(), Precision::F32).text_to_image(&request()).unwrap();
        // Neither of these has a tensor to read.
        let mut decoder = model();
        for role in [Role::Text, Role::Denoiser] {
            decoder.components.get_mut(role).unwrap().weights = nothing();
        }
        let decoded = device.pipeline(decoder, Precision::F32).decode_latents(&drawn.latents).unwrap();
        assert_eq!(decoded[0].pixels, drawn.pictures[0].pixels, "{}", device.name);
    }
}

#[test]
fn a_flat_picture_is_an_error() {
    // A decoder whose last layer says white, whatever it sees.
    let white = |values: &mut [f32]| values.iter_mut().for_each(|v| *v = 1e6);
    fails("vae", "decoder.conv_out.bias", white, Precision::F32, &["no picture", "the VAE decoder", "flat"]);
}

#[test]
fn a_run_can_be_stopped() {
    for device in Device::all() {
        let mut pipeline = device.pipeline(model(), Precision::F32);
        let mut seen = 0;
        let stopped = pipeline.text_to_image_with(&request(), |progress, _| {
            seen = progress.step;
            if progress.step == 2 { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        assert_eq!(message(stopped), "stopped after step 2 of 3");
        assert_eq!(seen, 2);
        pipeline.text_to_image(&request()).expect("the pipeline is as good as before");
    }
}

#[test]
fn requests_that_cannot_be_are_refused() {
    let mut pipeline = Device::cpu().pipeline(model(), Precision::F32);
    for (request, part) in [
        (Request { width: Some(500), ..request() }, "width 500 is not a multiple of 8"),
        (Request { height: Some(0), ..request() }, "height 0"),
        (Request { steps: Some(0), ..request() }, "steps 0"),
        (Request { batch_size: 0, ..request() }, "batch_size 0"),
        (
            Request { prompts: vec!["a".into(), "b".into()], batch_size: 3, ..request() },
            "prompts holds 2 texts",
        ),
        (Request { cfg_scale: Some(f32::NAN), ..request() }, "cfg_scale NaN"),
        (Request { cfg_rescale: 1.5, ..request() }, "cfg_rescale 1.5"),
        (Request { eta: Some(-1.0), ..request() }, "eta -1"),
        (Request { steps: Some(5000), ..request() }, "5000"),
    ] {
        holds(&message(pipeline.text_to_image(&request)), &[part]);
    }
}
