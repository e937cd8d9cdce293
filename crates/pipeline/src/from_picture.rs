//! From a picture to the latents that a run begins from.

use crate::error::{Error, Result};
use crate::guidance::Guidance;
use crate::image::{Picture, Resize, fitted};
use crate::init::{Beginning, InitPicture, StepRule};
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

/// The pixels of a picture, with values of -1 to 1.
struct Pixels {
    size: [usize; 2],
    levels: Vec<f32>,
}

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

    /// How far a picture is followed by a model that changes it where nothing is said, as by diffusers and A1111.
    pub const IMAGE_CFG_SCALE: f32 = 1.5;

    /// Refuses what a model that changes pictures cannot honour, and of others what those alone can.
    pub(crate) fn check_edit(&self, model: &Model) -> Result<()> {
        let bad =
            |field: Field, why: String| Err(Error::request(field, format!("{field}: {} {why}", model.name)));
        if !model.config.unet.edits() {
            let why = "is not told a picture, as InstructPix2Pix is (8 input channels): leave it out";
            return self.image_cfg_scale.map_or(Ok(()), |_| bad(Field::ImageCfgScale, why.into()));
        }
        if self.init_img.is_none() {
            let why = format!("changes pictures as the prompt says: give one as {}", Field::InitImg);
            return bad(Field::InitImg, why);
        }
        let said = [
            (Field::Guidance, self.guidance != Guidance::Cfg),
            (Field::CfgRescale, self.cfg_rescale > 0.0),
            (Field::CfgStart, self.cfg_start > 0.0),
            (Field::CfgEnd, self.cfg_end < 1.0),
            (Field::SMinUncond, self.s_min_uncond > 0.0),
        ];
        let why = "is guided by a picture too, in one way and all the time: leave it out";
        let said = said.into_iter().find(|(_, is_said)| *is_said);
        said.map_or(Ok(()), |(field, _)| bad(field, why.into()))
    }

    /// Refuses what no run from a picture could honour.
    pub(crate) fn check_init(&self) -> Result<()> {
        let bad = |field: Field, why: String| Err(Error::request(field, format!("{field} {why}")));
        if let Some(strength) = self.strength.filter(|strength| !(0.0..=1.0).contains(strength)) {
            return bad(Field::Strength, format!("{strength} is not between 0 and 1"));
        }
        if let Some(scale) = self.image_cfg_scale.filter(|scale| !(0.0..f32::INFINITY).contains(scale)) {
            return bad(Field::ImageCfgScale, format!("{scale} is no number of zero or more"));
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
        let Some((picture, mask)) = self.begins() else { return Ok(None) };
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
        let size = [height, width];
        let (inpaint, picture) = match &mask {
            Some(mask) => {
                let (inpaint, part) = self.inpaint(model, (&picture, mask), size)?;
                (Some(inpaint), Arc::new(part))
            }
            None if [picture.height, picture.width] == size => (None, picture),
            None => (None, Arc::new(fitted(&picture, size, self.resize)?)),
        };
        let edits = model.config.unet.edits();
        Ok(Some(InitPicture {
            picture,
            strength: self.strength.unwrap_or(if edits { 1.0 } else { Self::STRENGTH }),
            rule: self.img2img_steps,
            resize: self.resize,
            vae_noise: self.vae_noise.clone(),
            inpaint,
            edits: edits.then(|| self.image_cfg_scale.unwrap_or(Self::IMAGE_CFG_SCALE)),
        }))
    }
}

impl Pipeline {
    /// A picture as latents, `[1, C, h, w]` f32, as samplers have them: the encoder's mean, or with noise of that shape its
    /// sample. Where the encoder's numbers are too large for f16 it is run in f32, which is logged.
    pub async fn encode_picture(&mut self, picture: &Picture, noise: Option<&[f32]>) -> Result<HostTensor> {
        self.encode_pixels(&Pixels { size: [picture.height, picture.width], levels: picture.levels() }, noise)
            .await
    }

    async fn encode_pixels(&mut self, pixels: &Pixels, noise: Option<&[f32]>) -> Result<HostTensor> {
        let vae = &self.model.config.vae;
        let (c, factor) = (vae.latent_channels, vae.factor());
        let [height, width] = pixels.size;
        if !width.is_multiple_of(factor) || !height.is_multiple_of(factor) {
            let why = format!("{}: {width}x{height} is no multiple of {factor}", Field::InitImg);
            return Err(Error::request(Field::InitImg, why));
        }
        let [h, w] = [height / factor, width / factor];
        let part = Part::Encoder { height, width };
        let mut encoded = self.moments(pixels, part).await?;
        if matches!(encoded, Encoded::NotFinite(_)) && self.encoder == Precision::F16 {
            log::warn!("f16 does not hold the numbers of this model's VAE encoder: it runs in f32");
            self.encoder = Precision::F32;
            encoded = self.moments(pixels, part).await?;
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
    async fn moments(&mut self, pixels: &Pixels, part: Part) -> Result<Encoded> {
        let key = Key { part, precision: self.encoder, refines: false };
        self.session.prepare(&self.model, &[key]).await?;
        let (exec, part) = (&self.session.exec, self.session.get(key));
        let image = &part.ports["image"];
        let pixels = pixels.levels.chunks_exact(3).flat_map(|p| [p[0], p[1], p[2], 0.0]);
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

    /// What an order begins from.
    pub(crate) async fn begins_from(&mut self, order: &Order) -> Result<Option<Beginning>> {
        let Some(init) = &order.init else { return Ok(None) };
        self.take_on(order)?;
        let told = init.inpaint.as_ref().filter(|inpaint| inpaint.is_told);
        let left_noise = told.and_then(|inpaint| inpaint.vae_noise.as_ref());
        // Batches of one order, and prompts of one picture, begin from the same.
        let key = (Arc::clone(&init.picture), told.map(|inpaint| inpaint.mask.clone()));
        let is_mean = init.vae_noise.is_none() && left_noise.is_none();
        if let Some((_, begun)) = self.begun_from.as_ref().filter(|(own, _)| is_mean && *own == key) {
            return Ok(Some(begun.clone()));
        }
        let size = [order.height, order.width];
        let own = Pixels { size, levels: init.picture.levels() };
        let picture = self.latents_of(order, &own, (init.vae_noise.as_ref(), 0)).await?;
        let told = match told {
            None if init.edits.is_some() => Some(self.unscaled(&own).await?),
            None => None,
            Some(inpaint) => {
                let left = Pixels { size, levels: inpaint.left(&init.picture) };
                Some(self.latents_of(order, &left, (left_noise, 1)).await?)
            }
        };
        let begun = Beginning { picture, told };
        if is_mean {
            self.begun_from = Some((key, begun.clone()));
        }
        Ok(Some(begun))
    }

    /// The mean of some pixels' latents as the encoder has it.
    async fn unscaled(&mut self, pixels: &Pixels) -> Result<HostTensor> {
        let (mean, scale) = (self.encode_pixels(pixels, None).await?, self.model.config.vae.scaling_factor);
        let values: Vec<f32> = mean.to_f32().iter().map(|value| value / scale).collect();
        Ok(HostTensor::from_f32(mean.shape(), &values))
    }

    /// The latents of some pixels: their mean, one for all images, or with noise of `vae_noise.N` their sample, for each image
    /// its own where noises differ.
    async fn latents_of(
        &mut self,
        order: &Order,
        pixels: &Pixels,
        (noise, n): (Option<&HostTensor>, usize),
    ) -> Result<HostTensor> {
        let Some(noise) = noise else { return self.encode_pixels(pixels, None).await };
        let vae = &self.model.config.vae;
        let shape = [vae.latent_channels, order.height / vae.factor(), order.width / vae.factor()];
        let own = noise.shape();
        let own = own.dims();
        if own.len() != 4 || own[1..] != shape || ![1, order.batch_size].contains(&own[0]) {
            let (field, [c, h, w]) = (Field::Latents, shape);
            let why = format!(
                "{field}: tensor vae_noise.{n} has shape {}, and this run takes [1, {c}, {h}, {w}]",
                noise.shape()
            );
            return Err(Error::request(field, why));
        }
        let (mut latents, images) = (Vec::new(), own[0]);
        for noise in noise.to_f32().chunks_exact(shape.iter().product()) {
            latents.extend(self.encode_pixels(pixels, Some(noise)).await?.to_f32());
        }
        Ok(HostTensor::from_f32([images, shape[0], shape[1], shape[2]], &latents))
    }
}
