use crate::error::{Error, Result};
use crate::request::Request;
use calotype_models::config::ModelConfig;
use calotype_weights::Lora;
use serde::Deserialize;
use std::path::Path;

/// What a model's folder says of steps and guidance, in a `calotype.json` beside its `model_index.json`:
///
/// ```json
/// {
///   "steps": 20,
///   "cfg_scale": 5.0,
///   "few_steps": {
///     "lora": "few_steps/pytorch_lora_weights.safetensors",
///     "scale": 1.0, "steps": 4, "cfg_scale": 1.0, "most_steps": 8
///   }
/// }
/// ```
///
/// Every field may be left out but `few_steps.lora` and `few_steps.steps`. The file is Calotype's own; others pass over
/// it.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Defaults {
    /// Steps, where the user says nothing.
    pub steps: usize,
    /// Guidance, where the user says nothing.
    pub cfg_scale: f32,
    /// A form of the model that draws in a few steps.
    pub few_steps: Option<FewSteps>,
}

/// A LoRA that was distilled from the model so that a few steps do, with its guidance baked in.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FewSteps {
    /// Its file, relative to the model's folder.
    pub lora: String,
    /// What it is multiplied with.
    #[serde(default = "one")]
    pub scale: f32,
    /// Steps, where the user says nothing.
    pub steps: usize,
    /// Guidance on top of what is baked in.
    #[serde(default = "one")]
    pub cfg_scale: f32,
    /// The most steps that it is made for; for more the model itself is better.
    #[serde(default)]
    pub most_steps: Option<usize>,
}

fn one() -> f32 {
    1.0
}

/// Steps and guidance, settled.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Form<'a> {
    /// Denoising steps.
    pub steps: usize,
    /// Guidance.
    pub cfg_scale: f32,
    /// The few-steps form, where the model draws in it.
    pub few_steps: Option<&'a FewSteps>,
}

impl Default for Defaults {
    fn default() -> Self {
        Self { steps: 20, cfg_scale: 7.5, few_steps: None }
    }
}

impl Defaults {
    /// What is drawn with where no file says it: diffusers' guidance of SDXL, which is less than Stable Diffusion's, and
    /// its steps and guidance of models that are told the guidance (its LatentConsistencyModelPipeline).
    pub(crate) fn of(config: &ModelConfig) -> Self {
        let own = Self::default();
        match config.unet.time_cond_proj_dim {
            Some(_) => Self { steps: 4, cfg_scale: 8.5, ..own },
            None if config.index.penultimate => Self { cfg_scale: 5.0, ..own },
            None => own,
        }
    }

    /// Reads the file; `place` is its name in errors.
    pub fn parse(place: &str, text: &[u8]) -> Result<Self> {
        let bad = |why: String| Error::Model(format!("{place}: {why}"));
        let own: Self = serde_json::from_slice(text).map_err(|e| bad(e.to_string()))?;
        let few = own.few_steps.iter();
        if own.steps == 0 || few.clone().any(|few| few.steps == 0 || few.most_steps == Some(0)) {
            return Err(bad("steps are 1 or more".into()));
        }
        let outside = |few: &FewSteps| {
            few.lora.contains('\\') || few.lora.split('/').any(|part| part.is_empty() || part == "..")
        };
        if few.clone().any(outside) {
            return Err(bad(
                "few_steps.lora is a path within the model's folder, with / between its parts".into()
            ));
        }
        if !few.flat_map(|few| [few.scale, few.cfg_scale]).chain([own.cfg_scale]).all(f32::is_finite) {
            return Err(bad("scales are finite".into()));
        }
        Ok(own)
    }

    /// What is drawn with. The few-steps form is taken unless the request asks for what it cannot do: guidance, a negative
    /// prompt, many steps.
    pub(crate) fn form(&self, request: &Request) -> Form<'_> {
        let fits = |few: &&FewSteps| {
            let apart = request.sampler.is_some_and(|sampler| sampler.descriptor().needs_unconditional);
            let guided = apart || request.cfg_scale.is_some_and(|scale| scale > few.cfg_scale.max(1.0));
            let steps = request.listed().map_or(request.steps, |list| Some(list.len()));
            let many = steps.is_some_and(|steps| few.most_steps.is_some_and(|most| steps > most));
            let negative = request.negative_prompts.iter().any(|text| !text.is_empty());
            request.few_steps.unwrap_or(!(negative || guided || many))
        };
        let few_steps = self.few_steps.as_ref().filter(fits);
        let (steps, cfg_scale) =
            few_steps.map_or((self.steps, self.cfg_scale), |few| (few.steps, few.cfg_scale));
        Form {
            steps: request.steps.unwrap_or(steps),
            cfg_scale: request.cfg_scale.unwrap_or(cfg_scale),
            few_steps,
        }
    }
}

impl FewSteps {
    /// The name of its LoRA.
    pub fn name(&self) -> String {
        lora_name(Path::new(&self.lora))
    }
}

/// What a LoRA is called: its file without the ending, or the folder's name where the file has diffusers' usual one.
pub fn lora_name(file: &Path) -> String {
    let folder = file
        .parent()
        .filter(|_| file.file_name().is_some_and(|name| Lora::FILES.iter().any(|own| name == *own)));
    let named = folder.and_then(Path::file_name).or(file.file_stem());
    named.map_or_else(|| "lora".into(), |name| name.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = r#"{"steps": 24, "cfg_scale": 5, "few_steps":
        {"lora": "few_steps/pytorch_lora_weights.safetensors", "steps": 4, "most_steps": 8}}"#;

    #[test]
    fn what_the_user_does_not_say_is_the_models_to_choose() {
        let own = Defaults::parse("calotype.json", TEXT.as_bytes()).unwrap();
        let form = |request: Request| {
            let Form { steps, cfg_scale, few_steps } = own.form(&request);
            (steps, cfg_scale, few_steps.is_some())
        };
        let none = Request::default();
        assert_eq!(form(none.clone()), (4, 1.0, true));
        assert_eq!(form(Request { steps: Some(8), ..none.clone() }), (8, 1.0, true));
        assert_eq!(form(Request { steps: Some(9), ..none.clone() }), (9, 5.0, false));
        assert_eq!(form(Request { cfg_scale: Some(3.0), ..none.clone() }), (24, 3.0, false));
        assert_eq!(form(Request { cfg_scale: Some(1.0), ..none.clone() }), (4, 1.0, true));
        let negative_prompts = vec!["blurry".into()];
        assert_eq!(form(Request { negative_prompts, ..none.clone() }), (24, 5.0, false));
        assert_eq!(form(Request { few_steps: Some(false), steps: Some(4), ..none.clone() }), (4, 5.0, false));
        let plain = Defaults::parse("calotype.json", b"{}").unwrap();
        assert_eq!(plain.form(&none), Form { steps: 20, cfg_scale: 7.5, few_steps: None });
        assert_eq!(own.few_steps.unwrap().name(), "few_steps");
        assert_eq!(lora_name(Path::new("styles/ink.safetensors")), "ink");
    }

    #[test]
    fn a_file_that_makes_no_sense_is_refused() {
        for (from, to, part) in [
            ("\"steps\": 24", "\"stepps\": 24", "stepps"),
            ("\"steps\": 24", "\"steps\": 0", "1 or more"),
            ("few_steps/py", "../py", "within the model's folder"),
            ("few_steps/py", "/py", "within the model's folder"),
            ("\"lora\"", "\"laura\"", "laura"),
        ] {
            let error =
                Defaults::parse("m/calotype.json", TEXT.replacen(from, to, 1).as_bytes()).unwrap_err();
            let error = error.to_string();
            assert!(error.starts_with("m/calotype.json") && error.contains(part), "{error}");
        }
    }
}
