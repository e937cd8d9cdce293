//! A request and a model make an order.

use crate::error::{Error, Result};
use crate::model::Model;
use crate::order::Order;
use crate::request::Request;
use calotype_field::Field;
use calotype_models::{Role, layout};
use calotype_sampling::Chosen;
use calotype_sampling::noise::Origin;

impl Request {
    /// The request as a model draws it: what was left open is the model's own, and everything is checked.
    pub fn settle(&self, model: &Model) -> Result<Order> {
        self.check()?;
        let [height, width] = self.size(model)?;
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
        Ok(Order {
            prompts: self.prompts.clone(),
            negative_prompts: self.negative_prompts.clone(),
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
        })
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
