//! A request and a model make an order.

use crate::defaults::Defaults;
use crate::error::{Error, Result};
use crate::model::Model;
use crate::order::{Hashes, Order, Refining};
use crate::request::Request;
use calotype_field::Field;
use calotype_models::config::{Activation, TextEncoder};
use calotype_models::{Role, layout};
use calotype_sampling::noise::Origin;
use calotype_sampling::{Chosen, SamplerChoice, SchedulerFile, Stretch};

impl Request {
    /// The request as a model draws it: what was left open is the model's own, and everything is checked.
    pub fn settle(&self, model: &Model) -> Result<Order> {
        self.check()?;
        if model.config.index.refines {
            let (place, refiner) = (Field::Place, Field::Refiner);
            let why = "is a refiner, which goes on with a picture that another model has begun";
            let cure = format!("give that one as {place}, and this as {refiner}");
            return Err(Error::request(place, format!("{place}: {} {why}: {cure}", model.name)));
        }
        self.size(model)?;
        self.check_told(model)?;
        let (own, scheduler) = model.drawn_with();
        let own = (&own, &scheduler);
        self.check_edit(model)?;
        let Some(refiner) = &model.refiner else { return self.settle_part(model, own, Stretch::Whole) };
        let switch = self.refiner_switch.unwrap_or(0.8);
        let mut order = self.settle_part(model, own, Stretch::Until(switch))?;
        // Where the base is one of few steps, the refiner's are at its timesteps.
        let scheduler = model.recipe().map_or(&refiner.scheduler, |_| &scheduler);
        let second = self.refining(refiner, &order);
        let second = second.settle_part(refiner, (&refiner.defaults, scheduler), Stretch::From(switch))?;
        order.refiner = Some(Box::new(Refining { switch, order: second }));
        Ok(order)
    }

    /// What a refiner is asked for where the model itself draws by an order: the same, but that one encoder alone reads the
    /// prompt (diffusers: `encode_prompt`), and that its own sampler and schedule have no say.
    fn refining(&self, refiner: &Model, order: &Order) -> Self {
        let one = refiner.config.texts.len() < 2;
        let second = |texts: &Vec<String>| if one { Vec::new() } else { texts.clone() };
        let is_same = refiner.scheduler.own().is_ok_and(|own| {
            own.sampler == order.sampler && order.schedule.is_none_or(|of| of == own.config.schedule)
        });
        let (sampler, schedule) = match is_same || self.listed().is_some() {
            true => (self.sampler, self.schedule),
            false => (Some(order.sampler), order.schedule),
        };
        Self {
            prompts_2: second(&self.prompts_2),
            negative_prompts_2: second(&self.negative_prompts_2),
            width: Some(order.width),
            height: Some(order.height),
            steps: self.listed().is_none().then_some(order.steps),
            cfg_scale: Some(order.cfg_scale),
            sampler,
            schedule,
            ..self.clone()
        }
    }

    /// What is said of the sampler, for a model that is SDXL or the like, or another.
    pub(crate) fn choice(&self, xl: bool) -> SamplerChoice {
        SamplerChoice {
            xl,
            sampler: self.sampler,
            schedule: self.schedule,
            dialect: self.sampler_dialect,
            eta: self.eta,
            s_noise: self.s_noise,
            s_churn: self.s_churn,
            s_tmin: self.s_tmin,
            s_tmax: self.s_tmax,
            sigmas: self.sigmas.clone(),
            timesteps: self.timesteps.clone(),
        }
    }

    /// Noise levels or timesteps one by one, where there are.
    pub(crate) fn listed(&self) -> Option<&Vec<f64>> {
        self.sigmas.as_ref().or(self.timesteps.as_ref())
    }

    /// One model's part of the order, drawn with what the model says.
    fn settle_part(
        &self,
        model: &Model,
        (defaults, scheduler): (&Defaults, &SchedulerFile),
        mut stretch: Stretch,
    ) -> Result<Order> {
        let [height, width] = self.size(model)?;
        let form = defaults.form(self);
        let choice = self.choice(is_xl(model));
        let mut init = self.init(model, [height, width])?;
        if let Some(init) = &init {
            let listed = choice.listed().map(|list| list.iter().filter(|level| **level > 0.0).count());
            stretch = Stretch::After(init.left_out(listed.unwrap_or(form.steps))?);
        }
        let chosen = choice.settle_stretch(scheduler, form.steps, stretch)?;
        match init.as_mut().and_then(|init| init.inpaint.as_mut()) {
            Some(inpaint) => inpaint.keep(&chosen, self.img2img_steps)?,
            None if model.config.unet.inpaints() => {
                let (mask, init) = (Field::Mask, Field::InitImg);
                let why = format!("{mask}: {} draws parts of pictures: give {init} and {mask}", model.name);
                return Err(Error::request(mask, why));
            }
            None => {}
        }
        let Chosen { sampler, schedule, dialect, program, adaptive, .. } = chosen;
        let by_step = [
            (Field::CfgStart, self.cfg_start > 0.0),
            (Field::CfgEnd, self.cfg_end < 1.0),
            (Field::SMinUncond, self.s_min_uncond > 0.0),
            (Field::Guidance, self.guidance.away_from().is_some_and(|(.., shares)| shares != [0.0, 1.0])),
            (Field::ControlStart, self.controls.iter().any(|control| control.start > 0.0)),
            (Field::ControlEnd, self.controls.iter().any(|control| control.end < 1.0)),
        ];
        if let (true, Some((field, _))) = (adaptive.is_some(), by_step.into_iter().find(|(_, asked)| *asked))
        {
            let why = "chooses among steps that are not known yet: leave it out, or give another";
            let (of, sampler) = (Field::Sampler, sampler.name());
            return Err(Error::request(field, format!("with {of} {sampler} {field} {why} {of}")));
        }
        self.check_changes(model)?;
        let [ids, negative_ids] = self.ids(model, [width, height]);
        // A refiner goes on by itself.
        let is_second = matches!(stretch, Stretch::From(_));
        let controls = if is_second { Vec::new() } else { self.steered(model, [height, width])? };
        let factor = model.config.vae.factor();
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
            shares: Vec::new(),
            tokens: 0,
            embedded_guidance: model.config.unet.time_cond_proj_dim,
            ids,
            negative_ids,
            width,
            height,
            batch_size: self.batch_size,
            steps,
            cfg_scale: form.cfg_scale,
            guidance: self.guidance,
            free_u: self.free_u,
            cache: self.cache,
            s_min_uncond: self.s_min_uncond,
            guided_from_to: [self.cfg_start, self.cfg_end],
            cfg_rescale: self.cfg_rescale,
            origin,
            seed_resize_from: self.seed_resize_from,
            few_steps: form.few_steps.map(|few| few.name()),
            model: model.name.clone(),
            loras: model.loras.clone(),
            tiny: model.tiny.is_some(),
            embeddings: Vec::new(),
            hashes: Hashes::default(),
            sampler,
            schedule,
            dialect,
            choice,
            program,
            adaptive,
            noise: self.noise.clone(),
            init,
            controls,
            control_nets: model.controls.iter().map(|net| net.name.clone()).collect(),
            refiner: None,
            refines: is_second,
        };
        order.check_loras()?;
        order.shares = order.own_shares(model.config.index.texts)?;
        order.keep_away()?;
        order.follow_picture()?;
        order.tokens = model.tokens(&order)?;
        order.embeddings = model.named(&order)?;
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

    /// What SDXL is told of a picture's sizes, with the prompts and with the negative ones (Podell et al. 2023,
    /// arXiv:2307.01952; diffusers: `_get_add_time_ids`): heights before widths. Refiners are told scores in the place of the
    /// last two.
    fn ids(&self, model: &Model, size: [usize; 2]) -> [Vec<f32>; 2] {
        if model.config.unet.text_time.is_none() {
            return [Vec::new(), Vec::new()];
        }
        let numbers = |pairs: &[[usize; 2]]| -> Vec<f32> {
            pairs.iter().flat_map(|[x, y]| [*y as f32, *x as f32]).collect()
        };
        let (original, crop) = (self.original_size.unwrap_or(size), self.crop.unwrap_or([0; 2]));
        if !model.config.index.refines {
            let told = numbers(&[original, crop, self.target_size.unwrap_or(size)]);
            return [told.clone(), told];
        }
        // With negative prompts a refiner is told of no crop.
        let scores = [
            (crop, self.aesthetic_score.unwrap_or(6.0)),
            ([0; 2], self.negative_aesthetic_score.unwrap_or(2.5)),
        ];
        scores.map(|(crop, score)| [&numbers(&[original, crop])[..], &[score]].concat())
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
        let scores = [
            (Field::AestheticScore, self.aesthetic_score.is_some()),
            (Field::NegativeAestheticScore, self.negative_aesthetic_score.is_some()),
        ];
        match scores.into_iter().find(|(_, is_said)| *is_said) {
            Some((field, _))
                if !model.refiner.as_ref().is_some_and(|refiner| refiner.config.index.refines) =>
            {
                return bad(field, "has no refiner that is told scores");
            }
            _ => {}
        }
        if self.refiner_switch.is_some() && model.refiner.is_none() {
            return bad(Field::RefinerSwitch, "has no refiner");
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
        let factor = model.config.vae.factor();
        let own = self.own_size(factor)?.or(model.config.default_size());
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
        let (defaults, scheduler) = model.drawn_with();
        Ok(self.choice(is_xl(model)).settle(&scheduler, defaults.form(self).steps)?)
    }
}

/// Whether a model is SDXL or the like: it is told more than the text.
fn is_xl(model: &Model) -> bool {
    model.config.unet.text_time.is_some()
}
