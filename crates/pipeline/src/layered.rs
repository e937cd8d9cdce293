//! Latents decoded layer by layer, each some rows at a time: between layers all of a picture lies in the host's memory, so the
//! norms know the statistics of all of it, and it is the picture that is decoded in one piece.

use crate::bands::{Band, Bands};
use crate::decode::Decoded;
use crate::error::Result;
use crate::image::Picture;
use crate::parts::{Key, Part, Stage};
use crate::pipeline::Pipeline;
use calotype_graph::Error as GraphError;
use calotype_graph::ops::Range;
use calotype_models::Role;
use calotype_models::config::VaeConfig;
use calotype_models::vae_layers::{Layer, layers};
use calotype_tensor::parallel::prelude::*;
use calotype_tensor::{DType, HostTensor, Shape, Tensors};

/// Pixels whose numbers are summed up by themselves.
const PIXELS: usize = 1 << 14;

impl Pipeline {
    /// One image's latents, `[h, w, C]`, to its pixels, by a decoder that takes so many rows at a time.
    pub(crate) async fn decode_in_rows(&mut self, image: &[f32], key: Key, rows: usize) -> Result<Decoded> {
        let mut keys = key.in_rows(rows, &self.model).into_iter();
        let middle = keys.next().expect("a decoder begins with its middle");
        self.session.prepare(&self.model, &[middle]).await?;
        let (exec, part) = (&self.session.exec, self.session.get(middle));
        exec.write(&part.ports["latents"], 0, bytemuck::cast_slice(image))?;
        exec.run(part.program(Stage::Decoder), 0)?;
        let mut x = exec.read(&part.ports["y"]).await?;

        let mut before: Option<HostTensor> = None;
        for (layer, key) in layers(&self.model.config.vae).iter().zip(keys) {
            let terms = match layer.norm() {
                Some(norm) => Some(self.terms(&norm, &x).await?),
                None => None,
            };
            let beside = before.as_ref().filter(|_| layer.beside.is_some());
            let (y, not_finite) = self.layer((layer, key), &x, beside, terms.as_ref()).await?;
            if not_finite > 0 {
                return Ok(Decoded::NotFinite(not_finite));
            }
            before = Some(std::mem::replace(&mut x, y));
        }
        let [height, width] = [1, 2].map(|axis| x.shape().dims()[axis]);
        Ok(Decoded::Picture(Picture::new(width, height, 4, x.bytes().to_vec())?))
    }

    /// All of a layer's output from all of its inputs. Of the last layer it is the pixels, and how many of its numbers are not
    /// finite is found too.
    async fn layer(
        &mut self,
        (layer, key): (&Layer, Key),
        x: &HostTensor,
        beside: Option<&HostTensor>,
        terms: Option<&HostTensor>,
    ) -> Result<(HostTensor, u32)> {
        let Part::Layer { rows, .. } = key.part else { unreachable!("{key:?} is no layer") };
        self.session.prepare(&self.model, &[key]).await?;
        let (exec, part) = (&self.session.exec, self.session.get(key));
        if let Some(terms) = terms {
            exec.write(&part.ports["terms"], 0, terms.bytes())?;
        }
        let output = &part.ports[if layer.is_last() { "pixels" } else { "y" }];
        let (height, mut shape) = (x.shape().dims()[1], output.shape.dims().to_vec());
        shape[1] = height * layer.grows();
        let shape = Shape::new(&shape);
        let (mut bytes, mut not_finite) = (Vec::with_capacity(shape.bytes(output.dtype) as usize), 0);
        for Band { start, own } in Bands::new(height, rows).all() {
            for (name, whole) in [("x", x)].into_iter().chain(beside.map(|beside| ("beside", beside))) {
                let row = whole.bytes().len() / height;
                exec.write(&part.ports[name], 0, &whole.bytes()[start * row..][..rows * row])?;
            }
            if layer.is_last() {
                exec.write(&part.ports["found"], 0, bytemuck::cast_slice(&Range::CLEAR))?;
            }
            exec.run(part.program(Stage::Decoder), 0)?;
            if layer.is_last() {
                let found = exec.read(&part.ports["found"]).await?.to_u32();
                not_finite += Range::decode([found[0], found[1], found[2], found[3]]).not_finite;
            }
            let band = exec.read(output).await?;
            let row = band.bytes().len() / rows;
            bytes.extend_from_slice(&band.bytes()[own.start * row..own.end * row]);
        }
        Ok((HostTensor::from_bytes(shape, output.dtype, bytes), not_finite))
    }

    /// What a group norm does to each channel of all of its input, `[1, h, w, C]`: `[1, 2, C]`, scales, then shifts.
    async fn terms(&self, norm: &str, x: &HostTensor) -> Result<HostTensor> {
        let components: &dyn Tensors = &self.model.components;
        let mut weights = Vec::new();
        for part in ["weight", "bias"] {
            let name = format!("{}/{norm}.{part}", Role::Vae);
            let dtype = components.get(&name).map_err(GraphError::from)?.dtype;
            let bytes = components.read_all(&name).await.map_err(GraphError::from)?;
            weights.push(dtype.to_f32(&bytes));
        }
        let channels = x.shape().channels();
        let size = channels / self.model.config.vae.norm_num_groups;
        let count = (x.shape().rows() * size) as f64;
        let sums = sums(x);
        let mut terms = vec![0.0f32; 2 * channels];
        for (group, sums) in sums.chunks_exact(size).enumerate() {
            let [sum, squares] = [0, 1].map(|of| sums.iter().map(|channel| channel[of]).sum::<f64>());
            let mean = sum / count;
            let variance = squares / count - mean * mean;
            let inverse = 1.0 / (variance + f64::from(VaeConfig::NORM_EPS)).sqrt();
            for channel in group * size..(group + 1) * size {
                let scale = inverse * f64::from(weights[0][channel]);
                terms[channel] = scale as f32;
                terms[channels + channel] = (f64::from(weights[1][channel]) - mean * scale) as f32;
            }
        }
        Ok(HostTensor::from_f32([1, 2, channels], &terms))
    }
}

/// Of each channel the sum and the sum of squares. In f64 squares of f32 are exact, so that one pass does even for values far
/// from zero.
fn sums(x: &HostTensor) -> Vec<[f64; 2]> {
    let (channels, dtype) = (x.shape().channels(), x.dtype());
    let of = |bytes: &[u8]| {
        let mut sums = vec![[0.0f64; 2]; channels];
        for pixel in dtype.to_f32(bytes).chunks_exact(channels) {
            for ([sum, squares], v) in sums.iter_mut().zip(pixel) {
                let v = f64::from(*v);
                *sum += v;
                *squares += v * v;
            }
        }
        sums
    };
    let parts: Vec<Vec<[f64; 2]>> =
        x.bytes().par_chunks(PIXELS * channels * DType::size(dtype)).map(of).collect();
    let mut all = vec![[0.0; 2]; channels];
    for part in parts {
        all.iter_mut().zip(part).for_each(|(all, [sum, squares])| *all = [all[0] + sum, all[1] + squares]);
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Model;
    use crate::tiles::{Blend, Tiles};
    use calotype_graph::Precision;
    use std::path::Path;
    use std::rc::Rc;

    /// Places of `[1, h, w, C]`, so many rows and columns from a top and a left on.
    fn tile(x: &HostTensor, [top, left]: [usize; 2], [height, width]: [usize; 2]) -> HostTensor {
        let (row, place) =
            (x.bytes().len() / x.shape().dims()[1], x.shape().channels() * DType::size(x.dtype()));
        let rows = x.bytes().chunks_exact(row).skip(top).take(height);
        let bytes = rows.flat_map(|row| &row[left * place..][..width * place]).copied().collect();
        HostTensor::from_bytes([1, height, width, x.shape().channels()], x.dtype(), bytes)
    }

    /// What a decoder makes of its middle's output, or of a tile of it: its norms come to `terms`, or to what is then put there.
    async fn picture(
        pipeline: &mut Pipeline,
        mut x: HostTensor,
        terms: &mut Vec<Option<HostTensor>>,
    ) -> Picture {
        let mut before: Option<HostTensor> = None;
        for (index, layer) in layers(&pipeline.model.config.vae).iter().enumerate() {
            if index == terms.len() {
                terms.push(match layer.norm() {
                    Some(norm) => Some(pipeline.terms(&norm, &x).await.unwrap()),
                    None => None,
                });
            }
            let [rows, width] = [1, 2].map(|axis| x.shape().dims()[axis]);
            let part = Part::Layer { index, rows, width, truncate: false };
            let key = Key { part, precision: Precision::F32, refines: false };
            let beside = before.as_ref().filter(|_| layer.beside.is_some());
            let (y, _) = pipeline.layer((layer, key), &x, beside, terms[index].as_ref()).await.unwrap();
            before = Some(std::mem::replace(&mut x, y));
        }
        let [height, width] = [1, 2].map(|axis| x.shape().dims()[axis]);
        Picture::new(width, height, 4, x.bytes().to_vec()).unwrap()
    }

    /// Tiles differ from the picture by what their norms make of a tile's statistics, and by what the middle's attention sees.
    /// Where both know all of it their edges are left, and those fade into each other: a linear fade leaves up to 5 of 255.
    #[test]
    fn tiles_whose_norms_know_the_picture_blend_into_it() {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens");
        for (name, full) in [("sd2-tiny", [72, 80]), ("sdxl-tiny", [40, 64])] {
            let model = Model::at_path(&folder.join(name).join("model"), None).unwrap();
            let (factor, channels) = (model.config.vae.factor(), model.config.vae.latent_channels);
            let executor = Rc::new(calotype_cpu::CpuExecutor::new());
            let mut pipeline = Pipeline::new(executor, model, Precision::F32);
            let [height, width] = full.map(|side| side * factor);
            let middle =
                Key { part: Part::Middle { height, width }, precision: Precision::F32, refines: false };
            pollster::block_on(async {
                pipeline.session.prepare(&pipeline.model, &[middle]).await.unwrap();
                let (exec, part) = (&pipeline.session.exec, pipeline.session.get(middle));
                let value = |i: usize| (i as f32 * 0.7).sin() * 0.5 + (i as f32 * 0.013).cos();
                let latents: Vec<f32> = (0..full[0] * full[1] * channels).map(value).collect();
                exec.write(&part.ports["latents"], 0, bytemuck::cast_slice(&latents)).unwrap();
                exec.run(part.program(Stage::Decoder), 0).unwrap();
                let x = exec.read(&part.ports["y"]).await.unwrap();

                let mut terms = Vec::new();
                let whole = picture(&mut pipeline, x.clone(), &mut terms).await;
                for tiles in Tiles::of(full) {
                    let mut blend = Blend::new(tiles, full, factor);
                    for at in tiles.places(full) {
                        blend.add(at, &picture(&mut pipeline, tile(&x, at, tiles.size), &mut terms).await);
                    }
                    let blended = blend.finish().unwrap();
                    let apart: Vec<u8> =
                        whole.pixels.iter().zip(&blended.pixels).map(|(a, b)| a.abs_diff(*b)).collect();
                    let most = apart.iter().copied().max().unwrap_or(0);
                    let mean = apart.iter().map(|v| f64::from(*v)).sum::<f64>() / apart.len() as f64;
                    println!("{name}, {tiles}: at most {most} of 255, {mean:.4} on average");
                    assert!(most <= 2 && mean < 1e-3, "{name}, {tiles}: {most}, {mean}");
                }
            });
        }
    }
}
