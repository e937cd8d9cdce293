//! From a picture to the latents that a run begins from.

use crate::error::{Error, Result};
use crate::image::{Picture, Resize};
use crate::init::{InitPicture, StepRule, fitted};
use crate::model::Model;
use crate::order::Order;
use crate::parts::{Key, Part, Stage};
use crate::pipeline::Pipeline;
use crate::request::Request;
use calotype_field::Field;
use calotype_graph::Precision;
use calotype_graph::ops::Range;
use calotype_models::Role;
use calotype_sampling::noise::{nchw_to_nhwc, nhwc_to_nchw};
use calotype_tensor::{DType, HostTensor};
use std::sync::Arc;

/// What an encoder leaves.
enum Encoded {
    /// `[h, w, 2 C]`.
    Moments(Vec<f32>),
    /// So many values that are no numbers.
    NotFinite(u32),
}

impl Request {
    /// The share of the picture that is drawn anew where nothing is said, as in A1111.
    pub const STRENGTH: f64 = 0.75;

    /// Refuses what no run from a picture could honour.
    pub(crate) fn check_init(&self) -> Result<()> {
        let bad = |field: Field, why: String| Err(Error::request(field, format!("{field} {why}")));
        if let Some(strength) = self.strength.filter(|strength| !(0.0..=1.0).contains(strength)) {
            return bad(Field::Strength, format!("{strength} is not between 0 and 1"));
        }
        if self.init_img.is_some() {
            return Ok(());
        }
        let said = [
            (Field::Strength, self.strength.is_some()),
            (Field::Img2imgSteps, self.img2img_steps != StepRule::default()),
            (Field::Resize, self.resize != Resize::default()),
        ];
        match said.into_iter().find(|(_, is_said)| *is_said) {
            Some((field, _)) => {
                bad(field, format!("is about a picture to begin from: give {}", Field::InitImg))
            }
            None => Ok(()),
        }
    }

    /// What an order of a size begins from, where that is a picture.
    pub(crate) fn init(&self, model: &Model, [height, width]: [usize; 2]) -> Result<Option<InitPicture>> {
        let Some(picture) = &self.init_img else { return Ok(None) };
        let bad = |why: String| Err(Error::request(Field::InitImg, format!("{}: {why}", Field::InitImg)));
        if model.tiny.is_some() {
            return bad(format!("a tiny decoder reads no pictures: leave {} out", Field::Taesd));
        }
        let vae = model.components.weights(Role::Vae);
        if vae.is_none_or(|weights| weights.get("encoder.conv_in.weight").is_err()) {
            return bad(format!("the VAE of {} has no encoder: give another as {}", model.name, Field::Vae));
        }
        if model.refiner.is_some() {
            return bad(format!(
                "a refiner goes on with no picture that was given: leave {} out",
                Field::Refiner
            ));
        }
        let fits = [picture.height, picture.width] == [height, width];
        let picture =
            if fits { Arc::clone(picture) } else { Arc::new(fitted(picture, [height, width], self.resize)?) };
        Ok(Some(InitPicture {
            picture,
            strength: self.strength.unwrap_or(Self::STRENGTH),
            rule: self.img2img_steps,
            resize: self.resize,
            vae_noise: self.vae_noise.clone(),
            inpaint: None,
        }))
    }
}

impl Pipeline {
    /// A picture as latents, `[1, C, h, w]` f32, as samplers have them: the encoder's mean, or with noise of that shape its
    /// sample. Where the encoder's numbers are too large for f16 it is run in f32, which is logged.
    pub async fn encode_picture(&mut self, picture: &Picture, noise: Option<&[f32]>) -> Result<HostTensor> {
        let vae = &self.model.config.vae;
        let (c, factor) = (vae.latent_channels, vae.factor());
        let Picture { width, height, .. } = *picture;
        if !width.is_multiple_of(factor) || !height.is_multiple_of(factor) {
            let why = format!("{}: {width}x{height} is no multiple of {factor}", Field::InitImg);
            return Err(Error::request(Field::InitImg, why));
        }
        let [h, w] = [height / factor, width / factor];
        let part = Part::Encoder { height, width };
        let mut encoded = self.moments(picture, part).await?;
        if matches!(encoded, Encoded::NotFinite(_)) && self.encoder == Precision::F16 {
            log::warn!("f16 does not hold the numbers of this model's VAE encoder: it runs in f32");
            self.encoder = Precision::F32;
            encoded = self.moments(picture, part).await?;
        }
        let moments = match encoded {
            Encoded::Moments(moments) => moments,
            Encoded::NotFinite(count) => {
                let what = format!("produced {count} values that are not finite (NaN or infinity)");
                return Err(self.broken("the VAE encoder".into(), what, self.encoder));
            }
        };
        let noise = noise.map(|noise| nchw_to_nhwc(noise, [c, h, w]));
        let vae = &self.model.config.vae;
        let latents = moments.chunks_exact(2 * c).enumerate().flat_map(|(place, moments)| {
            let noise = noise.as_ref().map(|noise| &noise[place * c..][..c]);
            (0..c).map(move |i| {
                // diffusers: `DiagonalGaussianDistribution`, and `(latents - mean) * scaling_factor / std`.
                let deviation =
                    noise.map_or(0.0, |noise| (0.5 * moments[c + i].clamp(-30.0, 20.0)).exp() * noise[i]);
                let (mean, std) = vae.latents.as_ref().map_or((0.0, 1.0), |[mean, std]| (mean[i], std[i]));
                (moments[i] + deviation - mean) * vae.scaling_factor / std
            })
        });
        let latents: Vec<f32> = latents.collect();
        Ok(HostTensor::from_f32([1, c, h, w], &nhwc_to_nchw(&latents, [c, h, w])))
    }

    /// What an encoder makes of a picture.
    async fn moments(&mut self, picture: &Picture, part: Part) -> Result<Encoded> {
        let key = Key { part, precision: self.encoder, refines: false };
        self.session.prepare(&self.model, &[key]).await?;
        let (exec, part) = (&self.session.exec, self.session.get(key));
        let image = &part.ports["image"];
        let level = |value: &u8| f32::from(*value) / 127.5 - 1.0;
        let pixels = picture.rgb();
        let pixels = pixels.chunks_exact(3).flat_map(|p| [level(&p[0]), level(&p[1]), level(&p[2]), 0.0]);
        let pixels = HostTensor::from_f32(image.shape, &pixels.collect::<Vec<_>>()).cast(image.dtype);
        exec.write(image, 0, pixels.bytes())?;
        exec.write(&part.ports["found"], 0, bytemuck::cast_slice(&Range::CLEAR))?;
        exec.run(part.program(Stage::Encoder), 0)?;
        let found = exec.read(&part.ports["found"]).await?.to_u32();
        let found = Range::decode([found[0], found[1], found[2], found[3]]);
        if found.not_finite > 0 {
            return Ok(Encoded::NotFinite(found.not_finite));
        }
        Ok(Encoded::Moments(exec.read(&part.ports["moments"]).await?.cast(DType::F32).to_f32()))
    }

    /// The latents of the picture that an order begins from, one for all images or, where their samples differ, one for each.
    pub(crate) async fn begins_from(&mut self, order: &Order) -> Result<Option<HostTensor>> {
        let Some(init) = &order.init else { return Ok(None) };
        self.take_on(order)?;
        let Some(noise) = &init.vae_noise else {
            // Batches of one order, and prompts of one picture, begin from the same.
            if let Some((_, latents)) = self.begun_from.as_ref().filter(|(own, _)| *own == init.picture) {
                return Ok(Some(latents.clone()));
            }
            let latents = self.encode_picture(&init.picture, None).await?;
            self.begun_from = Some((Arc::clone(&init.picture), latents.clone()));
            return Ok(Some(latents));
        };
        let vae = &self.model.config.vae;
        let shape = [vae.latent_channels, order.height / vae.factor(), order.width / vae.factor()];
        let own = noise.shape();
        let own = own.dims();
        if own.len() != 4 || own[1..] != shape || ![1, order.batch_size].contains(&own[0]) {
            let (field, [c, h, w]) = (Field::Latents, shape);
            let why = format!(
                "{field}: tensor vae_noise.0 has shape {}, and this run takes [1, {c}, {h}, {w}]",
                noise.shape()
            );
            return Err(Error::request(field, why));
        }
        let (mut latents, images) = (Vec::new(), own[0]);
        for noise in noise.to_f32().chunks_exact(shape.iter().product()) {
            latents.extend(self.encode_picture(&init.picture, Some(noise)).await?.to_f32());
        }
        Ok(Some(HostTensor::from_f32([images, shape[0], shape[1], shape[2]], &latents)))
    }
}
