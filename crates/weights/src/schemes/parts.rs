use super::{Given, Renamed, TEXT, TEXT_2, UNET, VAE, average, text, unet, vae};
use crate::{Error, Result};
use calotype_tensor::Tensors;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// The components that a file holds, each by its folder in the diffusers layout and with its tensors under diffusers' names:
/// a checkpoint of a whole model, in ldm's names or diffusers', or one component of it.
pub struct FileParts {
    /// `unet`, `vae`, `text_encoder`, `text_encoder_2`.
    pub components: BTreeMap<&'static str, Renamed>,
    /// Tensors of none of them.
    pub rest: Vec<String>,
    /// Tensors of a running average of the UNet's weights.
    pub averaged: usize,
    /// Whether the UNet is that average: it is taken where the file has no other.
    pub is_average: bool,
}

/// What a component's names begin with in ldm's checkpoints, those of Stability's later code (`conditioner.`), ComfyUI,
/// sd.cpp, and where folders were put into one file.
const PREFIXES: [(&str, &str); 23] = [
    ("model.diffusion_model.", UNET),
    ("diffusion_model.", UNET),
    ("unet.", UNET),
    ("first_stage_model.", VAE),
    ("vae.", VAE),
    ("conditioner.embedders.1.", TEXT_2),
    ("cond_stage_model.1.", TEXT_2),
    ("text_encoder_2.", TEXT_2),
    ("text_encoders.clip_g.", TEXT_2),
    ("clip_g.", TEXT_2),
    ("te2.", TEXT_2),
    ("te.1.", TEXT_2),
    ("conditioner.embedders.0.", TEXT),
    ("cond_stage_model.0.", TEXT),
    ("cond_stage_model.", TEXT),
    ("text_encoder.", TEXT),
    ("text_encoders.clip_l.", TEXT),
    ("text_encoders.clip_h.", TEXT),
    ("clip_l.", TEXT),
    ("clip_h.", TEXT),
    ("te1.", TEXT),
    ("te.0.", TEXT),
    ("te.", TEXT),
];

/// What training tools leave in front of all names.
const LEFT: [&str; 2] = ["state_dict.", "module."];

/// The tensors by which a component is known whose names have nothing in front.
const BARE: [(&str, &str); 9] = [
    ("input_blocks.0.0.weight", UNET),
    ("time_embedding.linear_1.weight", UNET),
    ("decoder.conv_in.weight", VAE),
    ("encoder.conv_in.weight", VAE),
    ("text_model.embeddings.token_embedding.weight", TEXT),
    ("embeddings.token_embedding.weight", TEXT),
    ("transformer.text_model.embeddings.token_embedding.weight", TEXT),
    ("token_embedding.weight", TEXT),
    ("model.token_embedding.weight", TEXT),
];

/// A component's tensors: the stored name, and the name in the component.
type Members<'a> = Vec<(&'a str, &'a str)>;

impl FileParts {
    /// Sorts a file's tensors. Fails where two of them are the same one.
    pub fn of(source: Rc<dyn Tensors>) -> Result<Self> {
        let names = source.names();
        let bare_names: BTreeSet<&str> = names.iter().map(|name| bare(name)).collect();
        let alone = BARE.iter().find(|(name, _)| bare_names.contains(name)).map(|(_, component)| *component);
        let mut members: BTreeMap<&'static str, Members<'_>> = BTreeMap::new();
        let (mut rest, mut average) = (Vec::new(), Members::new());
        for stored in &names {
            let name = bare(stored);
            let found = PREFIXES.iter().find_map(|(prefix, of)| Some((*of, name.strip_prefix(prefix)?)));
            // What training says by a tensor's name beside a bare UNet has no dot, and all of a UNet's have one.
            let bare = || Some((alone.filter(|of| *of != UNET || name.contains('.'))?, name));
            match found.or_else(bare) {
                _ if name.starts_with("model_ema.") => {
                    average.extend(name.strip_prefix(average::PREFIX).map(|within| (*stored, within)));
                }
                Some((component, within)) => members.entry(component).or_default().push((stored, within)),
                None => rest.push((*stored).to_owned()),
            }
        }
        let dotted: Vec<(&str, String)> =
            average.iter().filter_map(|(stored, name)| Some((*stored, average::dotted(name)?))).collect();
        let is_average = !members.contains_key(UNET) && !dotted.is_empty();
        if is_average {
            members.insert(UNET, dotted.iter().map(|(stored, name)| (*stored, &name[..])).collect());
        }
        let component = |(component, members): (&'static str, &Members<'_>)| {
            let given = given(component, members);
            distinct(&*source, component, &given)?;
            Ok((component, Renamed::new(Rc::clone(&source), given)))
        };
        let components =
            members.iter().map(|(name, members)| component((name, members))).collect::<Result<_>>()?;
        let averaged = average.len();
        drop(members);
        Ok(Self { components, rest, averaged, is_average })
    }
}

/// A component's tensors under today's names, where older or newer exporters, or another layout, have others; `component` is
/// its folder.
pub fn under_own_names(component: &'static str, source: Rc<dyn Tensors>) -> Result<Renamed> {
    let names = source.names();
    let members: Members<'_> = names.iter().map(|name| (*name, *name)).collect();
    let given = given(component, &members);
    distinct(&*source, component, &given)?;
    Ok(Renamed::new(Rc::clone(&source), given))
}

/// A name without what training tools left in front of it.
fn bare(name: &str) -> &str {
    LEFT.iter().fold(name, |name, left| name.strip_prefix(left).unwrap_or(name))
}

/// What the members of a component give.
fn given<'a>(component: &str, members: &Members<'a>) -> Vec<(&'a str, Given)> {
    let names = || members.iter().map(|(_, name)| *name);
    let each = |of: &dyn Fn(&str) -> Vec<Given>| {
        let given =
            |(stored, name): &(&'a str, &str)| of(name).into_iter().map(|given| (*stored, given)).collect();
        members.iter().flat_map::<Vec<_>, _>(given).collect()
    };
    match component {
        UNET => {
            let blocks = unet::Blocks::of(names());
            each(&|name| vec![blocks.given(name).unwrap_or_else(|| Given::whole(name))])
        }
        VAE => {
            let levels = vae::Levels::of(names());
            each(&|name| vec![levels.given(name)])
        }
        _ => each(&text::given),
    }
}

/// Fails where two stored tensors give the same.
fn distinct(source: &dyn Tensors, component: &str, given: &[(&str, Given)]) -> Result<()> {
    let mut seen: BTreeMap<&str, &str> = BTreeMap::new();
    for (stored, Given { name, .. }) in given {
        if let Some(first) = seen.insert(name, stored) {
            return Err(Error::Double {
                place: source.describe(stored),
                first: first.into(),
                second: (*stored).into(),
                component: component.into(),
            });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use calotype_tensor::{DType, HostTensor, Made, Shape};

    fn parts(names: &[&str]) -> Result<FileParts> {
        let tensors = names.iter().map(|name| (*name, DType::F32, Shape::new(&[6])));
        FileParts::of(Rc::new(Made::new("file", tensors, |_, shape| HostTensor::from_f32(shape, &[0.0; 6]))))
    }

    fn stored(parts: &FileParts, component: &str) -> Vec<String> {
        let of = |part: &Renamed| {
            part.names().iter().map(|name| format!("{name} = {}", part.stored(name).unwrap())).collect()
        };
        parts.components.get(component).map_or_else(Vec::new, of)
    }

    #[test]
    fn a_file_is_sorted_by_what_names_begin_with() {
        let parts = parts(&[
            "model.diffusion_model.input_blocks.0.0.weight",
            "first_stage_model.decoder.conv_in.weight",
            "cond_stage_model.transformer.text_model.final_layer_norm.bias",
            "conditioner.embedders.1.model.text_projection",
            "model_ema.diffusion_modelinput_blocks00weight",
            "model_ema.decay",
            "betas",
        ])
        .unwrap();
        assert_eq!(
            stored(&parts, "unet"),
            ["conv_in.weight = model.diffusion_model.input_blocks.0.0.weight"]
        );
        assert_eq!(
            stored(&parts, "vae"),
            ["decoder.conv_in.weight = first_stage_model.decoder.conv_in.weight"]
        );
        let text = "text_model.final_layer_norm.bias = cond_stage_model.transformer.text_model.final_layer_norm.bias";
        assert_eq!(stored(&parts, "text_encoder"), [text]);
        let projection = "text_projection.weight = conditioner.embedders.1.model.text_projection";
        assert_eq!(stored(&parts, "text_encoder_2"), [projection]);
        assert_eq!((parts.rest, parts.averaged, parts.is_average), (vec!["betas".to_string()], 1, false));
    }

    #[test]
    fn one_component_needs_nothing_in_front() {
        for (names, component, first) in [
            (
                &["input_blocks.0.0.weight", "out.0.bias"][..],
                "unet",
                "conv_in.weight = input_blocks.0.0.weight",
            ),
            (
                &["conv_in.weight", "time_embedding.linear_1.weight"],
                "unet",
                "conv_in.weight = conv_in.weight",
            ),
            (
                &["decoder.conv_in.weight", "decoder.norm_out.bias"],
                "vae",
                "decoder.conv_in.weight = decoder.conv_in.weight",
            ),
            (
                &["module.decoder.conv_in.weight"],
                "vae",
                "decoder.conv_in.weight = module.decoder.conv_in.weight",
            ),
            (
                &["token_embedding.weight"],
                "text_encoder",
                "text_model.embeddings.token_embedding.weight = token_embedding.weight",
            ),
        ] {
            let parts = parts(names).unwrap();
            assert_eq!(stored(&parts, component)[0], first);
            assert_eq!((parts.components.len(), parts.rest.len()), (1, 0));
        }
    }

    #[test]
    fn an_average_is_taken_where_there_is_nothing_else() {
        let parts = parts(&["model_ema.diffusion_modelout2bias", "model_ema.num_updates"]).unwrap();
        assert_eq!(stored(&parts, "unet"), ["conv_out.bias = model_ema.diffusion_modelout2bias"]);
        assert!(parts.is_average && parts.averaged == 1 && parts.rest.is_empty());
    }

    #[test]
    fn two_names_for_one_tensor_are_refused() {
        let error =
            parts(&["model.diffusion_model.out.2.bias", "unet.conv_out.bias"]).err().unwrap().to_string();
        assert_eq!(
            error,
            "file: model.diffusion_model.out.2.bias and unet.conv_out.bias are the same tensor of the unet: two models are \
             mixed in it; take a file with one"
        );
    }
}
