//! Models that are damaged, incomplete or of another kind: the file and the tensor or field are named.

use crate::support::{Folder, goldens};
use safetensors::{Dtype, SafeTensors, tensor::TensorView};
use std::fs;
use std::path::Path;

const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// A folder with a copy of the tiny model in it, called `model`.
fn copied() -> Folder {
    fn copy(from: &Path, to: &Path) {
        fs::create_dir_all(to).unwrap();
        for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
            let to = to.join(entry.file_name());
            match entry.path().is_dir() {
                true => copy(&entry.path(), &to),
                false => fs::copy(entry.path(), to).map(drop).unwrap(),
            }
        }
    }
    let folder = Folder::new();
    copy(&goldens().join("sd1-tiny/model"), &folder.path().join("model"));
    folder
}

/// Changes a file of a copy of the model, and sees that `generate` refuses it.
fn refused(file: &str, change: impl FnOnce(&mut Vec<u8>), parts: &[&str]) {
    let folder = copied();
    let path = format!("model/{file}");
    let mut bytes = folder.read(&path);
    change(&mut bytes);
    folder.write(&path, bytes);
    let args = ["generate", "a cat", "--backend", "cpu", "--steps", "1", "-m", "model"];
    folder.fails(1, &args, &[&[file], parts].concat());
}

/// Replaces text in a JSON file.
fn replaced(file: &str, from: &str, to: &str, parts: &[&str]) {
    let change = |bytes: &mut Vec<u8>| {
        let text = String::from_utf8(bytes.clone()).unwrap();
        assert!(text.contains(from), "{file} has no {from}");
        *bytes = text.replacen(from, to, 1).into_bytes();
    };
    refused(file, change, parts);
}

#[test]
fn a_model_that_is_not_there() {
    let folder = Folder::new();
    let args = |model: &'static str| ["generate", "a cat", "--backend", "cpu", "-m", model];
    folder.fails(1, &args("no/such/model"), &["no/such/model", "no such file or folder", "diffusers layout"]);
    folder.fails(1, &args(""), &["the model's name is empty", "-m takes", "owner/name"]);
    folder.fails(1, &args("synthetic:sd9"), &["synthetic:sd9", "synthetic:sd15"]);
    folder.fails(1, &["inspect", "no/such/model"], &["no/such/model"]);
    folder.fails(1, &["plan", "-m", "no/such/model"], &["no/such/model"]);
    fs::create_dir(folder.path().join("empty")).unwrap();
    folder.fails(1, &args("empty"), &["empty: an empty folder", "model_index.json", "diffusers layout"]);
    folder.write("v1-5.safetensors", b"");
    folder.fails(1, &args("v1-5.safetensors"), &["v1-5.safetensors: ", "empty"]);
}

#[test]
fn names_that_are_written_as_elsewhere_are_told_as_they_are_here() {
    let folder = Folder::new();
    for (text, way_out) in [
        ("own/tiny/", "no such folder; for the model of the hub write own/tiny"),
        ("own/tiny.git", "write own/tiny"),
        ("own/tiny@v2", "write own/tiny with --revision v2"),
        ("http://localhost/own/tiny/tree/v2", "write own/tiny with --revision v2"),
    ] {
        folder.fails(1, &["inspect", text], &[&format!("{text}: "), way_out]);
    }
    fs::create_dir(folder.path().join("stray")).unwrap();
    folder.write("stray/bad.txt", b"");
    folder.fails(1, &["inspect", "stray/"], &["stray/: not a model: there is no model_index.json"]);
}

#[test]
fn a_revision_of_what_has_none_is_refused() {
    let folder = copied();
    let revision = ["--revision", "v2"];
    for (model, what) in [
        (&[][..], "the built-in model"),
        (&["-m", "model"], "model, which lies on this machine,"),
        (&["-m", "synthetic:sd15"], "synthetic:sd15"),
    ] {
        let args = [&["plan"], model, &revision].concat();
        folder.fails(2, &args, &["--revision v2", &format!("{what} has no revisions"), "leave it out"]);
    }
    folder.fails(1, &["plan", "-m", "no/such/model", "--revision", "v2"], &["no such file or folder"]);
}

#[test]
fn files_that_are_missing() {
    let missing: [(&str, &[&str]); 6] = [
        ("model_index.json", &["model/model_index.json", "diffusers layout"]),
        ("unet/config.json", &["model/unet/config.json"]),
        ("scheduler/scheduler_config.json", &["scheduler_config.json"]),
        (UNET, &["model/unet", "no weights", "diffusion_pytorch_model.safetensors"]),
        ("text_encoder/model.safetensors", &["model/text_encoder", "no weights"]),
        ("tokenizer/merges.txt", &["tokenizer", "merges.txt"]),
    ];
    for (file, parts) in missing {
        let folder = copied();
        fs::remove_file(folder.path().join("model").join(file)).unwrap();
        folder.fails(1, &["generate", "a cat", "--backend", "cpu", "-m", "model"], parts);
    }
}

#[test]
fn files_that_are_cut_short_or_something_else() {
    let text = "text_encoder/model.safetensors";
    refused(UNET, |b| b.truncate(b.len() / 2), &["truncated", "download it again"]);
    refused(UNET, |b| b.truncate(b.len() - 1), &["truncated"]);
    refused(UNET, |b| b.truncate(100), &["truncated"]);
    refused(UNET, Vec::clear, &["empty"]);
    refused(text, |b| b.fill(0x5a), &["not a file of weights"]);
    refused(text, |b| b[20..40].fill(b'!'), &["damaged safetensors header"]);
    refused(
        text,
        |b| *b = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\n".to_vec(),
        &["git lfs pull"],
    );
    refused("unet/config.json", |b| b.truncate(b.len() / 2), &["not a configuration"]);
    let pointer = |b: &mut Vec<u8>| *b = b"version https://git-lfs.github.com/spec/v1\n".to_vec();
    let scheduler = "model/scheduler/scheduler_config.json";
    for file in ["model_index.json", "unet/config.json", "scheduler/scheduler_config.json"] {
        refused(file, pointer, &["model/", "not a configuration", "git lfs pull"]);
        refused(file, |b| b.insert(0, 0xff), &["model/", "not UTF-8"]);
    }
    let folder = copied();
    folder.write("model/tokenizer/vocab.json", "version https://git-lfs.github.com/spec/v1\n");
    let args = ["generate", "a cat", "--backend", "cpu", "-m", "model"];
    folder.fails(1, &args, &["tokenizer: vocab.json", "git lfs pull"]);
    refused("scheduler/scheduler_config.json", |b| b.truncate(9), &[scheduler, "not a configuration"]);
    refused("model_index.json", |b| b.clear(), &["not a configuration"]);
}

#[test]
fn classes_and_fields_that_nobody_here_knows() {
    let index = "model_index.json";
    replaced(
        index,
        "StableDiffusionPipeline",
        "StableDiffusion3Pipeline",
        &["StableDiffusion3Pipeline", "not supported"],
    );
    replaced(index, "UNet2DConditionModel", "FluxTransformer2DModel", &["FluxTransformer2DModel"]);
    replaced("unet/config.json", "\"act_fn\"", "\"magic\": 7,\n  \"act_fn\"", &["unknown field magic = 7"]);
    replaced("unet/config.json", "\"silu\"", "\"swoosh\"", &["act_fn", "swoosh"]);
    replaced(
        "vae/config.json",
        "\"_class_name\"",
        "\"surprise\": true,\n  \"_class_name\"",
        &["unknown field surprise"],
    );
}

#[test]
fn a_scheduler_out_of_its_bounds_is_named_with_its_file() {
    let file = "scheduler/scheduler_config.json";
    let beta = "\"beta_end\": 0.012";
    replaced(
        file,
        beta,
        "\"beta_end\": Infinity",
        &["model/scheduler", "beta_end", "a finite number was expected"],
    );
    let steps = "\"num_train_timesteps\": 1000";
    let many = "\"num_train_timesteps\": 1000000000";
    replaced(file, steps, many, &["model/scheduler", "num_train_timesteps", "from 2 to 1000000"]);
}

#[test]
fn a_size_that_nobody_asked_for_is_the_models() {
    let size = "\"sample_size\": 8";
    let large = "\"sample_size\": 1000000";
    replaced("unet/config.json", size, large, &["the model's own size", "sample_size", "give --height"]);
}

/// Writes `class` into the tiny model's index, and into its scheduler's file if `both`.
fn scheduled(folder: &Folder, class: &str, both: bool) {
    for file in ["model_index.json", "scheduler/scheduler_config.json"].iter().take(if both { 2 } else { 1 })
    {
        let path = format!("model/{file}");
        let text = String::from_utf8(folder.read(&path)).unwrap();
        assert!(text.contains("PNDMScheduler"));
        folder.write(&path, text.replace("PNDMScheduler", class));
    }
}

const OWN: [&str; 2] = ["-m", "model"];

#[test]
fn a_scheduler_that_is_not_implemented() {
    let folder = copied();
    let euler = [&OWN[..], &["--sampler", "euler"]].concat();
    let own = folder.drawn(&euler);
    scheduled(&folder, "DDPMScheduler", true);
    let draw = ["generate", "a cat", "--backend", "cpu", "-m", "model"];
    folder.fails(2, &draw, &["DDPMScheduler", "--sampler ddim", "euler"]);
    assert_eq!(folder.drawn(&euler), own);
    let shown = folder.run(&["inspect", "model"]).out;
    assert!(shown.contains("DDPMScheduler") && shown.contains("--sampler ddim"), "{shown}");
    let told = folder.run(&["inspect", "model", "--json"]).out.replace(' ', "");
    assert!(told.contains("\"sampler\":null"), "{told}");
    let planned = folder.run(&["plan", "-m", "model", "--backend", "cpu"]);
    assert!(
        planned.out.contains("steps of ddim") && planned.err.contains("DDPMScheduler"),
        "{}",
        planned.err
    );
}

#[test]
fn the_index_names_the_scheduler() {
    let (index_alone, both) = (copied(), copied());
    scheduled(&index_alone, "DDIMScheduler", false);
    scheduled(&both, "DDIMScheduler", true);
    assert_eq!(index_alone.drawn(&OWN), both.drawn(&OWN));
    let shown = index_alone.run(&["inspect", "model"]).out;
    assert!(shown.contains("DDIMScheduler (--sampler ddim)"), "{shown}");
}

/// Serialises a checkpoint again with one tensor changed.
fn with_tensor(
    bytes: &mut Vec<u8>,
    name: &str,
    change: impl FnOnce(&mut Dtype, &mut Vec<usize>, &mut Vec<u8>),
) {
    let file = SafeTensors::deserialize(bytes).unwrap();
    let tensor = file.tensor(name).unwrap();
    let (mut dtype, mut shape, mut data) = (tensor.dtype(), tensor.shape().to_vec(), tensor.data().to_vec());
    change(&mut dtype, &mut shape, &mut data);
    let views: Vec<(String, TensorView)> = file
        .tensors()
        .into_iter()
        .map(|(n, view)| match n == name {
            true => (n, TensorView::new(dtype, shape.clone(), &data).unwrap()),
            false => (n, view),
        })
        .collect();
    *bytes = safetensors::serialize(views, None).unwrap();
}

#[test]
fn tensors_of_the_wrong_shape_or_with_bad_numbers() {
    let wrong = |b: &mut Vec<u8>| with_tensor(b, "conv_in.weight", |_, shape, _| shape.swap(0, 1));
    refused(UNET, wrong, &["conv_in.weight", "[4, 32, 3, 3]", "[32, 4, 3, 3]"]);
    let nan = |b: &mut Vec<u8>| {
        with_tensor(b, "conv_in.weight", |_, _, data| data[..2].copy_from_slice(&0x7e00u16.to_le_bytes()))
    };
    refused(UNET, nan, &["conv_in.weight", "1 values", "NaN", "fetch it again"]);
    let renamed = |b: &mut Vec<u8>| {
        let at = b.windows(14).position(|w| w == b"conv_in.weight").unwrap();
        b[at..at + 14].copy_from_slice(b"conv_on.weight");
    };
    refused(UNET, renamed, &["no tensor conv_in.weight", "nearest name"]);
}

#[test]
fn what_is_in_a_file_and_not_used_is_told() {
    let folder = copied();
    let draw =
        |model: &str| folder.draw(&["-m", model, "a cat", "--steps", "1", "-o", "p.png", "--overwrite"]).err;
    // Positions as a tensor, in files of the first years, are no news.
    assert!(!draw("model").contains("not used"));
    let mut bytes = folder.read(&format!("model/{UNET}"));
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let extra = ["extra.weight", "extra.complex"].map(|name| {
        let dtype = if name.ends_with("complex") { Dtype::C64 } else { Dtype::I32 };
        (name.to_string(), TensorView::new(dtype, vec![0], &[]).unwrap())
    });
    bytes = safetensors::serialize(file.tensors().into_iter().chain(extra), None).unwrap();
    folder.write(&format!("model/{UNET}"), bytes);
    let told = format!("warning: model/{UNET}: 2 tensors are not used: extra.complex, extra.weight");
    assert!(draw("model").contains(&told), "{}", draw("model"));
    let said = folder.run(&["inspect", "model", "--json"]);
    assert_eq!(crate::support::json_lines(&said)[0]["components"][1]["dtypes"]["c64"], 1);
}

#[test]
fn numbers_are_read_whatever_their_type() {
    // Every weight as f64 is as good as f16, from which it came.
    let folder = copied();
    let path = format!("model/{UNET}");
    let bytes = folder.read(&path);
    let plain = folder.drawn(&["-m", "model", "--dtype", "f32"]);
    let file = SafeTensors::deserialize(&bytes).unwrap();
    let wide: Vec<(String, Vec<usize>, Vec<u8>)> = file
        .tensors()
        .into_iter()
        .map(|(name, view)| {
            assert_eq!(view.dtype(), Dtype::F16);
            let numbers = view.data().chunks_exact(2).map(|b| half(u16::from_le_bytes([b[0], b[1]])));
            (name, view.shape().to_vec(), numbers.flat_map(f64::to_le_bytes).collect())
        })
        .collect();
    let views = wide
        .iter()
        .map(|(name, shape, bytes)| (name, TensorView::new(Dtype::F64, shape.clone(), bytes).unwrap()));
    folder.write(&path, safetensors::serialize(views, None).unwrap());
    assert_eq!(plain, folder.drawn(&["-m", "model", "--dtype", "f32"]));
    let complex = |b: &mut Vec<u8>| {
        with_tensor(b, "conv_out.bias", |dtype, shape, data| {
            (*dtype, *data) = (Dtype::C64, vec![0; 8 * shape.iter().product::<usize>()])
        })
    };
    refused(UNET, complex, &["tensor conv_out.bias holds c64", "save the file in f32"]);
}

/// A half that is finite.
fn half(bits: u16) -> f64 {
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    let value = match exponent {
        0 => fraction * 2f64.powi(-24),
        _ => (1024.0 + fraction) * 2f64.powi(exponent - 25),
    };
    if bits & 0x8000 == 0 { value } else { -value }
}

/// Changes a file as [`refused`] does; the error is not about the file, but names the stage that went wrong.
fn broken(file: &str, change: impl FnOnce(&mut Vec<u8>), parts: &[&str]) {
    let folder = copied();
    let path = format!("model/{file}");
    let mut bytes = folder.read(&path);
    change(&mut bytes);
    folder.write(&path, bytes);
    let args = ["generate", "a cat", "--backend", "cpu", "--steps", "2", "-m", "model"];
    folder.fails(1, &args, &[&["no picture"], parts].concat());
}

#[test]
fn pictures_that_come_out_nan_or_flat_are_an_error_that_names_the_stage() {
    // Finite in the file, and beyond f32 as soon as it is multiplied.
    let huge = |b: &mut Vec<u8>| {
        with_tensor(b, "conv_out.bias", |dtype, _, data| {
            let values = data.len() / 2;
            (*dtype, *data) = (Dtype::F32, 3e38f32.to_le_bytes().repeat(values));
        })
    };
    broken(UNET, huge, &["the UNet, at step 1 of 2", "not finite", "weights"]);
    let zero = |b: &mut Vec<u8>| with_tensor(b, "decoder.conv_out.weight", |_, _, data| data.fill(0));
    let vae = "vae/diffusion_pytorch_model.safetensors";
    broken(
        vae,
        |b| {
            zero(b);
            with_tensor(b, "decoder.conv_out.bias", |_, _, data| data.fill(0))
        },
        &["the VAE decoder", "flat"],
    );
    let text = "text_encoder/model.safetensors";
    let huge = |b: &mut Vec<u8>| {
        let file = SafeTensors::deserialize(b).unwrap();
        let name =
            file.names().into_iter().find(|n| n.ends_with("final_layer_norm.weight")).unwrap().to_string();
        with_tensor(b, &name, |dtype, _, data| {
            let values = data.len() / 2;
            (*dtype, *data) = (Dtype::F32, 3e38f32.to_le_bytes().repeat(values));
        })
    };
    broken(text, huge, &["the text encoder", "not finite"]);
}
