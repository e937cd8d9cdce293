//! Noise from a file, and latents to one: for exact comparison with other programs.

use anyhow::bail;
use calotype::{DType, GivenNoise, HostTensor, Request};
use calotype_weights::{Checkpoint, Tensors, warn_unused};
use safetensors::{Dtype, tensor::TensorView};
use std::path::Path;

/// Puts what a file holds into a request: `latents` and `noise.0`, `noise.1`, …, all f32 and of one shape, `[B, C, h, w]`. A
/// request that begins from a picture takes `noise.0` in the place of `latents`, and may have `vae_noise.0`, and with a mask
/// `vae_noise.1`.
pub fn read(path: &Path, request: &mut Request) -> anyhow::Result<()> {
    let file = Checkpoint::open(path)?;
    let begins = request.init_img.is_some();
    let (start, first) = (if begins { "noise.0" } else { "latents" }, usize::from(begins));
    let latents = tensor(&file, path, start)?;
    let shape = latents.shape();
    if shape.rank() != 4 {
        bail!("{}: tensor {start} has shape {shape}; [B, C, H/8, W/8] is needed", path.display());
    }
    let mut added = Vec::new();
    loop {
        let name = format!("noise.{}", first + added.len());
        if !file.names().contains(&name.as_str()) {
            break;
        }
        let noise = tensor(&file, path, &name)?;
        if noise.shape() != shape {
            bail!(
                "{}: tensor {name} has shape {}, and {start} {shape}: they must agree",
                path.display(),
                noise.shape()
            );
        }
        added.push(noise);
    }
    let [sample, left] = ["vae_noise.0", "vae_noise.1"];
    let given = |name: &str, is_taken: bool| {
        let is_there = is_taken && file.names().contains(&name);
        is_there.then(|| tensor(&file, path, name)).transpose()
    };
    request.vae_noise = given(sample, begins)?;
    request.masked_vae_noise = given(left, request.mask.is_some())?;
    let used = |name: &&str| {
        let added = (0..added.len()).any(|i| *name == format!("noise.{}", first + i));
        let samples = [(sample, &request.vae_noise), (left, &request.masked_vae_noise)];
        let sample = samples.iter().any(|(own, given)| name == own && given.is_some());
        added || sample || *name == start
    };
    warn_unused(&file.describe(""), "", file.names().into_iter().filter(|name| !used(name)));
    request.noise = Some(GivenNoise { latents, added });
    Ok(())
}

fn tensor(file: &Checkpoint, path: &Path, name: &str) -> anyhow::Result<HostTensor> {
    let info = file.get(name)?;
    if info.encoding != DType::F32.into() {
        bail!(
            "{}: tensor {name} is {}, and f32 is needed: save it with .float()",
            path.display(),
            info.encoding
        );
    }
    if info.shape.len() > 4 || info.shape.contains(&0) {
        bail!("{}: tensor {name} has shape {:?}; [B, C, H/8, W/8] is needed", path.display(), info.shape);
    }
    let bytes = pollster::block_on(file.read_all(name))?.into_owned();
    let values = HostTensor::from_bytes(info.shape.as_slice(), DType::F32, bytes);
    match values.to_f32().iter().filter(|v| !v.is_finite()).count() {
        0 => Ok(values),
        n => {
            bail!("{}: tensor {name} holds {n} values that are not finite (NaN or infinity)", path.display())
        }
    }
}

/// A safetensors file with the one tensor `latents`.
pub fn file(latents: &HostTensor) -> anyhow::Result<Vec<u8>> {
    let view = TensorView::new(Dtype::F32, latents.shape().dims().to_vec(), latents.bytes())?;
    Ok(safetensors::serialize([("latents", view)], None)?)
}
