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
