//! What a LoRA's tensors are called, in every spelling that is read.

/// The UNet's folder.
pub const UNET: &str = "unet";
/// The text encoder's folder.
pub const TEXT: &str = "text_encoder";

/// What a tensor is to its layer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    Down,
    Up,
    Alpha,
}

/// What a tensor's name says.
#[derive(Debug, PartialEq, Eq)]
pub struct Named<'a> {
    pub component: &'static str,
    /// The layer's path as today's diffusers and transformers have it; kohya's has underscores for dots.
    pub path: String,
    pub part: Part,
    /// The adapter's name, where PEFT wrote one.
    pub adapter: Option<&'a str>,
}

/// How the tensors of a layer end.
const ENDINGS: [(&str, Part); 11] = [
    (".lora_A.weight", Part::Down),
    (".lora_B.weight", Part::Up),
    (".lora.down.weight", Part::Down),
    (".lora.up.weight", Part::Up),
    (".lora_linear_layer.down.weight", Part::Down),
    (".lora_linear_layer.up.weight", Part::Up),
    ("_lora.down.weight", Part::Down),
    ("_lora.up.weight", Part::Up),
    (".lora_down.weight", Part::Down),
    (".lora_up.weight", Part::Up),
    (".alpha", Part::Alpha),
];

/// What names of other changes to a model hold, and what those are called.
const OTHER_KINDS: [(&str, &str); 12] = [
    ("dora_scale", "DoRA"),
    ("lora_magnitude_vector", "DoRA"),
    (".hada_", "LoHa"),
    (".lokr_", "LoKr"),
    (".lora_mid.", "LoCon with a Tucker decomposition"),
    (".lora_B.bias", "LoRA with biases"),
    (".lora_embedding_", "LoRA of an embedding"),
    ("lora_controlnet", "Control-LoRA"),
    (".on_input", "(IA)³"),
    ("ia3_l", "(IA)³"),
    (".oft_", "OFT"),
    ("bundle_emb.", "textual inversion in a LoRA's file"),
];

/// What a layer's name begins with, and whose layer it then is.
const COMPONENTS: [(&str, &str); 5] =
    [("unet.", UNET), ("text_encoder.", TEXT), ("lora_unet_", UNET), ("lora_te_", TEXT), ("lora_te1_", TEXT)];

const SECOND: &str = "a second text encoder (SDXL's)";
const THIRD: &str = "a third text encoder (SD3's)";
const TRANSFORMER: &str = "a diffusion transformer (that of SD3, Flux and others)";
const PRIOR: &str = "a prior (that of Kandinsky or Stable Cascade)";

/// What the names of layers begin with that no model here has.
const OTHER_COMPONENTS: [(&str, &str); 10] = [
    ("text_encoder_2.", SECOND),
    ("lora_te2_", SECOND),
    ("text_encoder_3.", THIRD),
    ("lora_te3_", THIRD),
    ("transformer.", TRANSFORMER),
    ("lora_transformer_", TRANSFORMER),
    ("prior.", PRIOR),
    ("lora_prior_", PRIOR),
    ("controlnet.", "a ControlNet"),
    ("vae.", "an autoencoder"),
];

/// What `PeftModel` puts before the names of the model in it.
const WRAPPED: &str = "base_model.model.";

/// Why a name is not understood.
#[derive(Debug, PartialEq, Eq)]
pub enum Unknown {
    /// It is of another kind of change.
    Kind(&'static str),
    /// It is a layer of a model that is not here.
    Component(&'static str),
    /// It is none that a LoRA has.
    Name,
}

/// Reads a tensor's name.
pub fn read(name: &str) -> Result<Named<'_>, Unknown> {
    let Some((layer, part, adapter)) = split(name) else {
        let kind = OTHER_KINDS.iter().find(|(mark, _)| name.contains(mark)).map(|(_, kind)| *kind);
        let full = [".diff", ".diff_b"].iter().any(|end| name.ends_with(end));
        let kind = kind.or(full.then_some("full difference of weights"));
        return Err(kind.map_or(Unknown::Name, Unknown::Kind));
    };
    let (mut component, mut path) = (None, layer);
    loop {
        if let Some(rest) = path.strip_prefix(WRAPPED) {
            path = rest;
        } else if let (None, Some((found, rest))) = (component, component_of(path)) {
            (component, path) = (Some(found), rest);
        } else {
            break;
        }
    }
    let starts = |(prefix, _): &&(&str, _)| path.starts_with(prefix);
    if let (None, Some((_, other))) = (component, OTHER_COMPONENTS.iter().find(starts)) {
        return Err(Unknown::Component(other));
    }
    // What names no component is told by its layers, of which the two have none in common.
    let by_layer =
        || if ["text_model.", "encoder.layers."].iter().any(|p| path.starts_with(p)) { TEXT } else { UNET };
    let component = component.unwrap_or_else(by_layer);
    Ok(Named { component, path: modern(component, path), part, adapter })
}

/// A layer, which part of it the tensor is, and of which adapter: `….lora_A.default.weight`.
fn split(name: &str) -> Option<(&str, Part, Option<&str>)> {
    let plain = ENDINGS.iter().find_map(|(end, part)| Some((name.strip_suffix(end)?, *part, None)));
    plain.or_else(|| {
        let (head, adapter) = name.strip_suffix(".weight")?.rsplit_once('.')?;
        let marks = [(".lora_A", Part::Down), (".lora_B", Part::Up)];
        marks.iter().find_map(|(mark, part)| Some((head.strip_suffix(mark)?, *part, Some(adapter))))
    })
}

fn component_of(path: &str) -> Option<(&'static str, &str)> {
    COMPONENTS.iter().find_map(|(prefix, component)| Some((*component, path.strip_prefix(prefix)?)))
}

/// A layer's path as it is today. diffusers up to 0.19 kept LoRAs in attention processors, whose last projection has no
/// index, and up to 0.17 named the text encoder's projections as it names the UNet's.
fn modern(component: &str, path: &str) -> String {
    let path = path.replace(".processor.", ".");
    let Some((head, last)) = path.rsplit_once('.') else { return path };
    let last = match (component, last) {
        (TEXT, "to_q") => "q_proj",
        (TEXT, "to_k") => "k_proj",
        (TEXT, "to_v") => "v_proj",
        (TEXT, "to_out") => "out_proj",
        (UNET, "to_out") => "to_out.0",
        _ => return path,
    };
    format!("{head}.{last}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const BLOCK: &str = "down_blocks.0.attentions.0.transformer_blocks.0.attn1";
    const LAYER: &str = "text_model.encoder.layers.0";

    /// The halves of a layer's change as each writer ends them.
    const PAIRS: [[&str; 2]; 6] = [
        [".lora_A.weight", ".lora_B.weight"],
        [".lora_A.default.weight", ".lora_B.default.weight"],
        [".lora_A.default_0.weight", ".lora_B.default_0.weight"],
        [".lora.down.weight", ".lora.up.weight"],
        [".lora_linear_layer.down.weight", ".lora_linear_layer.up.weight"],
        [".lora_down.weight", ".lora_up.weight"],
    ];

    /// Asserts that a name's two halves are those of one layer.
    fn reads(layer: &str, [down, up]: [&str; 2], component: &str, path: &str) {
        for (end, part) in [(down, Part::Down), (up, Part::Up)] {
            let name = format!("{layer}{end}");
            let named = read(&name).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert_eq!((named.component, &named.path[..], named.part), (component, path, part), "{name}");
        }
    }

    #[test]
    fn every_prefix_meets_every_ending() {
        let layers = [
            (UNET, format!("{BLOCK}.to_q")),
            (UNET, format!("{BLOCK}.to_out.0")),
            (UNET, "mid_block.resnets.1.conv2".into()),
            (UNET, "conv_in".into()),
            (TEXT, format!("{LAYER}.self_attn.q_proj")),
            (TEXT, format!("{LAYER}.mlp.fc1")),
            (TEXT, "encoder.layers.11.self_attn.out_proj".into()),
        ];
        for (component, path) in &layers {
            let prefixes = [
                format!("{component}."),
                String::new(),
                WRAPPED.into(),
                format!("{WRAPPED}{component}."),
                format!("{component}.{WRAPPED}"),
            ];
            for (prefix, pair) in prefixes.iter().flat_map(|prefix| PAIRS.map(|pair| (prefix, pair))) {
                reads(&format!("{prefix}{path}"), pair, component, path);
            }
            let flat = path.replace('.', "_");
            let kohya = if *component == UNET { &["lora_unet_"][..] } else { &["lora_te_", "lora_te1_"] };
            for prefix in kohya {
                reads(&format!("{prefix}{flat}"), PAIRS[5], component, &flat);
                let alpha = format!("{prefix}{flat}.alpha");
                assert_eq!(read(&alpha).unwrap().part, Part::Alpha);
            }
        }
    }

    #[test]
    fn projections_of_old_are_those_of_today() {
        let pair = ["_lora.down.weight", "_lora.up.weight"];
        let names = [("to_q", "q_proj"), ("to_k", "k_proj"), ("to_v", "v_proj"), ("to_out", "out_proj")];
        for (old, today) in names {
            let text = format!("{LAYER}.self_attn.{today}");
            reads(&format!("text_encoder.{LAYER}.self_attn.{old}"), pair, TEXT, &text);
            let unet = format!("{BLOCK}.{old}{}", if old == "to_out" { ".0" } else { "" });
            for layer in [format!("{BLOCK}.{old}"), format!("{BLOCK}.processor.{old}")] {
                reads(&layer, pair, UNET, &unet);
                reads(&format!("unet.{layer}"), pair, UNET, &unet);
            }
        }
    }

    #[test]
    fn adapters_are_told_by_name() {
        assert_eq!(read("unet.a.lora_A.style.weight").unwrap().adapter, Some("style"));
        assert_eq!(read("unet.a.lora_A.weight").unwrap().adapter, None);
    }

    #[test]
    fn what_is_not_read_is_told_apart() {
        let kinds = [
            ("unet.a.to_q.lora_magnitude_vector", "DoRA"),
            ("lora_unet_a.dora_scale", "DoRA"),
            ("lora_unet_a.hada_w1_a", "LoHa"),
            ("lora_unet_a.lokr_w1", "LoKr"),
            ("unet.a.lora_B.bias", "LoRA with biases"),
            ("lora_unet_a.diff_b", "full difference of weights"),
        ];
        for (name, kind) in kinds {
            assert_eq!(read(name), Err(Unknown::Kind(kind)), "{name}");
        }
        let components = [
            ("text_encoder_2.text_model.a.lora_A.weight", SECOND),
            ("lora_te2_text_model_a.lora_down.weight", SECOND),
            ("lora_te3_a.alpha", THIRD),
            ("transformer.blocks.0.lora_A.weight", TRANSFORMER),
            ("base_model.model.transformer.blocks.0.lora_A.weight", TRANSFORMER),
        ];
        for (name, component) in components {
            assert_eq!(read(name), Err(Unknown::Component(component)), "{name}");
        }
        for name in ["conv_in.weight", "model.diffusion_model.out.2.weight"] {
            assert_eq!(read(name), Err(Unknown::Name), "{name}");
        }
    }
}
