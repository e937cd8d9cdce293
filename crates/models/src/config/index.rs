use super::fields::Fields;
use crate::{Result, Role, layout};
use serde_json::Value;

/// `model_index.json`: which pipeline the folder holds and the class of each of its components.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelIndex {
    /// The pipeline's class.
    pub class: String,
    /// What reads prompts; of several, states lie side by side in this order.
    pub texts: &'static [Role],
    /// Whether the UNet attends to what comes before the text encoders' last layers, as it is, rather than to what comes
    /// after them, normalised.
    pub penultimate: bool,
    /// Whether the states of no negative prompt are zeros (`force_zeros_for_empty_prompt`).
    pub empty_is_zero: bool,
    /// Whether the UNet is told how much a picture is liked in the place of the size that it has
    /// (`requires_aesthetics_score`): a refiner, which goes on with what another model has begun.
    pub refines: bool,
    /// The scheduler's class, such as `PNDMScheduler`, whatever its own file says: whether it is supported is for the
    /// samplers to say.
    pub scheduler: String,
}

const ONE: &str = "StableDiffusionPipeline";
const TWO: &str = "StableDiffusionXLPipeline";
/// What inpainting models are published as, of either kind.
const INPAINT: [&str; 2] = ["StableDiffusionInpaintPipeline", "StableDiffusionXLInpaintPipeline"];
/// What models that change pictures as they are told are published as.
const EDIT: &str = "StableDiffusionInstructPix2PixPipeline";
/// What refiners are published as.
const REFINER: &str = "StableDiffusionXLImg2ImgPipeline";

/// Folders of the components, and the classes that are read from them.
const COMPONENTS: [(&str, &[&str]); 2] = [("unet", &["UNet2DConditionModel"]), ("vae", &["AutoencoderKL"])];
const TOKENIZER: &[&str] = &["CLIPTokenizer", "CLIPTokenizerFast"];

/// The class of a text encoder.
pub(crate) const fn text_class(role: Role) -> &'static str {
    match role {
        Role::Text2 => "CLIPTextModelWithProjection",
        _ => "CLIPTextModel",
    }
}

/// Parts of a pipeline that do not touch the picture that text makes, a watermark in it among them.
const INERT: [&str; 5] =
    ["safety_checker", "feature_extractor", "image_encoder", "requires_safety_checker", "add_watermarker"];

impl ModelIndex {
    /// Reads the index; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut f = Fields::parse(file, text)?;
        let class = match f.get("_class_name", Value::Null)? {
            Value::String(class) if class == INPAINT[0] => INPAINT[0],
            Value::String(class) if class == INPAINT[1] => INPAINT[1],
            Value::String(class) if class == EDIT => EDIT,
            Value::String(class) if class == TWO => TWO,
            Value::String(class) if class == REFINER => REFINER,
            // What it is not is said in these words.
            other => f.class_of("_class_name", other, &[ONE, TWO]).map(|()| ONE)?,
        };
        let is_two = [TWO, INPAINT[1], REFINER].contains(&class);
        let refines = class == REFINER && f.flag("requires_aesthetics_score", false);
        // Which of both encoders the second class has its index says.
        let texts: &[Role] = match class {
            REFINER if f.is_no_component(Role::Text.folder()) => &[Role::Text2],
            _ if is_two => &Role::TEXT,
            _ => &[Role::Text],
        };
        f.inert(&INERT);
        let encoders = texts.iter().map(|role| (role.folder(), vec![text_class(*role)]));
        let tokenizers = texts.iter().map(|role| (layout::words::folder(*role), TOKENIZER.to_vec()));
        let others = COMPONENTS.iter().map(|(folder, classes)| (*folder, classes.to_vec()));
        for (component, supported) in encoders.chain(tokenizers).chain(others) {
            let class = component_class(&mut f, component)?;
            f.class_of(component, class.into(), &supported)?;
        }
        let scheduler = component_class(&mut f, "scheduler")?;
        let penultimate = is_two;
        let empty_is_zero = penultimate && f.flag("force_zeros_for_empty_prompt", true);
        f.no_components();
        f.finish()?;
        Ok(Self { class: class.into(), texts, penultimate, empty_is_zero, refines, scheduler })
    }
}

/// The class in `"component": ["library", "Class"]`.
fn component_class(f: &mut Fields, component: &str) -> Result<String> {
    let value: Option<[Option<String>; 2]> = f.get(component, None)?;
    match value {
        Some([Some(_), Some(class)]) => Ok(class),
        absent => f
            .check(
                false,
                component,
                absent,
                "a pipeline without it makes no picture: take the whole model's folder",
            )
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
        let inpaints = parse(|i| i["_class_name"] = json!(INPAINT[0])).unwrap();
        assert_eq!(
            (&*inpaints.class, inpaints.penultimate, inpaints.texts),
            (INPAINT[0], false, &[Role::Text][..])
        );
    }

    #[test]
    fn other_pipelines_and_components_are_named() {
        let error = parse(|i| i["_class_name"] = json!("StableDiffusion3Pipeline")).unwrap_err().to_string();
        let part =
            "_class_name is StableDiffusion3Pipeline, which is not supported; StableDiffusionPipeline or St";
        assert!(error.contains(part), "{error}");
        let error = parse(|i| i["_class_name"] = json!("StableDiffusionXLPipeline")).unwrap_err().to_string();
        assert!(error.contains("text_encoder_2 = null"), "{error}");
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
