//! What a picture's file says about how it was made.

use crate::image::Infotext;
use crate::order::Order;
use calotype_sampling::Schedule;
use calotype_sampling::noise::BatchSeeds;

impl Order {
    /// The settings of image `i` of the batch, by the names that A1111's web UI gives them.
    pub fn settings(&self, i: usize) -> Infotext {
        let of = |texts: &[String]| texts.get(i).or(texts.first()).cloned().unwrap_or_default();
        let Self { width, height, scheduler, .. } = self;
        // A1111 adds LoRAs by a mention at the prompt's end.
        let loras: String =
            self.loras.iter().map(|(name, scale)| format!(" <lora:{name}:{scale}>")).collect();
        let mut settings = Infotext {
            prompt: of(&self.prompts) + &loras,
            negative_prompt: if self.guided() { of(&self.negative_prompts) } else { String::new() },
            pairs: Vec::new(),
        };
        settings.push("Steps", self.steps);
        settings.push("Sampler", scheduler.sampler.label());
        if scheduler.sampler.has_schedules() {
            settings.push("Schedule type", schedule_name(scheduler.config.schedule));
        }
        settings.push("CFG scale", self.cfg_scale);
        // Noise from a file has no seed.
        if self.noise.is_none() {
            settings.push("Seed", self.seed_of(i));
        }
        settings.push("Size", format!("{width}x{height}"));
        settings.push("Model", &self.model);
        if let Some(name) = &self.few_steps {
            settings.push("Few steps", name);
        }
        if self.guided() && self.cfg_rescale > 0.0 {
            settings.push("CFG rescale", self.cfg_rescale);
        }
        if self.eta > 0.0 {
            settings.push("Eta", self.eta);
        }
        // One generator for all: only the whole batch gives the picture again.
        if self.batch_seeds == BatchSeeds::One && self.batch_size > 1 {
            settings.push("Batch size", self.batch_size);
            settings.push("Batch pos", i);
        }
        settings.push("Version", concat!("Calotype ", env!("CARGO_PKG_VERSION")));
        settings
    }
}

/// A1111's name of a schedule where it has one (modules/sd_schedulers.py).
fn schedule_name(schedule: Schedule) -> &'static str {
    match schedule {
        Schedule::Discrete => "Discrete",
        Schedule::Karras => "Karras",
        Schedule::Exponential => "Exponential",
        Schedule::Beta => "Beta",
        Schedule::Lu => "Lu",
    }
}
