use super::{Activation, fields::Fields};
use crate::Result;
use serde_json::json;

/// `vae/config.json`: the autoencoder between pictures and latents (diffusers: `AutoencoderKL`).
#[derive(Clone, Debug, PartialEq)]
pub struct VaeConfig {
    /// Channels of the encoder's picture.
    pub in_channels: usize,
    /// Channels of the decoder's picture.
    pub out_channels: usize,
    /// Channels of each level, the picture's side first.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of an encoder level; a decoder level has one more.
    pub layers_per_block: usize,
    /// In residual blocks and before the last convolution.
    pub act_fn: Activation,
    /// Channels of the latents.
    pub latent_channels: usize,
    /// Groups of every group norm; they divide every level's channels.
    pub norm_num_groups: usize,
    /// Latents are multiplied by this after encoding and divided by it before decoding.
    pub scaling_factor: f32,
    /// Mean and standard deviation of each channel of the latents, where the model knows them at mean 0 and deviation
    /// `scaling_factor` instead (diffusers' SDXL pipelines).
    pub latents: Option<[Vec<f32>; 2]>,
    /// Whether f16 does not hold the decoder's numbers; SDXL's word alone counts, by diffusers' pipelines.
    pub force_upcast: bool,
    /// Whether a 1×1 convolution follows the encoder.
    pub use_quant_conv: bool,
    /// Whether a 1×1 convolution precedes the decoder.
    pub use_post_quant_conv: bool,
    /// Whether the middle block has attention (of one head).
    pub mid_block_add_attention: bool,
}

/// What its own tiles would ask for.
const INERT: [&str; 1] = ["sample_size"];

impl VaeConfig {
    /// Added to the variance in group norms. No field: diffusers' `Encoder` and `Decoder` have it written in.
    pub const NORM_EPS: f32 = 1e-6;

    /// Reads the configuration; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut f = Fields::parse(file, text)?;
        f.inert(&INERT);
        let channels = f.counts("block_out_channels", &[64])?;
        for (field, block) in
            [("down_block_types", "DownEncoderBlock2D"), ("up_block_types", "UpDecoderBlock2D")]
        {
            let blocks = f.words(field, &[block], &[(block, ())])?;
            let why = format!("must be as many as block_out_channels ({})", channels.len());
            f.check(blocks.len() == channels.len(), field, vec![block; blocks.len()], why)?;
        }
        // The Stable Diffusion pipelines of diffusers ignore it; latents that need it would come out wrong.
        f.only("shift_factor", &[json!(null), json!(0)])?;
        let mean: Option<Vec<f32>> = f.get("latents_mean", None)?;
        let std: Option<Vec<f32>> = f.get("latents_std", None)?;

        let config = Self {
            in_channels: f.count("in_channels", 3)?,
            out_channels: f.count("out_channels", 3)?,
            layers_per_block: f.get("layers_per_block", 1)?,
            act_fn: Activation::diffusers(&mut f, "act_fn", "silu")?,
            latents: mean.zip(std).map(|(mean, std)| [mean, std]),
            latent_channels: f.count("latent_channels", 4)?,
            norm_num_groups: f.count("norm_num_groups", 32)?,
            scaling_factor: f.divisor("scaling_factor", 0.18215)?,
            force_upcast: f.flag("force_upcast", true),
            use_quant_conv: f.flag("use_quant_conv", true),
            use_post_quant_conv: f.flag("use_post_quant_conv", true),
            mid_block_add_attention: f.flag("mid_block_add_attention", true),
            block_out_channels: channels,
        };

        for (field, each) in ["latents_mean", "latents_std"].into_iter().zip(config.latents.iter().flatten())
        {
            let sound = each.len() == config.latent_channels && each.iter().all(|n| n.is_finite());
            f.check(sound, field, each, "must be a number for each channel of the latents")?;
        }
        let groups = config.norm_num_groups;
        let divisible = config.block_out_channels.iter().all(|c| c.is_multiple_of(groups));
        let why = format!("must be multiples of norm_num_groups {groups}");
        f.check(divisible, "block_out_channels", &config.block_out_channels, why)?;
        f.check(config.out_channels == 3, "out_channels", config.out_channels, "a picture has 3")?;
        f.check(config.in_channels == 3, "in_channels", config.in_channels, "a picture has 3")?;
        f.finish()?;
        Ok(config)
    }

    /// Pixels to a latent, in each direction: every level but the last halves.
    pub fn factor(&self) -> usize {
        1 << (self.block_out_channels.len() - 1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<VaeConfig> {
        VaeConfig::parse("vae/config.json", text)
    }

    #[test]
    fn absent_fields_have_the_defaults_of_diffusers() {
        let config = parse("{}").unwrap();
        assert_eq!((config.in_channels, config.out_channels, config.latent_channels), (3, 3, 4));
        assert_eq!((&config.block_out_channels[..], config.layers_per_block), (&[64][..], 1));
        assert_eq!((config.norm_num_groups, config.factor()), (32, 1));
        assert_eq!((config.scaling_factor, config.act_fn), (0.18215, Activation::Silu));
        assert!(config.use_quant_conv && config.use_post_quant_conv && config.mid_block_add_attention);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        for (text, part) in [
            (r#"{"block_out_channels": [64, 64]}"#, "down_block_types"),
            (
                r#"{"block_out_channels": [48]}"#,
                "block_out_channels = [48]: must be multiples of norm_num_groups 32",
            ),
            (r#"{"block_out_channels": []}"#, "block_out_channels = []"),
            (r#"{"up_block_types": ["AttnUpDecoderBlock2D"]}"#, "AttnUpDecoderBlock2D"),
            (r#"{"shift_factor": 0.1159}"#, "shift_factor = 0.1159 is not supported; null or 0 is"),
            (
                r#"{"latents_mean": [0.5], "latents_std": [1]}"#,
                "latents_mean = [0.5]: must be a number for each",
            ),
            (r#"{"scaling_factor": 0}"#, "scaling_factor"),
            (r#"{"act_fn": "tanh"}"#, "act_fn = \"tanh\" is not supported; silu"),
            (r#"{"norm_type": "rms"}"#, "unknown field norm_type"),
        ] {
            let error = parse(text).unwrap_err().to_string();
            assert!(error.starts_with("vae/config.json: ") && error.contains(part), "{error}");
        }
    }
}
