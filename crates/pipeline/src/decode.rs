//! Latents to pictures, and to previews.

use crate::error::{Error, Result};
use crate::image::Picture;
use crate::noise::nchw_to_nhwc;
use crate::order::Order;
use crate::parts::{Key, Part, Stage};
use crate::pipeline::Pipeline;
use crate::preview::Colours;
use crate::tiles::Blend;
use calotype_field::Field;
use calotype_graph::Precision;
use calotype_graph::ops::Range;
use calotype_tensor::HostTensor;
use std::rc::Rc;

/// What a decoder leaves.
pub(crate) enum Decoded {
    Picture(Picture),
    /// So many values that are no numbers.
    NotFinite(u32),
    /// Every pixel alike.
    Flat,
}

impl Decoded {
    /// What it is, a flat picture being none.
    fn unless_flat(self) -> Self {
        match self {
            Self::Picture(picture) if is_flat(&picture.pixels) => Self::Flat,
            other => other,
        }
    }
}

/// Whether all of several pixels are alike.
fn is_flat(pixels: &[u8]) -> bool {
    let first = &pixels[..4];
    pixels.len() > 4 && pixels.chunks_exact(4).all(|pixel| pixel == first)
}

impl Pipeline {
    /// Latents, `[B, C, h, w]` f32 as the sampler leaves them, to pictures. Where the decoder's numbers are too large for
    /// f16, it is run in f32, which is logged.
    pub async fn decode_latents(&mut self, latents: &HostTensor) -> Result<Vec<Picture>> {
        let factor = self.model.config.vae.factor();
        let channels = self.model.config.vae.latent_channels;
        let &[_, c, h, w] = latents.shape().dims() else {
            let why = format!("latents are [B, C, h, w], not {}", latents.shape());
            return Err(Error::request(Field::Latents, why));
        };
        if c != channels {
            return Err(Error::request(
                Field::Latents,
                format!("latents have {c} channels, and the model's VAE takes {channels}"),
            ));
        }
        let part = Part::Decoder { height: h * factor, width: w * factor, truncate: self.truncate };
        let mut values = nchw_to_nhwc(&latents.to_f32(), [c, h, w]);
        if let Some([mean, std]) = &self.model.config.vae.latents {
            // The decoder divides by the scaling factor (diffusers: `latents * std / scaling_factor + mean`).
            let scale = self.model.config.vae.scaling_factor;
            for place in values.chunks_exact_mut(c) {
                place.iter_mut().zip(mean.iter().zip(std)).for_each(|(v, (m, s))| *v = *v * s + m * scale);
            }
        }
        let mut pictures = Vec::new();
        for image in values.chunks_exact(c * h * w) {
            let mut decoded = self.decode_image(image, [h, w], part).await?;
            if matches!(decoded, Decoded::NotFinite(_)) && self.decoder == Precision::F16 {
                log::warn!("f16 does not hold the numbers of this model's VAE decoder: it runs in f32");
                self.decoder = Precision::F32;
                decoded = self.decode_image(image, [h, w], part).await?;
            }
            let (stage, precision, what) = match decoded {
                Decoded::Picture(picture) => {
                    pictures.push(picture);
                    continue;
                }
                Decoded::NotFinite(count) => (
                    "the VAE decoder",
                    self.decoder,
                    format!("produced {count} values that are not finite (NaN or infinity)"),
                ),
                Decoded::Flat => {
                    let flat = image.iter().all(|v| *v == image[0]);
                    let (stage, precision) =
                        if flat { ("the UNet", self.precision) } else { ("the VAE decoder", self.decoder) };
                    (stage, precision, "left a flat picture, every pixel alike".into())
                }
            };
            return Err(self.broken(stage.into(), what, precision));
        }
        Ok(pictures)
    }

    /// One image's latents, `[h, w, C]`, to its pixels: at once, or tile by tile.
    async fn decode_image(&mut self, image: &[f32], full: [usize; 2], part: Part) -> Result<Decoded> {
        let key = Key { part, precision: self.decoder, refines: false };
        let strategy = self.strategy_of(key)?;
        if let Some(rows) = strategy.rows {
            return Ok(self.decode_in_rows(image, key, rows).await?.unless_flat());
        }
        let Some(tiles) = strategy.tiles else {
            return Ok(self.decode(image, key).await?.unless_flat());
        };
        let mut blend = Blend::new(tiles, full, self.model.config.vae.factor());
        let row = image.len() / full[0];
        for [top, left] in tiles.places(full) {
            let [height, width] = tiles.size;
            let channels = row / full[1];
            let rows = image.chunks_exact(row).skip(top).take(height);
            let tile: Vec<f32> =
                rows.flat_map(|row| &row[left * channels..][..width * channels]).copied().collect();
            match self.decode(&tile, key.in_tiles(tiles, &self.model)).await? {
                Decoded::Picture(picture) => blend.add([top, left], &picture),
                other => return Ok(other),
            }
        }
        Ok(Decoded::Picture(blend.finish()?).unless_flat())
    }

    /// Latents, `[h, w, C]`, to their pixels.
    async fn decode(&mut self, image: &[f32], key: Key) -> Result<Decoded> {
        self.session.prepare(&self.model, &[key]).await?;
        let (exec, part) = (&self.session.exec, self.session.get(key));
        let clamped: Vec<f32>;
        let image = match self.model.tiny {
            // diffusers: `DecoderTiny.forward`.
            Some(_) => {
                clamped = image.iter().map(|v| (v / 3.0).tanh() * 3.0).collect();
                &clamped
            }
            None => image,
        };
        exec.write(&part.ports["latents"], 0, bytemuck::cast_slice(image))?;
        exec.write(&part.ports["found"], 0, bytemuck::cast_slice(&Range::CLEAR))?;
        exec.run(part.program(Stage::Decoder), 0)?;
        let found = exec.read(&part.ports["found"]).await?.to_u32();
        let found = Range::decode([found[0], found[1], found[2], found[3]]);
        if found.not_finite > 0 {
            return Ok(Decoded::NotFinite(found.not_finite));
        }
        let pixels = exec.read(&part.ports["pixels"]).await?;
        let [height, width] = [1, 2].map(|axis| pixels.shape().dims()[axis]);
        Ok(Decoded::Picture(Picture::new(width, height, 4, pixels.bytes().to_vec())?))
    }

    /// Has runs show what they are at ([`Denoising::preview`](crate::Denoising::preview)). Where the colours of the latents'
    /// channels are not known, they are learned from the model's own decoder, which takes one decoding of the order's size.
    pub async fn prepare_previews(&mut self, order: &Order) -> Result<()> {
        if self.colours.is_none() {
            self.take_on(order)?;
            let (channels, factor) = (self.model.config.vae.latent_channels, self.model.config.vae.factor());
            self.colours = match Colours::known(channels) {
                Some(known) => Some(Rc::new(known)),
                None => {
                    let samples = Colours::samples([channels, order.height / factor, order.width / factor]);
                    let decoded = self.decode_latents(&samples).await?;
                    Colours::learned(&samples, &decoded[0]).map(Rc::new)
                }
            };
        }
        Ok(())
    }
}
