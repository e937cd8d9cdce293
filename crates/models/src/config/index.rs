use super::fields::Fields;
use crate::{Error, Result};

/// `model_index.json`: which pipeline the folder holds and the class of each of its components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIndex {
    /// The pipeline's class.
    pub class: String,
    /// The scheduler's class, such as `PNDMScheduler`, whatever its own file says: whether it is supported is for the
    /// samplers to say.
    pub scheduler: String,
}

const PIPELINE: &str = "StableDiffusionPipeline";

/// Folders of the components, and the classes that are read from them.
const COMPONENTS: [(&str, &[&str]); 4] = [
    ("text_encoder", &["CLIPTextModel"]),
    ("tokenizer", &["CLIPTokenizer", "CLIPTokenizerFast"]),
    ("unet", &["UNet2DConditionModel"]),
    ("vae", &["AutoencoderKL"]),
];

/// Parts of a pipeline that do not touch the picture that text makes.
const INERT: [&str; 4] = ["safety_checker", "feature_extractor", "image_encoder", "requires_safety_checker"];

impl ModelIndex {
    /// Reads the index; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut f = Fields::parse(file, text)?;
        f.class("_class_name", PIPELINE)?;
        f.inert(&INERT);
        for (component, supported) in COMPONENTS {
            let class = component_class(&mut f, component)?;
            if !supported.contains(&class.as_str()) {
                let (file, field) = (file.into(), component.into());
                return Err(Error::Class { file, field, class, supported: supported.join(" or ") });
            }
        }
        let scheduler = component_class(&mut f, "scheduler")?;
        f.no_components();
        f.finish()?;
        Ok(Self { class: PIPELINE.into(), scheduler })
    }
}

/// The class in `"component": ["library", "Class"]`.
fn component_class(f: &mut Fields, component: &str) -> Result<String> {
    let value: Option<[Option<String>; 2]> = f.get(component, None)?;
    match value {
        Some([Some(_), Some(class)]) => Ok(class),
        absent => f
            .check(false, component, absent, "a pipeline without it makes no picture")
            .map(|()| String::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::{Value, json};

    fn parse(change: impl FnOnce(&mut Value)) -> Result<ModelIndex> {
        let mut index = json!({
            "_class_name": "StableDiffusionPipeline",
            "_diffusers_version": "0.42.1",
            "feature_extractor": ["transformers", "CLIPImageProcessor"],
            "image_encoder": [null, null],
            "requires_safety_checker": true,
            "controlnet": [null, null],
            "image_noising_scheduler": null,
            "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
            "scheduler": ["diffusers", "PNDMScheduler"],
            "text_encoder": ["transformers", "CLIPTextModel"],
            "tokenizer": ["transformers", "CLIPTokenizer"],
            "unet": ["diffusers", "UNet2DConditionModel"],
            "vae": ["diffusers", "AutoencoderKL"],
        });
        change(&mut index);
        ModelIndex::parse("model_index.json", &index.to_string())
    }

    #[test]
    fn a_stable_diffusion_folder_is_accepted() {
        assert_eq!(parse(|_| {}).unwrap().scheduler, "PNDMScheduler");
    }

    #[test]
    fn other_pipelines_and_components_are_named() {
        let error = parse(|i| i["_class_name"] = json!("StableDiffusionXLPipeline")).unwrap_err().to_string();
        assert!(error.contains("_class_name is StableDiffusionXLPipeline"), "{error}");
        let error = parse(|i| i["vae"] = json!(["diffusers", "AutoencoderTiny"])).unwrap_err().to_string();
        assert!(
            error.contains("vae is AutoencoderTiny, which is not supported; AutoencoderKL is"),
            "{error}"
        );
        let error = parse(|i| i["unet"] = json!([null, null])).unwrap_err().to_string();
        assert!(error.contains("unet = [null,null]"), "{error}");
        let error = parse(|i| i["scheduler"] = json!("x")).unwrap_err().to_string();
        assert!(error.contains("scheduler = \"x\""), "{error}");
        let error = parse(|i| i["text_encoder_2"] = json!(["a", "b"])).unwrap_err().to_string();
        assert!(error.contains("unknown field text_encoder_2"), "{error}");
        assert!(ModelIndex::parse("model_index.json", "{}").is_err());
    }
}
