//! Models that were distilled to draw in a few steps, and what their authors draw with. Their tensors are those of any other
//! model: the names of their files, folders and LoRAs tell them.

use crate::defaults::Defaults;
use calotype_sampling::SchedulerFile;
use serde_json::{Map, Value, json};
use std::fmt;

/// What a distilled model is drawn with where nothing is said.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct Recipe {
    /// What its authors call it.
    pub kind: &'static str,
    /// The name that tells it.
    pub by: String,
    /// Denoising steps.
    pub steps: usize,
    /// Guidance; the model's own where the distilled one takes any.
    pub cfg_scale: Option<f32>,
    /// diffusers' scheduler, and the fields that are changed for it; the model's own where there is none.
    #[serde(skip)]
    scheduler: Option<(&'static str, Map<String, Value>)>,
}

/// Keys by which files call themselves (modelspec, kohya's scripts, GGUF).
const NAMES: [&str; 3] = ["modelspec.title", "ss_output_name", "general.name"];

impl Recipe {
    /// By the name of a model's file or folder, or by what the file calls itself.
    pub fn of_model<'a>(name: &'a str, said: impl Fn(&'static str) -> Option<&'a str>) -> Option<Self> {
        names(name, said).find_map(Self::of_models_name)
    }

    /// The same of a LoRA. One may be about turbos, lightning or hyperspace: it also says for which model it is, or for how
    /// many steps.
    pub fn of_lora<'a>(name: &'a str, said: impl Fn(&'static str) -> Option<&'a str>) -> Option<Self> {
        names(name, said).find_map(Self::of_loras_name)
    }

    fn of_models_name(name: &str) -> Option<Self> {
        let words = words(name);
        let kind = words.iter().enumerate().find_map(|(at, word)| {
            let next = words.get(at + 1).map_or("", String::as_str);
            let is_style = ["real", "detail"].iter().any(|style| next.starts_with(style));
            kind(word, next).filter(|kind| *kind != HYPER || !is_style)
        });
        kind.map(|kind| Self::new(kind, name, &words))
    }

    fn of_loras_name(name: &str) -> Option<Self> {
        const MODELS: [&str; 4] = ["sd", "sdxl", "xl", "ssd"];
        let words = words(name);
        let kind = words.iter().enumerate().find_map(|(at, word)| {
            let word_at = |at: Option<usize>| at.and_then(|at| words.get(at)).map_or("", String::as_str);
            let beside = [word_at(at.checked_sub(1)), word_at(Some(at + 1))];
            let is_told = beside.iter().any(|word| MODELS.contains(word)) || steps(&words).is_some();
            kind(word, beside[1]).filter(|kind| is_told || [LCM, DMD2].contains(kind))
        });
        kind.map(|kind| Self::new(kind, name, &words))
    }

    /// Of a folder whose own scheduler is that of latent consistency models.
    pub(crate) fn of_scheduler(class: &str) -> Option<Self> {
        (class == LCM_SCHEDULER).then(|| Self::new(LCM, class, &[]))
    }

    /// With the model's own scheduler.
    pub(crate) fn by_its_own(self) -> Self {
        Self { scheduler: None, ..self }
    }

    fn new(kind: &'static str, name: &str, words: &[String]) -> Self {
        let told = steps(words);
        let trailing = || Map::from_iter([("timestep_spacing".to_string(), json!("trailing"))]);
        let mut cfg_scale = Some(1.0);
        let (steps, class, fields) = match (kind, told) {
            (TURBO, _) => (4, "EulerAncestralDiscreteScheduler", trailing()),
            (LIGHTNING, Some(1)) => {
                let mut fields = trailing();
                fields.insert("prediction_type".into(), json!("sample"));
                (1, "EulerDiscreteScheduler", fields)
            }
            (LIGHTNING, _) => (4, "EulerDiscreteScheduler", trailing()),
            // Made for TCD at an eta of 1, which like LCM draws all noise anew.
            (HYPER, Some(1)) => return Self::new(LCM, name, &[]).called(HYPER),
            (HYPER, _) => {
                if words.iter().any(|word| word == "cfg") {
                    cfg_scale = None;
                }
                let mut fields = trailing();
                fields.insert("clip_sample".into(), json!(false));
                (8, "DDIMScheduler", fields)
            }
            // Steps that are as far from each other as those it was distilled on: 999, 749, 499, 249.
            (DMD2, _) => {
                let steps = told.unwrap_or(4);
                let fields = Map::from_iter([("original_inference_steps".to_string(), json!(steps))]);
                (steps, LCM_SCHEDULER, fields)
            }
            _ => (4, LCM_SCHEDULER, Map::new()),
        };
        let (steps, by) = (told.unwrap_or(steps), name.to_owned());
        Self { kind, by, steps, cfg_scale, scheduler: Some((class, fields)) }
    }

    fn called(self, kind: &'static str) -> Self {
        Self { kind, ..self }
    }

    /// What is drawn with, of what the model by itself would be.
    pub(crate) fn over(&self, own: &Defaults) -> Defaults {
        Defaults { steps: self.steps, cfg_scale: self.cfg_scale.unwrap_or(own.cfg_scale), few_steps: None }
    }

    /// Likewise; as diffusers' `Class.from_config(own, **fields)`.
    pub(crate) fn scheduler(&self, own: &SchedulerFile) -> SchedulerFile {
        match &self.scheduler {
            Some((class, fields)) => own.as_class(class, fields),
            None => own.clone(),
        }
    }
}

impl fmt::Display for Recipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, by, steps, .. } = self;
        let s = if *steps == 1 { "" } else { "s" };
        write!(f, "{by} is taken for one of few steps ({kind}): {steps} step{s}")?;
        if let Some(scale) = self.cfg_scale {
            write!(f, ", cfg scale {scale}")?;
        }
        if let Some((class, fields)) = &self.scheduler {
            write!(f, ", {class}")?;
            let said =
                |(field, value): (&String, &Value)| format!("{field} {}", value.to_string().replace('"', ""));
            let fields: Vec<String> = fields.iter().map(said).collect();
            if !fields.is_empty() {
                write!(f, " ({})", fields.join(", "))?;
            }
        }
        Ok(())
    }
}

/// Sauer et al. 2023, arXiv:2311.17042; diffusers' page on SDXL Turbo: Euler's ancestral steps at trailing timesteps.
const TURBO: &str = "Turbo";
/// Lin et al. 2024, arXiv:2402.13929; its card: Euler's steps at trailing timesteps, as many as the file says.
const LIGHTNING: &str = "Lightning";
/// Ren et al. 2024, arXiv:2404.13686; its card: DDIM at trailing timesteps, as many as the file says.
const HYPER: &str = "Hyper-SD";
/// Luo et al. 2023, arXiv:2310.04378 and 2311.05556; diffusers' page on LCM.
const LCM: &str = "LCM";
/// Yin et al. 2024, arXiv:2405.14867; its card.
const DMD2: &str = "DMD2";

const LCM_SCHEDULER: &str = "LCMScheduler";

/// The names to be looked at, in their order.
fn names<'a>(name: &'a str, said: impl Fn(&'static str) -> Option<&'a str>) -> impl Iterator<Item = &'a str> {
    std::iter::once(name).chain(NAMES.into_iter().filter_map(said))
}

/// What a word stands for, before the next.
fn kind(word: &str, next: &str) -> Option<&'static str> {
    Some(match (word, next) {
        ("turbo", _) => TURBO,
        ("lightning", _) => LIGHTNING,
        ("hyper", _) => HYPER,
        ("lcm", _) => LCM,
        ("dmd", "2") => DMD2,
        _ => return None,
    })
}

/// The number before "step" or "steps".
fn steps(words: &[String]) -> Option<usize> {
    let pairs = words.windows(2).filter(|pair| ["step", "steps"].contains(&&*pair[1]));
    pairs.filter_map(|pair| pair[0].parse().ok()).find(|steps| (1..=16).contains(steps))
}

/// A name's words and numbers, in lower case: `Hyper-SDXL-8steps` has four, `someXL_v2TurboSDE` six.
fn words(name: &str) -> Vec<String> {
    let chars: Vec<char> = name.chars().collect();
    let (mut words, mut word) = (Vec::new(), String::new());
    for (i, c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|i| chars[i]);
        let next_is_small = chars.get(i + 1).is_some_and(|c| c.is_lowercase());
        let begins = before.is_some_and(|before| {
            before.is_numeric() != c.is_numeric()
                || c.is_uppercase() && (before.is_lowercase() || before.is_uppercase() && next_is_small)
        });
        if (begins || !c.is_alphanumeric()) && !word.is_empty() {
            words.push(std::mem::take(&mut word));
        }
        word.extend(c.is_alphanumeric().then(|| c.to_lowercase()).into_iter().flatten());
    }
    words.extend(Some(word).filter(|word| !word.is_empty()));
    words
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_models_of_few_steps() {
        let of = |name: &str| {
            Recipe::of_model(name, |_| None).map(|recipe| (recipe.kind, recipe.steps, recipe.cfg_scale))
        };
        for (name, told) in [
            ("sd_xl_turbo_1.0_fp16", Some((TURBO, 4, Some(1.0)))),
            ("stabilityai/sdxl-turbo", Some((TURBO, 4, Some(1.0)))),
            ("someXL_v21TurboDPMSDE", Some((TURBO, 4, Some(1.0)))),
            ("SDXLTurbo", Some((TURBO, 4, Some(1.0)))),
            ("sdxl_lightning_8step", Some((LIGHTNING, 8, Some(1.0)))),
            ("otherXL_V4.0_Lightning", Some((LIGHTNING, 4, Some(1.0)))),
            ("Hyper-SDXL-2steps", Some((HYPER, 2, Some(1.0)))),
            ("photo_v51HyperVAE", Some((HYPER, 8, Some(1.0)))),
            ("LCM_Dreamy_v7", Some((LCM, 4, Some(1.0)))),
            ("dmd2_sdxl_4step_unet_fp16", Some((DMD2, 4, Some(1.0)))),
            ("sd_xl_base_1.0", None),
            ("hyperrealism_v3", None),
            ("hyper-realistic-12step", None),
            ("turbulence", None),
            ("", None),
        ] {
            assert_eq!(of(name), told, "{name}");
        }
    }

    #[test]
    fn loras_say_more_than_a_word() {
        let of = |name: &str| {
            Recipe::of_lora(name, |_| None).map(|recipe| (recipe.kind, recipe.steps, recipe.cfg_scale))
        };
        for (name, told) in [
            ("sdxl_lightning_4step_lora", Some((LIGHTNING, 4, Some(1.0)))),
            ("Hyper-SD15-8steps-CFG-lora", Some((HYPER, 8, None))),
            ("Hyper-SDXL-1step-lora", Some((HYPER, 4, Some(1.0)))),
            ("lcm-lora-sdv1-5", Some((LCM, 4, Some(1.0)))),
            ("dmd2_sdxl_4step_lora_fp16", Some((DMD2, 4, Some(1.0)))),
            ("sd_xl_turbo_lora_v1", Some((TURBO, 4, Some(1.0)))),
            ("lightning_strikes", None),
            ("Porsche 911 Turbo", None),
            ("hyperspace", None),
        ] {
            assert_eq!(of(name), told, "{name}");
        }
    }

    #[test]
    fn what_is_told_is_one_line() {
        let named = |key: &str| (key == "modelspec.title").then_some("sdxl_lightning_1step_x0");
        let told = Recipe::of_model("unnamed", named).unwrap().to_string();
        let line = "sdxl_lightning_1step_x0 is taken for one of few steps (Lightning): 1 step, cfg scale 1, \
                    EulerDiscreteScheduler (prediction_type sample, timestep_spacing trailing)";
        assert_eq!(told, line);
    }
}
