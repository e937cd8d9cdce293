//! What a picture's file says about how it was made.

use crate::control::Control;
use crate::guidance::Guidance;
use crate::image::Infotext;
use crate::init::StepRule;
use crate::inpaint::{Inpaint, InpaintArea, InpaintFill};
use crate::order::{Order, Refining};
use crate::words::{Emphasis, PromptStyle, networks};
use calotype_sampling::noise::BatchSeeds;
use calotype_sampling::{Dialect, Sampler, Schedule};

impl Order {
    /// The settings of image `i` of the batch, by the names that A1111's web UI gives them.
    pub fn settings(&self, i: usize) -> Infotext {
        let of = |texts: &[String]| texts.get(i).or(texts.first()).cloned().unwrap_or_default();
        let Self { width, height, choice, origin, .. } = self;
        let (loras, told) = self.loras(&of(&self.prompts));
        let mut settings = Infotext {
            prompt: of(&self.prompts) + &loras,
            negative_prompt: if self.guided() { of(&self.negative_prompts) } else { String::new() },
            pairs: Vec::new(),
        };
        settings.push("Steps", self.steps);
        settings.push("Sampler", self.sampler.label());
        if let Some(schedule) = self.schedule {
            let own = self.dialect == Dialect::Diffusers && schedule == Schedule::Discrete;
            settings.push("Schedule type", if own { "Discrete" } else { schedule.label() });
        }
        settings.push("CFG scale", self.cfg_scale);
        // Noise from a file has no seed.
        if self.noise.is_none() {
            settings.push("Seed", origin.seed_of(i));
        }
        settings.push("Size", format!("{width}x{height}"));
        if let Some(init) = &self.init {
            settings.push("Denoising strength", init.strength);
            if init.rule != StepRule::A1111 {
                settings.push("Img2img steps", init.rule);
            }
            init.edits.iter().for_each(|scale| settings.push("Image CFG scale", scale));
            if let Some(inpaint) = &init.inpaint {
                push_inpaint(&mut settings, inpaint);
            }
        }
        self.push_told(&mut settings, i);
        for (n, (Control { hint, scale, start, end, mode, .. }, net)) in
            self.controls.iter().zip(&self.control_nets).enumerate()
        {
            let mode = mode.label();
            let words = format!(
                "Module: {hint}, Model: {net}, Weight: {scale}, Guidance Start: {start}, Guidance End: {end}, Control Mode: {mode}"
            );
            settings.push(&format!("ControlNet {n}"), words);
        }
        self.hashes.model.iter().for_each(|hash| settings.push("Model hash", hash));
        settings.push("Model", &self.model);
        if let Some(Refining { switch, order }) = self.refiner.as_deref() {
            settings.push("Refiner", &order.model);
            settings.push("Refiner switch at", switch);
            // What is not said is not told.
            let scores = [
                ("Aesthetic score", &order.ids, 6.0),
                ("Negative aesthetic score", &order.negative_ids, 2.5),
            ];
            for (name, ids, own) in scores {
                if let [.., score] = ids[..]
                    && order.negative_ids.len() == 5
                    && score != own
                {
                    settings.push(name, score);
                }
            }
        }
        // Noise from a file is nobody's seed's.
        let seeded = self.noise.is_none();
        if let Some(variation) = origin.variation_of(i).filter(|_| seeded) {
            settings.push("Variation seed", variation.seed);
            settings.push("Variation seed strength", variation.strength);
        }
        if let Some([width, height]) = self.seed_resize_from.filter(|_| seeded) {
            settings.push("Seed resize from", format!("{width}x{height}"));
        }
        if let Some(layer) = self.clip_skip.filter(|layer| *layer > 1) {
            settings.push("Clip skip", layer);
        }
        // A1111's own is the GPU's.
        if seeded {
            settings.push("RNG", ["CPU", "NV", "numpy"][origin.rng as usize]);
        }
        if let Some(name) = &self.few_steps {
            settings.push("Few steps", name);
        }
        told.into_iter().for_each(|loras| settings.push("Loras", loras));
        self.push_hashes(&mut settings);
        if self.tiny {
            settings.push("VAE Decoder", "TAESD");
        }
        if self.prompt_style != PromptStyle::A1111 {
            settings.push("Prompt style", self.prompt_style);
        } else if self.emphasis != Emphasis::Original {
            settings.push("Emphasis", self.emphasis.label());
        }
        if self.guided_from_to != [0.0, 1.0] {
            let [start, end] = self.guided_from_to;
            settings.push("CFG start", start);
            settings.push("CFG end", end);
        }
        if self.guided() && self.guidance != Guidance::Cfg {
            settings.push("Guidance", self.guidance);
        }
        if let Some(free_u) = self.free_u {
            settings.push("FreeU", free_u);
        }
        if self.cache.layers().is_some() {
            settings.push("Cache", self.cache);
        }
        if self.guided() && self.s_min_uncond > 0.0 {
            settings.push("NGMS", self.s_min_uncond);
        }
        if self.guided() && self.cfg_rescale > 0.0 {
            settings.push("CFG rescale", self.cfg_rescale);
        }
        // Of diffusers' classes two alone have it.
        let has_eta =
            self.dialect != Dialect::Diffusers || [Sampler::DDIM, Sampler::TCD].contains(&self.sampler);
        let is_own = |eta: f64| self.dialect == Dialect::Diffusers && eta == self.sampler.descriptor().eta;
        let told = |eta: &f64| has_eta && !is_own(*eta);
        let numbers = [
            ("Eta", choice.eta.filter(told)),
            ("Sigma churn", choice.s_churn),
            ("Sigma tmin", choice.s_tmin),
            ("Sigma tmax", choice.s_tmax),
            ("Sigma noise", choice.s_noise),
        ];
        for (name, number) in numbers {
            number.into_iter().for_each(|number| settings.push(name, number));
        }
        for (name, list) in [("Sigmas", &choice.sigmas), ("Timesteps", &choice.timesteps)] {
            let words = |list: &Vec<f64>| list.iter().map(f64::to_string).collect::<Vec<_>>().join(" ");
            list.iter().for_each(|list| settings.push(name, words(list)));
        }
        if self.dialect != Dialect::Diffusers {
            settings.push("Sampler dialect", self.dialect);
        }
        // One generator for all: only the whole batch gives the picture again.
        if origin.batch_seeds == BatchSeeds::One && self.batch_size > 1 {
            settings.push("Batch size", self.batch_size);
            settings.push("Batch pos", i);
        }
        settings.push("Version", concat!("Calotype ", env!("CARGO_PKG_VERSION")));
        settings
    }

    /// What the files are known by that it was drawn with.
    fn push_hashes(&self, settings: &mut Infotext) {
        let bare = |name: &str| name.replace([':', ','], "");
        let named = self.embeddings.iter().filter_map(|name| {
            let found = self.hashes.embeddings.iter().find(|(known, _)| known == name);
            found.map(|(name, hash)| (name, hash))
        });
        let loras = self.hashes.loras.iter().map(|(name, hash)| (name, hash));
        let listed = |all: Vec<(&String, &String)>| {
            all.iter().map(|(name, hash)| format!("{}: {hash}", bare(name))).collect::<Vec<_>>().join(", ")
        };
        for (name, list) in [("Lora hashes", listed(loras.collect())), ("TI hashes", listed(named.collect()))]
        {
            if !list.is_empty() {
                settings.push(name, list);
            }
        }
    }

    /// What the model was told beside the prompt, where that is not what the prompt and the size say.
    fn push_told(&self, settings: &mut Infotext, i: usize) {
        let texts = [("Prompt 2", &self.prompts_2), ("Negative prompt 2", &self.negative_prompts_2)];
        for (name, texts) in texts {
            texts.get(i).or(texts.first()).into_iter().for_each(|text| settings.push(name, text));
        }
        let (size, none) = ([self.height as f32, self.width as f32], [0.0; 2]);
        let own = [("Original size", size, "x"), ("Crop", none, ","), ("Target size", size, "x")];
        for ((name, own, between), [y, x]) in own.into_iter().zip(self.ids.as_chunks().0) {
            if own != [*y, *x] {
                settings.push(name, format!("{x}{between}{y}"));
            }
        }
    }

    /// The LoRAs that the prompt does not ask for itself: as A1111 mentions them, at its end, or where its rules are not
    /// the prompt's as a setting.
    fn loras(&self, prompt: &str) -> (String, Option<String>) {
        if self.prompt_style != PromptStyle::A1111 {
            let each: Vec<String> =
                self.loras.iter().map(|(name, scale)| format!("{name}:{scale}")).collect();
            return (String::new(), (!each.is_empty()).then(|| each.join(", ")));
        }
        let (_, asked) = networks(prompt);
        let new = self.loras.iter().filter(|(name, _)| !asked.iter().any(|network| network.name() == name));
        (new.map(|(name, scale)| format!(" <lora:{name}:{scale}>")).collect(), None)
    }
}

/// What was drawn anew of a picture, by A1111's names where it has some; what it is if nothing is said is not told.
fn push_inpaint(settings: &mut Infotext, inpaint: &Inpaint) {
    let Inpaint { blur, fill, soft, area, outpaint, .. } = inpaint;
    if *blur > 0.0 {
        settings.push("Mask blur", blur);
    }
    let by_default = if outpaint.is_some() { InpaintFill::Fill } else { InpaintFill::Original };
    if *fill != by_default {
        settings.push("Masked content", fill.label());
    }
    if let Some((_, padding)) = area {
        settings.push("Inpaint area", InpaintArea::Masked.label());
        settings.push("Masked area padding", padding);
    }
    if *soft {
        settings.push("Soft mask", "True");
    }
    if let Some(sides) = outpaint {
        settings.push("Outpaint", sides.map(|side| side.to_string()).join(" "));
    }
}
