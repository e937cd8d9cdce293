//! What a change's tensors are called: a file for each naming scheme. Schemes mix, so any prefix may meet any ending.

mod diffusers;
mod kohya;
mod lycoris;
pub(super) mod original;
mod peft;

use super::kind::Piece;
pub(crate) use crate::schemes::{TEXT, TEXT_2, UNET};

/// What a layer's name begins with, and whose layer it then is, where that says so.
type Prefix = (&'static str, Option<&'static str>);

/// What a tensor's name ends with, and what the tensor then is.
type Ending = (&'static str, Piece);

/// A scheme's name, with what layers' names begin with and what tensors' end with.
type Scheme = (&'static str, &'static [Prefix], &'static [Ending]);

const SCHEMES: [Scheme; 5] = [
    (kohya::NAME, kohya::PREFIXES, kohya::ENDINGS),
    (diffusers::NAME, diffusers::PREFIXES, diffusers::ENDINGS),
    (peft::NAME, peft::PREFIXES, peft::ENDINGS),
    (original::NAME, original::PREFIXES, &[]),
    ("LyCORIS", &[], lycoris::ENDINGS),
];

/// What a tensor's name says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Named<'a> {
    pub component: &'static str,
    /// The layer's path as today's diffusers and transformers have it, or the original one; kohya's has underscores for
    /// dots.
    pub path: String,
    pub piece: Piece,
    /// The adapter's name, where PEFT wrote one.
    pub adapter: Option<&'a str>,
    /// The scheme of the layer's name.
    pub scheme: &'static str,
}

/// What names of other changes to a model hold, and what those are called.
const OTHER_KINDS: [(&str, &str); 3] = [
    ("lora_controlnet", CONTROL),
    (".oft_r", "OFT as PEFT up to 0.13 wrote it"),
    (".oft_embedding_R", "OFT of an embedding"),
];

/// What the names of words that a LoRA brings along begin with, before the word's own (A1111: `network.py` and
/// `networks.py` of its extension Lora).
pub(super) const BUNDLED: &str = "bundle_emb.";

/// What the names of layers begin with that no model here has.
const OTHER_COMPONENTS: [(&str, &str); 9] = [
    ("text_encoder_3.", THIRD),
    ("lora_te3_", THIRD),
    ("text_encoders.t5xxl.", THIRD),
    ("transformer.", TRANSFORMER),
    ("lora_transformer_", TRANSFORMER),
    ("prior.", PRIOR),
    ("lora_prior_", PRIOR),
    ("controlnet.", "a ControlNet"),
    ("vae.", "an autoencoder"),
];

/// A whole ControlNet of differences.
pub(super) const CONTROL: &str = "Control-LoRA";
const THIRD: &str = "a third text encoder";
/// What is told of it by its name alone.
pub(super) const TRANSFORMER: &str = "a diffusion transformer (that of SD3, Flux and others)";
pub(super) const PRIOR: &str = "a prior (that of Kandinsky or Stable Cascade)";

/// Why a name is not understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Unknown {
    /// It is of another kind of change.
    Kind(&'static str),
    /// It is a word's, which prompts may name.
    Word,
    /// It is a layer of a model that is not here.
    Component(&'static str),
    /// It is none that a change has.
    Name,
}

/// Reads a tensor's name, one of those for which `there` is true.
pub(crate) fn read<'a>(name: &'a str, there: &dyn Fn(&str) -> bool) -> Result<Named<'a>, Unknown> {
    if name.starts_with(BUNDLED) {
        return Err(Unknown::Word);
    }
    let (stem, piece, adapter, mut scheme) = match split(name, there) {
        Some(found) => found,
        None => {
            let kind = OTHER_KINDS.iter().find(|(mark, _)| name.contains(mark));
            return Err(kind.map_or(Unknown::Name, |(_, kind)| Unknown::Kind(kind)));
        }
    };
    let (mut component, mut path) = (None, stem);
    while let Some((found, of, rest)) = prefix(path, component.is_some()) {
        // What names the component names the scheme.
        scheme = if of.is_some() || scheme == "LyCORIS" { found } else { scheme };
        (component, path) = (component.or(of), rest);
    }
    let starts = |(prefix, _): &&(&str, _)| path.starts_with(prefix);
    if let (None, Some((_, other))) = (component, OTHER_COMPONENTS.iter().find(starts)) {
        return Err(Unknown::Component(other));
    }
    // What names no component is told by its layers, of which the two have none in common.
    let text = ["text_model.", "text_model_", "encoder.layers."];
    let by_layer = if text.iter().any(|start| path.starts_with(start)) { TEXT } else { UNET };
    let component = component.unwrap_or(by_layer);
    Ok(Named { component, path: diffusers::modern(component, path), piece, adapter, scheme })
}

/// A layer, which part of it the tensor is, of which adapter, and in which scheme.
fn split<'a>(
    name: &'a str,
    there: &dyn Fn(&str) -> bool,
) -> Option<(&'a str, Piece, Option<&'a str>, &'static str)> {
    let endings = SCHEMES.iter().flat_map(|(scheme, _, endings)| endings.iter().map(move |e| (*scheme, e)));
    // The longest, as `_lora.up.weight` ends other names too.
    let found =
        endings.filter_map(|(scheme, (end, piece))| Some((name.strip_suffix(end)?, *piece, None, scheme)));
    let found = found.min_by_key(|(stem, ..)| stem.len());
    // (IA)³ calls its numbers as a model calls a weight.
    let gains = || {
        let stem = name.strip_suffix(".weight").filter(|stem| there(&format!("{stem}.on_input")))?;
        Some((stem, Piece::Gains, None, "LyCORIS"))
    };
    let adapted =
        || peft::adapted(name).map(|(stem, piece, adapter)| (stem, piece, Some(adapter), peft::NAME));
    found.or_else(gains).or_else(adapted)
}

/// The scheme and the component that a layer's name begins with, and the rest of it. A component is named once.
fn prefix(path: &str, known: bool) -> Option<(&'static str, Option<&'static str>, &str)> {
    let prefixes =
        SCHEMES.iter().flat_map(|(scheme, prefixes, _)| prefixes.iter().map(move |p| (*scheme, p)));
    let mut prefixes = prefixes.filter(|(_, (_, component))| !(known && component.is_some()));
    prefixes.find_map(|(scheme, (prefix, component))| Some((scheme, *component, path.strip_prefix(prefix)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const WRAPPED: &str = "base_model.model.";

    fn named(name: &str) -> Result<Named<'_>, Unknown> {
        read(name, &|_| false)
    }

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
        for (end, piece) in [(down, Piece::Down), (up, Piece::Up)] {
            let name = format!("{layer}{end}");
            let found = named(&name).unwrap_or_else(|e| panic!("{name}: {e:?}"));
            assert_eq!((found.component, &found.path[..], found.piece), (component, path, piece), "{name}");
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
                assert_eq!(named(&alpha).unwrap().piece, Piece::Alpha);
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
        assert_eq!(named("unet.a.lora_A.style.weight").unwrap().adapter, Some("style"));
        assert_eq!(named("unet.a.lora_A.weight").unwrap().adapter, None);
        for (name, piece) in [
            ("unet.a.ia3_l.style", Piece::Factors),
            ("unet.a.oft_R.style.weight", Piece::Triangles),
            ("unet.a.hada_w1_a.style", Piece::HadamardA1),
            ("unet.a.lora_embedding_B.style", Piece::EmbeddingUp),
        ] {
            let found = named(name).unwrap();
            assert_eq!((found.adapter, &found.path[..], found.piece), (Some("style"), "a", piece), "{name}");
        }
        for name in ["unet.a.ia3_l.", "unet.a.ia3_l.b.c", "unet.a.lora_A.style"] {
            assert_eq!(named(name), Err(Unknown::Name), "{name}");
        }
    }

    #[test]
    fn what_is_not_read_is_told_apart() {
        let kinds =
            [("lora_controlnet", CONTROL), ("base_model.model.a.oft_r", "OFT as PEFT up to 0.13 wrote it")];
        for (name, kind) in kinds {
            assert_eq!(named(name), Err(Unknown::Kind(kind)), "{name}");
        }
        assert_eq!(named("bundle_emb.x.string_to_param.*"), Err(Unknown::Word));
        let components = [
            ("lora_te3_a.alpha", THIRD),
            ("transformer.blocks.0.lora_A.weight", TRANSFORMER),
            ("base_model.model.transformer.blocks.0.lora_A.weight", TRANSFORMER),
        ];
        for (name, component) in components {
            assert_eq!(named(name), Err(Unknown::Component(component)), "{name}");
        }
        for name in ["conv_in.weight", "model.diffusion_model.out.2.weight"] {
            assert_eq!(named(name), Err(Unknown::Name), "{name}");
        }
    }

    #[test]
    fn the_second_text_encoder_and_other_prefixes_are_read() {
        let cases = [
            ("text_encoder_2.text_model.a.lora_A.weight", TEXT_2, "text_model.a", diffusers::NAME),
            ("lora_te2_text_model_a.lora_down.weight", TEXT_2, "text_model_a", kohya::NAME),
            ("lora_te_wrapped_transformer_text_model_a.alpha", TEXT, "text_model_a", kohya::NAME),
            ("lycoris_text_model_a.lokr_w1", TEXT, "text_model_a", kohya::NAME),
            ("lycoris_mid_block_a.lokr_w1", UNET, "mid_block_a", kohya::NAME),
            ("oft_unet_mid_block_a.oft_blocks", UNET, "mid_block_a", kohya::NAME),
            ("diffusion_model.out.2.lora_up.weight", UNET, "out.2", original::NAME),
            (
                "text_encoders.clip_g.transformer.text_model.a.lora_up.weight",
                TEXT_2,
                "text_model.a",
                original::NAME,
            ),
            ("base_model.model.a.to_q.lora_magnitude_vector.default.weight", UNET, "a.to_q", peft::NAME),
        ];
        for (name, component, path, scheme) in cases {
            let found = named(name).unwrap();
            assert_eq!((found.component, &found.path[..], found.scheme), (component, path, scheme), "{name}");
        }
        // A model's own weight, unless it is said to be gains.
        assert_eq!(named("lora_unet_a.weight"), Err(Unknown::Name));
        let found = read("lora_unet_a.weight", &|name| name == "lora_unet_a.on_input").unwrap();
        assert_eq!((found.piece, &found.path[..]), (Piece::Gains, "a"));
    }
}
