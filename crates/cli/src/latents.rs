//! Noise from a file, and latents to one: for exact comparison with other programs.

use anyhow::bail;
use calotype::{DType, GivenNoise, HostTensor};
use calotype_weights::{Checkpoint, Tensors, warn_unused};
use safetensors::{Dtype, tensor::TensorView};
use std::path::Path;

/// Reads `latents` and `noise.0`, `noise.1`, …, all f32 and of one shape, `[B, C, h, w]`.
pub fn read(path: &Path) -> anyhow::Result<GivenNoise> {
    let file = Checkpoint::open(path)?;
    let latents = tensor(&file, path, "latents")?;
    let shape = latents.shape();
    if shape.rank() != 4 {
        bail!("{}: tensor latents has shape {shape}; [B, C, H/8, W/8] is needed", path.display());
    }
    let mut added = Vec::new();
    loop {
        let name = format!("noise.{}", added.len());
        if !file.names().contains(&name.as_str()) {
            break;
        }
        let noise = tensor(&file, path, &name)?;
        if noise.shape() != shape {
            bail!(
                "{}: tensor {name} has shape {}, and latents {shape}: they must agree",
                path.display(),
                noise.shape()
            );
        }
        added.push(noise);
    }
    let used = |name: &&str| *name == "latents" || (0..added.len()).any(|i| *name == format!("noise.{i}"));
    warn_unused(&file.describe(""), "", file.names().into_iter().filter(|name| !used(name)));
    Ok(GivenNoise { latents, added })
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
