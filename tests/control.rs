//! `control.json`: pictures that control nets steer, as diffusers' pipelines and A1111's extension have them.

use crate::image_to_image::{request, scheduler};
use crate::pictures::{LATENTS, apart};
use crate::support::{Device, Golden, Report};
use calotype::{Control, DType, Hint, HostTensor, Model, Order, Picture, Precision, Request, plan};
use calotype_testkit::error;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde_json::Value as Json;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const MODELS: [&str; 2] = ["sd1-tiny", "sdxl-tiny"];
const WEIGHTS: &str = "diffusion_pytorch_model.safetensors";

/// A net's tensors by diffusers' names: the UNet's own but for those that the golden has.
fn tensors(golden: &Golden, net: &str) -> BTreeMap<String, HostTensor> {
    let told = &golden.cases["nets"][net];
    let unet = std::fs::read(golden.folder.join("model/unet").join(WEIGHTS)).unwrap();
    let unet = SafeTensors::deserialize(&unet).unwrap();
    let own: Vec<&str> = told["own"].as_array().unwrap().iter().map(|name| name.as_str().unwrap()).collect();
    let tensor = |name: &String| {
        if own.contains(&&**name) {
            return golden.tensor(&format!("{net}.{name}").into()).cast(DType::F16);
        }
        let view = unet.tensor(name).unwrap();
        HostTensor::from_bytes(view.shape(), DType::F16, view.data().to_vec())
    };
    told["ldm"].as_object().unwrap().keys().map(|name| (name.clone(), tensor(name))).collect()
}

fn save<'a>(path: &Path, tensors: impl Iterator<Item = (&'a str, &'a HostTensor)>) {
    let view = |tensor: &'a HostTensor| {
        TensorView::new(Dtype::F16, tensor.shape().dims().to_vec(), tensor.bytes()).unwrap()
    };
    let all: Vec<_> = tensors.map(|(name, tensor)| (name, view(tensor))).collect();
    safetensors::serialize_to_file(all, None, path).unwrap();
}

/// A net as a folder of diffusers'.
fn folder(golden: &Golden, net: &str, to: &TempDir) -> PathBuf {
    let path = to.path().join(net);
    std::fs::create_dir_all(&path).unwrap();
    let config = golden.cases["nets"][net]["config"].to_string();
    std::fs::write(path.join("config.json"), config).unwrap();
    let tensors = tensors(golden, net);
    save(&path.join(WEIGHTS), tensors.iter().map(|(name, tensor)| (&**name, tensor)));
    path
}

/// The same as a file in the original layout.
fn file(golden: &Golden, net: &str, to: &TempDir) -> PathBuf {
    let path = to.path().join(format!("{net}.safetensors"));
    let names = golden.cases["nets"][net]["ldm"].as_object().unwrap();
    let tensors = tensors(golden, net);
    save(&path, tensors.iter().map(|(name, tensor)| (names[name].as_str().unwrap(), tensor)));
    path
}

fn shown(golden: &Golden, net: &str) -> Picture {
    let name = format!("pictures/hint_{net}.png");
    Picture::read(&name, &std::fs::read(golden.folder.join(&name)).unwrap()).unwrap()
}

fn nets(case: &Json) -> Vec<&str> {
    case["nets"].as_array().unwrap().iter().map(|net| net.as_str().unwrap()).collect()
}

fn steered(golden: &Golden, case: &Json) -> Request {
    let number = |field: &str, i: usize| case[field][i].as_f64().unwrap();
    let control = |(i, net): (usize, &str)| Control {
        scale: number("scales", i) as f32,
        start: number("starts", i),
        end: number("ends", i),
        mode: case["mode"].as_str().unwrap().parse().unwrap(),
        ..Control::by(shown(golden, net))
    };
    let controls = nets(case).into_iter().enumerate().map(control).collect();
    let begun = request(golden, case);
    if case["begins"] == true {
        return Request { controls, ..begun };
    }
    let picture = begun.init_img.clone().unwrap();
    let [width, height] = [picture.width, picture.height].map(Some);
    Request { controls, init_img: None, width, height, ..begun }
}

fn check(device: &dyn Fn() -> Option<Device>) {
    let mut report = Report::default();
    for model in MODELS {
        let Some(device) = device() else { return };
        let (golden, to) = (Golden::open(model, "control"), tempfile::tempdir().unwrap());
        for case in golden.cases["pictures"].as_array().unwrap() {
            let mut opened = golden.model();
            opened.scheduler = scheduler(case);
            // Folders and files say the same.
            let is_file = case["name"] == "two" || case["name"] == "guess";
            for net in nets(case) {
                let path = if is_file { file(&golden, net, &to) } else { folder(&golden, net, &to) };
                opened.open_control(&path).unwrap();
            }
            let request = steered(&golden, case);
            let output = device.pipeline(opened, Precision::F32).text_to_image(&request).unwrap();
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
fn halves_are_steered_too() {
    let mut report = Report::default();
    let (golden, to) = (Golden::open("sd1-tiny", "control"), tempfile::tempdir().unwrap());
    let case = &golden.cases["pictures"][0];
    for device in Device::gpus().into_iter().take(1) {
        let mut opened = golden.model();
        opened.scheduler = scheduler(case);
        opened.open_control(&folder(&golden, "a", &to)).unwrap();
        let output = device.pipeline(opened, Precision::F16).text_to_image(&steered(&golden, case)).unwrap();
        let off = error(&output.latents, &golden.tensor(&case["final"]));
        report.case(&format!("f16 {}", device.name), off, 20.0 * LATENTS);
    }
    report.finish();
}

#[test]
fn the_plan_counts_a_net_and_drops_it_where_it_does_not_steer() {
    let (golden, to) = (Golden::open("sd1-tiny", "control"), tempfile::tempdir().unwrap());
    let case = &golden.cases["pictures"][0];
    let mut model = golden.model();
    let plain = Request { controls: Vec::new(), ..steered(&golden, case) }.settle(&model).unwrap();
    let caps = Device::cpu().pipeline(golden.model(), Precision::F32).executor().caps();
    let steps = |model: &Model, order: &Order| {
        let plan = plan(model, order, Precision::F32, &caps).unwrap();
        plan.stages.into_iter().filter(|stage| stage.stage.to_string() == "unet").collect::<Vec<_>>()
    };
    let alone = steps(&model, &plain);
    model.open_control(&folder(&golden, "a", &to)).unwrap();
    let both = steps(&model, &steered(&golden, case).settle(&model).unwrap());
    let numbers: usize = tensors(&golden, "a").values().map(|tensor| tensor.shape().numel()).sum();
    let more = both[0].weight_bytes - alone[0].weight_bytes;
    // f32, less what the context has: text's keys and values, the time's layers, the hint's.
    assert!(more > 0 && more < 4 * numbers as u64, "{more} of {}", 4 * numbers);
    assert!(both[0].dispatches > alone[0].dispatches && both[0].flops > alone[0].flops);
    // Steps outside of its share are those of the plain model.
    let mut request = steered(&golden, case);
    request.controls[0].end = 0.5;
    let parted = steps(&model, &request.settle(&model).unwrap());
    let of = |step: &calotype::StagePlan| (step.dispatches, step.flops);
    assert_eq!([of(&parted[0]), of(&parted[1])], [of(&both[0]), of(&alone[0])]);
}

#[test]
fn what_does_not_go_together_is_told() {
    let (golden, to) = (Golden::open("sd1-tiny", "control"), tempfile::tempdir().unwrap());
    let case = &golden.cases["pictures"][0];
    let mut model = golden.model();
    let base = steered(&golden, case);
    let told = |model: &Model, request: &Request, part: &str| {
        let error = request.settle(model).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    };
    told(&model, &base, "control_image: 1 is given, and of control_net 0: give one for each");
    model.open_control(&folder(&golden, "a", &to)).unwrap();
    told(&model, &Request { controls: Vec::new(), ..base.clone() }, "0 are given, and of control_net 1");
    let cached = Request { cache: "deep:2".parse().unwrap(), ..base.clone() };
    told(&model, &cached, "cache deep:2: what a control net adds is not taken again: leave one out");
    let with = |change: &dyn Fn(&mut Control)| {
        let mut request = base.clone();
        change(&mut request.controls[0]);
        request
    };
    told(&model, &with(&|control| control.start = 1.5), "control_start 1.5 is not between 0 and 1");
    told(&model, &with(&|control| control.end = 0.0), "control_start 0 is not below control_end 0");
    told(&model, &with(&|control| control.scale = f32::NAN), "control_scale NaN is not a number");

    let mut refused = |path: &Path, part: &str| {
        let error = model.open_control(path).unwrap_err().to_string();
        assert!(error.contains(part) && !error.contains('\n'), "{error}");
    };
    let other = Golden::open("sdxl-tiny", "control");
    let family = "take a control net of the model's family";
    refused(&folder(&other, "b", &to), family);
    refused(&file(&other, "b", &to), "take one of the model's family");
    refused(&golden.folder.join("model/unet").join(WEIGHTS), "and no control net");
    let tensors = tensors(&golden, "a");
    let named = |name: &str, of: &dyn Fn(&str) -> Option<String>| {
        let path = to.path().join(name);
        let names: Vec<_> = tensors.iter().filter_map(|(name, t)| Some((of(name)?, t))).collect();
        save(&path, names.iter().map(|(name, tensor)| (&**name, *tensor)));
        path
    };
    let marked = |mark: &'static str| {
        move |name: &str| Some(if name == "conv_in.bias" { mark.into() } else { name.to_string() })
    };
    refused(&named("lora.safetensors", &marked("lora_controlnet")), "a control LoRA, which is recognised");
    refused(&named("union.safetensors", &marked("task_embedding")), "a union of control nets");
    let lacks = |name: &str| (name != "controlnet_mid_block.bias").then(|| name.to_string());
    refused(&named("short.safetensors", &lacks), "no tensor controlnet_mid_block.bias");
    let mut config = golden.cases["nets"]["a"]["config"].clone();
    config["global_pool_conditions"] = true.into();
    std::fs::write(to.path().join("a/config.json"), config.to_string()).unwrap();
    refused(&to.path().join("a"), "global_pool_conditions = true is not supported; false is");
}

#[test]
fn hints_are_made_of_photographs() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let picture = |name: &Json| {
        let name = name.as_str().unwrap();
        Picture::read(name, &std::fs::read(folder.join(name)).unwrap()).unwrap()
    };
    let told = std::fs::read(folder.join("hints.json")).unwrap();
    let told: Json = serde_json::from_slice(&told).unwrap();
    for case in told["hints"].as_array().unwrap() {
        let hint: Hint = case["hint"].as_str().unwrap().parse().unwrap();
        let made = hint.of(&picture(&case["picture"]));
        let off = apart(&made.pixels, &picture(&case["png"]).pixels);
        // OpenCV's lightness goes through tables.
        assert!(off <= u8::from(hint == Hint::Luminance), "{hint} of {}: {off}", case["picture"]);
    }
    let of = |hint: Hint| hint.of(&Picture::plain(4, 3, 200)).pixels;
    assert_eq!((of(Hint::Tile)[0], of(Hint::Invert)[0], of(Hint::Threshold)[0]), (200, 55, 255));
}
