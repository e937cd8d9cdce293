/// What a file of weights is for, told by its tensors' names.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum FileKind {
    /// A whole model, or a component of one: what [`FileParts`](super::FileParts) sorts.
    Model,
    /// A change of a model's layers, of any kind.
    Lora,
    /// Words' rows of a text encoder.
    Embedding,
    /// A network that steers a UNet by a picture.
    ControlNet,
    /// A network that adds features to a UNet.
    T2iAdapter,
    /// A picture as a prompt.
    IpAdapter,
    /// A tiny autoencoder.
    Taesd,
    /// A network that enlarges pictures.
    Upscaler,
    /// A diffusion transformer.
    Transformer,
    /// Something else.
    Unknown,
}

/// What a name has in it, and the kind that only such names have; the first that fits decides.
const MARKS: [(Mark, FileKind); 23] = [
    (Mark::Has("lora_"), FileKind::Lora),
    (Mark::Has(".lora."), FileKind::Lora),
    (Mark::Has("hada_w"), FileKind::Lora),
    (Mark::Has("lokr_w"), FileKind::Lora),
    (Mark::Begins("lycoris_"), FileKind::Lora),
    (Mark::Has("oft_"), FileKind::Lora),
    (Mark::Has("lora.down"), FileKind::Lora),
    (Mark::Is("emb_params"), FileKind::Embedding),
    (Mark::Has("string_to_param"), FileKind::Embedding),
    (Mark::Is("clip_g"), FileKind::Embedding),
    (Mark::Is("clip_l"), FileKind::Embedding),
    (Mark::Begins("ip_adapter."), FileKind::IpAdapter),
    (Mark::Begins("model.diffusion_model.input_blocks."), FileKind::Model),
    (Mark::Has("input_hint_block."), FileKind::ControlNet),
    (Mark::Has("controlnet_"), FileKind::ControlNet),
    (Mark::Has("body.0.block1."), FileKind::T2iAdapter),
    (Mark::Begins("adapter.body."), FileKind::T2iAdapter),
    (Mark::Begins("taesd_"), FileKind::Taesd),
    (Mark::Begins("decoder.layers."), FileKind::Taesd),
    (Mark::Has("joint_blocks."), FileKind::Transformer),
    (Mark::Has("double_blocks."), FileKind::Transformer),
    (Mark::Begins("model.1.sub."), FileKind::Upscaler),
    (Mark::Has(".rdb1."), FileKind::Upscaler),
];

enum Mark {
    Is(&'static str),
    Begins(&'static str),
    Has(&'static str),
}

impl FileKind {
    /// The kind of a file whose tensors have these names.
    pub fn of(names: &[&str]) -> Self {
        let fits = |mark: &Mark| {
            names.iter().any(|name| match mark {
                Mark::Is(whole) => name == whole,
                Mark::Begins(start) => name.starts_with(start),
                Mark::Has(part) => name.contains(part),
            })
        };
        if let Some((_, kind)) = MARKS.iter().find(|(mark, _)| fits(mark)) {
            return *kind;
        }
        // A diffusers embedding is one tensor, called as its word.
        if let [only] = names
            && !only.contains('.')
        {
            return Self::Embedding;
        }
        let ours =
            ["input_blocks.", "down_blocks.", "decoder.", "encoder.", "token_embedding.", "diffusion_model"];
        if names.iter().any(|name| ours.iter().any(|part| name.contains(part))) {
            Self::Model
        } else {
            Self::Unknown
        }
    }

    /// What it is in words.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Model => "a model, or a component of one",
            Self::Lora => "a LoRA",
            Self::Embedding => "a textual-inversion embedding",
            Self::ControlNet => "a ControlNet",
            Self::T2iAdapter => "a T2I-Adapter",
            Self::IpAdapter => "an IP-Adapter",
            Self::Taesd => "a tiny autoencoder (TAESD)",
            Self::Upscaler => "an upscaler",
            Self::Transformer => "a diffusion transformer (Stable Diffusion 3, Flux)",
            Self::Unknown => "a file of tensors that are of nothing known here",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_told_by_its_names() {
        for (names, kind) in [
            (&["lora_unet_mid_block_attentions_0_proj_in.lora_up.weight"][..], FileKind::Lora),
            (&["unet.mid_block.attentions.0.proj_in.lora_A.weight"], FileKind::Lora),
            (&["lora_te_text_model_encoder_layers_0_mlp_fc1.hada_w1_a"], FileKind::Lora),
            (&["emb_params"], FileKind::Embedding),
            (&["<cat-toy>"], FileKind::Embedding),
            (&["clip_g", "clip_l"], FileKind::Embedding),
            (&["control_model.input_hint_block.0.bias"], FileKind::ControlNet),
            (&["controlnet_cond_embedding.conv_in.bias"], FileKind::ControlNet),
            (
                &["model.diffusion_model.input_blocks.0.0.bias", "control_model.input_hint_block.0.bias"],
                FileKind::Model,
            ),
            (&["model.diffusion_model.joint_blocks.0.context_block.attn.proj.bias"], FileKind::Transformer),
            (&["decoder.up.0.block.0.norm1.bias"], FileKind::Model),
            (&["model.1.sub.0.RDB1.conv1.0.bias"], FileKind::Upscaler),
            (&["decoder.layers.0.weight"], FileKind::Taesd),
            (&["conv1.weight", "conv1.bias"], FileKind::Unknown),
        ] {
            assert_eq!(FileKind::of(names), kind, "{names:?}");
        }
    }
}
