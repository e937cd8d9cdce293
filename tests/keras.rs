//! `keras/`: Keras' files hold the tensors that diffusers has, and draw the same picture.

use crate::support::Device;
use calotype::convert::{How, convert};
use calotype::{Assembly, DType, FileReport, Hints, ModelPlace, Precision, Request, Role};
use calotype_tensor::Tensors;
use calotype_weights::Checkpoint;
use calotype_weights::schemes::{FileParts, keras};
use safetensors::tensor::TensorView;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

type Stored = (Vec<usize>, Vec<u8>);

fn goldens() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens")
}

/// Tensors of a component by diffusers' names, as f32.
fn expected(component: &str) -> BTreeMap<String, Stored> {
    let file = Checkpoint::open(goldens().join("keras/expected.safetensors")).unwrap();
    let names = file.names();
    let own = names.iter().filter_map(|name| Some((*name, name.strip_prefix(component)?.strip_prefix('/')?)));
    own.map(|(name, own)| (own.to_owned(), numbers(&file, name))).collect()
}

/// A tensor's shape, and its numbers as f32.
fn numbers(source: &dyn Tensors, name: &str) -> Stored {
    let (info, bytes) = (source.get(name).unwrap(), pollster::block_on(source.read_all(name)).unwrap());
    let numbers = info.dtype.to_f32(&bytes).into_iter().flat_map(f32::to_le_bytes).collect();
    (info.shape.clone(), numbers)
}

fn open(file: &str) -> Checkpoint {
    keras::originals(Checkpoint::open(goldens().join("keras").join(file)).unwrap(), file).unwrap()
}

/// Compares a component's tensors with those expected of it; `part` is what their names begin with.
fn same(file: &str, component: &str, theirs: &BTreeMap<String, Stored>) {
    let parts = FileParts::of(Rc::new(open(file))).unwrap();
    assert_eq!((parts.components.len(), parts.rest.len()), (1, 0), "{file}");
    let part = &parts.components[component];
    let (ours, names): (Vec<&str>, Vec<&str>) = (part.names(), theirs.keys().map(String::as_str).collect());
    let odd =
        ours.iter().find(|name| !names.contains(name)).or(names.iter().find(|name| !ours.contains(name)));
    assert_eq!(odd, None, "{file}");
    for (name, (shape, numbers)) in theirs {
        // Keras has convolutions of one pixel where diffusers has matrices, and what takes them takes either.
        let (own, bytes) = self::numbers(part, name);
        assert_eq!(&own, shape, "{file}: {name}");
        assert!(bytes == *numbers, "{file}: {name}");
    }
}

#[test]
fn what_keras_files_hold_is_told_by_its_order() {
    let vae = expected("vae");
    let half = |begins: [&str; 2]| {
        let of = vae.iter().filter(|(name, _)| begins.iter().any(|begin| name.starts_with(begin)));
        of.map(|(name, tensor)| (name.clone(), tensor.clone())).collect::<BTreeMap<_, _>>()
    };
    same("kcv_decoder.h5", "vae", &half(["decoder.", "post_quant_conv."]));
    same("vae_encoder.h5", "vae", &half(["encoder.", "quant_conv."]));
    same("kcv_encoder.h5", "text_encoder", &expected("text_encoder"));
    same("kcv_diffusion_model.h5", "unet", &expected("unet"));
    same("diffusion_model.h5", "unet", &expected("unet_linear"));
    let place = goldens().join("keras/kcv_diffusion_model.h5");
    let report = pollster::block_on(FileReport::of(Checkpoint::open(&place).unwrap())).unwrap();
    assert_eq!(report.unet.unwrap().purpose, "Stable Diffusion 1");
}

/// A component in a file of its own, under diffusers' names.
fn write(path: &Path, tensors: &BTreeMap<String, Stored>) {
    let views = tensors.iter().map(|(name, (shape, bytes))| {
        (name, TensorView::new(safetensors::Dtype::F32, shape.clone(), bytes).unwrap())
    });
    safetensors::serialize_to_file(views, None, path).unwrap();
}

#[test]
fn keras_weights_draw_as_the_same_ones_of_diffusers() {
    let folder = tempfile::tempdir().unwrap();
    for component in ["unet", "vae"] {
        write(&folder.path().join(component), &expected(component));
    }
    let keras = goldens().join("keras");
    let here = |path: &Path| ModelPlace::Here(path.display().to_string());
    let drawn = |unet: &Path, vae: &Path| {
        let parts = vec![(Role::Denoiser, here(unet)), (Role::Vae, here(vae))];
        let with = Assembly { parts, hints: Hints::default() };
        let model = here(&goldens().join("sd1-tiny/model")).open_with(Precision::F32, &with).unwrap();
        let request = Request { width: Some(32), height: Some(32), steps: Some(2), ..Request::new("a cat") };
        let output = Device::cpu().pipeline(model, Precision::F32).text_to_image(&request).unwrap();
        (output.latents.bytes().to_vec(), output.pictures[0].rgb().into_owned())
    };
    let ours = drawn(&keras.join("kcv_diffusion_model.h5"), &keras.join("kcv_decoder.h5"));
    let theirs = drawn(&folder.path().join("unet"), &folder.path().join("vae"));
    assert!(ours == theirs);
}

#[test]
fn a_folder_of_keras_files_is_a_model() {
    let folder = tempfile::tempdir().unwrap();
    for file in ["kcv_encoder.h5", "kcv_diffusion_model.h5", "kcv_decoder.h5", "vae_encoder.h5"] {
        std::fs::copy(goldens().join("keras").join(file), folder.path().join(file)).unwrap();
    }
    let files =
        ModelPlace::Here(folder.path().display().to_string()).files(None, &Assembly::default()).unwrap();
    let to = folder.path().join("model.safetensors");
    convert(files, &to, &How { dtype: Some(DType::F16), ..How::default() }, false, &mut |_| true).unwrap();
    let parts = FileParts::of(Rc::new(Checkpoint::open(&to).unwrap())).unwrap();
    for component in ["text_encoder", "unet", "vae"] {
        let (part, theirs) = (&parts.components[component], expected(component));
        assert_eq!(part.names().len(), theirs.len(), "{component}");
        for (name, stored) in theirs {
            assert!(numbers(part, &name) == stored, "{component}: {name}");
        }
    }
}

#[test]
fn other_keras_files_are_told() {
    let refused = |path: &Path| {
        ModelPlace::Here(path.display().to_string()).open(Precision::F32).err().unwrap().to_string()
    };
    let error = refused(&goldens().join("files/early.h5"));
    assert!(
        error.contains("Keras' weights, but of no text encoder, UNet") && error.contains("weight 1 of 24"),
        "{error}"
    );
    // A folder of such files is a model where they are all there.
    let error = refused(&goldens().join("keras"));
    assert!(error.contains("both hold"), "{error}");
}
