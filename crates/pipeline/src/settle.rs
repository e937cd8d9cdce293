//! A request and a model make an order.

use crate::error::{Error, Result};
use crate::model::Model;
use crate::order::Order;
use crate::request::Request;
use calotype_field::Field;
use calotype_models::config::{Activation, TextEncoder};
use calotype_models::{Role, layout};
use calotype_sampling::Chosen;
use calotype_sampling::noise::Origin;

impl Request {
    /// The request as a model draws it: what was left open is the model's own, and everything is checked.
    pub fn settle(&self, model: &Model) -> Result<Order> {
        self.check()?;
        let [height, width] = self.size(model)?;
        self.check_told(model)?;
        let form = model.defaults.form(self);
        let Chosen { sampler, schedule, dialect, program } = self.sampler(model)?;
        let factor = model.config.vae.factor();
        let choice = self.choice();
        // Noise levels one by one say how many steps there are.
        let steps = if choice.listed().is_some() { program.count() } else { form.steps };
        let origin = Origin {
            rng: self.rng,
            batch_seeds: self.batch_seeds,
            seed: self.seed,
            variation: self.variation(),
            resized_from: self.seed_resize_from.map(|[width, height]| [height / factor, width / factor]),
        };
        let mut order = Order {
            prompts: self.prompts.clone(),
            negative_prompts: self.negative_prompts.clone(),
            prompts_2: self.prompts_2.clone(),
            negative_prompts_2: self.negative_prompts_2.clone(),
            negative_is_zero: model.config.index.empty_is_zero && self.has_no_negative(),
            prompt_style: self.prompt_style,
            emphasis: self.emphasis,
            clip_skip: self.layer(model)?,
            weight: 1.0,
            tokens: 0,
            embedded_guidance: model.config.unet.time_cond_proj_dim,
            ids: if model.config.unet.text_time.is_some() { self.ids([width, height]) } else { Vec::new() },
            width,
            height,
            batch_size: self.batch_size,
            steps,
            cfg_scale: form.cfg_scale,
            cfg_rescale: self.cfg_rescale,
            origin,
            seed_resize_from: self.seed_resize_from,
            few_steps: form.few_steps.map(|few| few.name()),
            model: model.name.clone(),
            loras: model.loras.clone(),
            sampler,
            schedule,
            dialect,
            choice,
            program,
            noise: self.noise.clone(),
        };
        order.check_loras()?;
        order.weight = order.own_weight()?;
        order.tokens = model.tokens(&order)?;
        Ok(order)
    }

    /// Which of the text encoder's layers is taken. Stable Diffusion 2 and SDXL have their own, as in A1111.
    fn layer(&self, model: &Model) -> Result<Option<usize>> {
        // Of those whose states are not the last layer's that is settled.
        let own = |text: &&TextEncoder| text.clip.hidden_act == Activation::QuickGelu && !text.penultimate;
        let Some(text) = model.config.texts.iter().find(own).map(|text| &text.clip) else { return Ok(None) };
        let asked = self.clip_skip;
        match asked.filter(|layer| *layer > text.num_hidden_layers) {
            None => Ok(asked),
            Some(layer) => Err(Error::request(
                Field::ClipSkip,
                format!(
                    "{} {layer} leaves no layer: the text encoder has {}",
                    Field::ClipSkip,
                    text.num_hidden_layers
                ),
            )),
        }
    }

    /// What SDXL is told of a picture's sizes (Podell et al. 2023, arXiv:2307.01952; diffusers: `_get_add_time_ids`):
    /// heights before widths.
    fn ids(&self, size: [usize; 2]) -> Vec<f32> {
        let each = [
            self.original_size.unwrap_or(size),
            self.crop.unwrap_or([0; 2]),
            self.target_size.unwrap_or(size),
        ];
        each.iter().flat_map(|[x, y]| [*y as f32, *x as f32]).collect()
    }

    /// Whether nothing is to be kept away from, by A1111's rule.
    fn has_no_negative(&self) -> bool {
        self.negative_prompts.iter().chain(&self.negative_prompts_2).all(String::is_empty)
    }

    /// Refuses what a model without it would be told of a second text encoder and of sizes.
    fn check_told(&self, model: &Model) -> Result<()> {
        let bad = |field: Field, why: &str| {
            Err(Error::request(field, format!("{field}: {} {why}: leave it out", model.name)))
        };
        let second =
            [(Field::Prompts2, &self.prompts_2), (Field::NegativePrompts2, &self.negative_prompts_2)];
        match second.into_iter().find(|(_, texts)| !texts.is_empty()) {
            Some((field, _)) if model.config.texts.len() < 2 => {
                return bad(field, "has one text encoder");
            }
            _ => {}
        }
        match self.sizes().into_iter().find(|(_, size)| size.is_some()) {
            Some((field, _)) if model.config.unet.text_time.is_none() => {
                bad(field, "is not told of sizes, as SDXL is")
            }
            _ => Ok(()),
        }
    }

    /// The picture's `[height, width]` in pixels: as asked, or the model's own.
    pub fn size(&self, model: &Model) -> Result<[usize; 2]> {
        let own = model.config.default_size();
        let factor = model.config.vae.factor();
        let side = |asked: Option<usize>, own: Option<usize>, field: Field| {
            let pixels = asked.or(own).ok_or_else(|| {
                Error::request(field, format!("the model does not say its size: give {field} in pixels"))
            })?;
            Self::check_side(pixels, field).map_err(|error| match asked {
                Some(_) => error,
                None => Error::Model(format!(
                    "the model's own size, {pixels} pixels (sample_size in {}), is too large: give {field}, at most {}",
                    layout::config(Role::Denoiser),
                    Self::MOST_PIXELS
                )),
            })?;
            if pixels == 0 || !pixels.is_multiple_of(factor) {
                let (low, high) = (pixels / factor * factor, pixels.next_multiple_of(factor).max(factor));
                let near = if low == 0 { high.to_string() } else { format!("{low} or {high}") };
                return Err(Error::request(
                    field,
                    format!(
                        "{field} {pixels} is not a multiple of {factor}, the model's smallest step: use {near}"
                    ),
                ));
            }
            Ok(pixels)
        };
        Ok([
            side(self.height, own.map(|s| s[0]), Field::Height)?,
            side(self.width, own.map(|s| s[1]), Field::Width)?,
        ])
    }

    /// The sampler and its program: the model's own, or as asked.
    pub fn sampler(&self, model: &Model) -> Result<Chosen> {
        let steps = model.defaults.form(self).steps;
        Ok(self.choice().settle(&model.scheduler, steps)?)
    }
}
