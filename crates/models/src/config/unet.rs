use super::Activation;
use super::fields::Fields;
use crate::Result;
use calotype_sampling::diffusers::truthy;
use serde_json::{Value, json};

/// What a level of the UNet has beside its residual blocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Block {
    /// Nothing (`DownBlock2D`, `UpBlock2D`).
    Plain,
    /// A transformer after each residual block (`CrossAttnDownBlock2D`, `CrossAttnUpBlock2D`).
    CrossAttention,
}

impl Block {
    /// The transformer's blocks, where there is one.
    pub(crate) fn with(self, depth: usize) -> Option<usize> {
        (self == Self::CrossAttention).then_some(depth)
    }
}

/// `unet/config.json`: the network that predicts noise or velocity (diffusers: `UNet2DConditionModel`).
///
/// What diffusers takes as one number or a list is a list here, one entry for each level, outermost first.
#[derive(Clone, Debug, PartialEq)]
pub struct UNetConfig {
    /// Height and width that the model was trained on, in latents.
    pub sample_size: Option<[usize; 2]>,
    /// Channels that come in: the latents', those of a picture that it changes, or the mask's and those of what that leaves.
    pub in_channels: usize,
    /// Channels of the prediction.
    pub out_channels: usize,
    /// The levels' blocks on the way down, outermost first.
    pub down_blocks: Vec<Block>,
    /// The block between the two ways, where there is one.
    pub mid_block: Option<Block>,
    /// The levels' blocks on the way up, innermost first, as diffusers lists them.
    pub up_blocks: Vec<Block>,
    /// Channels of each level.
    pub block_out_channels: Vec<usize>,
    /// Residual blocks of each level on the way down; on the way up each has one more.
    pub layers_per_block: Vec<usize>,
    /// Attention heads of each level. The middle block has the last level's.
    pub num_attention_heads: Vec<usize>,
    /// Width of the text states that each level attends to. The middle block has the last level's.
    pub cross_attention_dim: Vec<usize>,
    /// Transformer blocks in each of a level's transformers.
    pub transformers: Vec<Depths>,
    /// In the middle block's.
    pub mid_depth: usize,
    /// Whether transformers go in and out through linear layers rather than 1×1 convolutions.
    pub use_linear_projection: bool,
    /// Groups of every group norm; they divide every level's channels.
    pub norm_num_groups: usize,
    /// Added to the variance in the residual blocks' and the last group norm.
    pub norm_eps: f32,
    /// In residual blocks, the time embedding and before the last convolution.
    pub act_fn: Activation,
    /// Whether the time embedding has its cosines first.
    pub flip_sin_to_cos: bool,
    /// Subtracted from the number of frequencies in the time embedding's exponent.
    pub freq_shift: f32,
    /// Width of the time embedding after its two layers.
    pub time_embed_dim: usize,
    /// Width of the sinusoids by which the UNet is told how far to follow the prompt, where it is (`time_cond_proj_dim`).
    pub time_cond_proj_dim: Option<usize>,
    /// What is added to the time embedding, where something is (`addition_embed_type`).
    pub text_time: Option<TextTime>,
}

/// How many blocks each of a level's transformers has, layer by layer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Depths {
    /// On the way down.
    pub down: Vec<usize>,
    /// On the way up.
    pub up: Vec<usize>,
}

/// What joins the time embedding in SDXL: the prompt's vector, and sinusoids of numbers that tell of the picture
/// (Podell et al. 2023, arXiv:2307.01952, section 2.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TextTime {
    /// All of it side by side (`projection_class_embeddings_input_dim`).
    pub width: usize,
    /// Of each of the numbers (`addition_time_embed_dim`).
    pub ids: usize,
}

/// Each also under the name that it once had.
const DOWN: [(&str, Block); 4] = [
    ("CrossAttnDownBlock2D", Block::CrossAttention),
    ("DownBlock2D", Block::Plain),
    ("UNetResCrossAttnDownBlock2D", Block::CrossAttention),
    ("UNetResDownBlock2D", Block::Plain),
];
const UP: [(&str, Block); 4] = [
    ("CrossAttnUpBlock2D", Block::CrossAttention),
    ("UpBlock2D", Block::Plain),
    ("UNetResCrossAttnUpBlock2D", Block::CrossAttention),
    ("UNetResUpBlock2D", Block::Plain),
];

const MIDDLE: [(&str, Block); 2] =
    [("UNetMidBlock2DCrossAttn", Block::CrossAttention), ("UNetMidBlock2D", Block::Plain)];

/// Fields that change nothing that these blocks draw: training's, those of embeddings that have to be absent, those that
/// blocks of other kinds read, and what diffusers' averaging of weights (`EMAModel`) leaves in the file.
const INERT: [&str; 16] = [
    "addition_embed_type_num_heads",
    "attention_type",
    "collected_params",
    "cross_attention_norm",
    "decay",
    "dropout",
    "inv_gamma",
    "mid_block_only_cross_attention",
    "min_decay",
    "optimization_step",
    "power",
    "resnet_out_scale_factor",
    "resnet_skip_time_act",
    "upcast_attention",
    "update_after_step",
    "use_ema_warmup",
];

/// Fields that are understood at the value that Stable Diffusion's UNets have, and no other.
fn neutral() -> [(&'static str, Value); 13] {
    [
        ("class_embed_type", json!(null)),
        ("conv_in_kernel", json!(3)),
        ("conv_out_kernel", json!(3)),
        ("encoder_hid_dim", json!(null)),
        ("encoder_hid_dim_type", json!(null)),
        ("mid_block_scale_factor", json!(1)),
        // diffusers itself refuses any other value: the field's meaning was mixed up (its issue 2011).
        ("num_attention_heads", json!(null)),
        ("num_class_embeds", json!(null)),
        ("resnet_time_scale_shift", json!("default")),
        ("time_embedding_act_fn", json!(null)),
        ("time_embedding_type", json!("positional")),
        ("timestep_post_act", json!(null)),
        ("downsample_padding", json!(1)),
    ]
}

/// Switches that have to be off.
const OFF: [&str; 3] = ["center_input_sample", "class_embeddings_concat", "dual_cross_attention"];

impl UNetConfig {
    /// Added to the variance in the group norm before a transformer. No field: written into diffusers'
    /// `Transformer2DModel`.
    pub const TRANSFORMER_NORM_EPS: f32 = 1e-6;
    /// Added to the variance in the transformers' layer norms. No field either.
    pub const LAYER_NORM_EPS: f32 = 1e-5;

    /// Channels that are joined to the latents: none, those of a picture's latents, or of an inpainting model a mask, and the
    /// latents of what it leaves.
    pub fn joined_channels(&self) -> usize {
        self.in_channels - self.out_channels
    }

    /// Whether it is told a mask, and what that leaves.
    pub fn inpaints(&self) -> bool {
        self.joined_channels() > self.out_channels
    }

    /// Whether it is told a picture that the prompt says how to change (InstructPix2Pix: Brooks et al. 2023, arXiv:2211.09800).
    pub fn edits(&self) -> bool {
        self.joined_channels() == self.out_channels
    }

    /// Reads the configuration; `file` names it in errors.
    pub fn parse(file: &str, text: &str) -> Result<Self> {
        let mut f = Fields::parse(file, text)?;
        f.inert(&INERT);

        let block_out_channels = f.counts("block_out_channels", &[320, 640, 1280, 1280])?;
        let levels = block_out_channels.len();
        for (field, value) in neutral() {
            f.only(field, &[value])?;
        }
        for field in OFF {
            f.off(field)?;
        }
        let layers = f.per_level("layers_per_block", 2, levels, 1)?;
        let (transformers, mid_depth) = depths(&mut f, &layers)?;
        let text_time = text_time(&mut f)?;
        let middle: Option<Value> = f.get("mid_block_type", Some(json!(MIDDLE[0].0)))?;
        let time_embed_dim = match f.get("time_embedding_dim", Value::Null)? {
            // What Python's `or` passes over.
            empty if !truthy(&empty) => 4 * block_out_channels[0],
            given => f.of("time_embedding_dim", given)?,
        };

        let config = Self {
            sample_size: sample_size(&mut f)?,
            in_channels: f.count("in_channels", 4)?,
            out_channels: f.count("out_channels", 4)?,
            down_blocks: f.words("down_block_types", &[DOWN[0].0, DOWN[0].0, DOWN[0].0, DOWN[1].0], &DOWN)?,
            mid_block: middle.map(|word| f.look_up("mid_block_type", &word, &MIDDLE)).transpose()?,
            up_blocks: f.words("up_block_types", &[UP[1].0, UP[0].0, UP[0].0, UP[0].0], &UP)?,
            layers_per_block: layers,
            // Under its historic name: the field has always held the number of heads, not their width.
            num_attention_heads: f.per_level("attention_head_dim", 8, levels, 1)?,
            cross_attention_dim: f.per_level("cross_attention_dim", 1280, levels, 1)?,
            transformers,
            mid_depth,
            use_linear_projection: f.flag("use_linear_projection", false),
            norm_num_groups: f.count("norm_num_groups", 32)?,
            norm_eps: f.epsilon("norm_eps", 1e-5)?,
            act_fn: Activation::diffusers(&mut f, "act_fn", "silu")?,
            flip_sin_to_cos: f.flag("flip_sin_to_cos", true),
            freq_shift: f.get("freq_shift", 0.0)?,
            time_embed_dim,
            time_cond_proj_dim: match f.get("time_cond_proj_dim", Value::Null)? {
                Value::Null => None,
                given => Some(f.width("time_cond_proj_dim", given)?),
            },
            text_time,
            block_out_channels,
        };
        config.check_only_cross_attention(&mut f)?;
        config.check(&f)?;
        f.finish()?;
        Ok(config)
    }

    fn check(&self, f: &Fields) -> Result<()> {
        let (levels, groups) = (self.levels(), self.norm_num_groups);
        for (field, blocks) in [("down_block_types", &self.down_blocks), ("up_block_types", &self.up_blocks)]
        {
            let why = format!("are {}, but block_out_channels has {levels}", blocks.len());
            f.check(blocks.len() == levels, field, format!("{blocks:?}"), why)?;
        }
        let channels = &self.block_out_channels;
        let divisible = channels.iter().all(|c| c.is_multiple_of(groups));
        f.check(
            divisible,
            "block_out_channels",
            channels,
            format!("must be multiples of norm_num_groups {groups}"),
        )?;
        f.check(channels[0].is_multiple_of(2), "block_out_channels", channels, "the first must be even")?;
        let frequencies = (channels[0] / 2) as f32;
        let text = (0..levels).any(|level| self.attends(level));
        f.check(text, "down_block_types", format!("{:?}", self.down_blocks), "no block attends to the text")?;
        f.check(self.freq_shift < frequencies, "freq_shift", self.freq_shift, "leaves no frequencies")?;

        let all = self.transformers.iter().flat_map(|level| level.down.iter().chain(&level.up));
        let layers: usize = all.sum();
        let why = "layers are more than 2048 in all: no UNet is so deep";
        f.check(layers <= 2048, "transformer_layers_per_block", layers, why)?;

        let heads = &self.num_attention_heads;
        let divided = (0..levels).filter(|&i| self.attends(i)).all(|i| channels[i].is_multiple_of(heads[i]));
        let why = format!("heads (the field's historic meaning) must divide block_out_channels {channels:?}");
        f.check(divided, "attention_head_dim", heads, why)
    }

    /// How many levels there are.
    pub fn levels(&self) -> usize {
        self.block_out_channels.len()
    }

    /// How many layers the way up has, of all levels.
    pub fn up_layers(&self) -> usize {
        self.transformers.iter().map(|level| level.up.len()).sum()
    }

    /// Channels of one attention head at a level.
    pub fn head_dim(&self, level: usize) -> usize {
        self.block_out_channels[level] / self.num_attention_heads[level]
    }

    /// Width of the text states: those that attend to them agree on it, as [`ModelConfig`](super::ModelConfig) sees to.
    pub fn states_width(&self) -> usize {
        let level = (0..self.levels()).find(|&level| self.attends(level)).unwrap_or(0);
        self.cross_attention_dim[level]
    }

    /// Whether anything attends to the text with a level's numbers: its blocks, or the middle block with the last's.
    pub fn attends(&self, level: usize) -> bool {
        let last = self.levels() - 1;
        (level == last && self.mid_block == Some(Block::CrossAttention))
            || self.down_blocks[level] == Block::CrossAttention
            || self.up_blocks[last - level] == Block::CrossAttention
    }

    /// Blocks without self-attention are not implemented; where a level has no attention the field says nothing.
    fn check_only_cross_attention(&self, f: &mut Fields) -> Result<()> {
        let (field, last) = ("only_cross_attention", self.levels() - 1);
        let given = f.get(field, json!(false))?;
        let each = match &given {
            Value::Bool(all) => vec![*all; self.levels()],
            Value::Array(each) if each.len() == self.levels() => each.iter().map(truthy).collect(),
            _ => return f.check(false, field, given, "must be true or false, or one for each block"),
        };
        let attention = |level: usize| [self.down_blocks[level], self.up_blocks[last - level]];
        match (0..=last).any(|level| each[level] && attention(level).contains(&Block::CrossAttention)) {
            true => Err(f.unsupported(field, &given, "false")),
            false => Ok(()),
        }
    }
}

/// Blocks of transformers: of all, of each level, or layer by layer; on the way up in the order of its blocks, innermost first,
/// where `reverse_transformer_layers_per_block` says it.
fn depths(f: &mut Fields, layers: &[usize]) -> Result<(Vec<Depths>, usize)> {
    const FIELD: &str = "transformer_layers_per_block";
    const REVERSE: &str = "reverse_transformer_layers_per_block";
    let given = f.get(FIELD, json!(1))?;
    let reverse: Value = f.get(REVERSE, Value::Null)?;
    let down = f.layer_by_layer(FIELD, &given, layers, 0)?;
    let nested = given.as_array().is_some_and(|levels| levels.iter().any(Value::is_array));
    // diffusers asks for it too.
    f.check(!nested || !reverse.is_null(), FIELD, &given, format!("layer by layer needs {REVERSE}"))?;
    let listed = reverse.is_null() || reverse.is_array();
    f.check(listed, REVERSE, &reverse, "a list is wanted, of each level's blocks")?;
    let back: Vec<usize> = layers.iter().rev().copied().collect();
    let mut up = match reverse {
        Value::Null => layers.iter().zip(&down).map(|(n, depths)| vec![depths[0]; n + 1]).rev().collect(),
        reverse => f.layer_by_layer(REVERSE, &reverse, &back, 1)?,
    };
    up.reverse();
    let mid = down.last().and_then(|depths| depths.first()).copied().unwrap_or(1);
    Ok((down.into_iter().zip(up).map(|(down, up)| Depths { down, up }).collect(), mid))
}

/// What is added to the time embedding; where nothing is, its widths say nothing.
fn text_time(f: &mut Fields) -> Result<Option<TextTime>> {
    let kind: Value = f.get("addition_embed_type", Value::Null)?;
    let [ids, width] = ["addition_time_embed_dim", "projection_class_embeddings_input_dim"];
    if kind.is_null() {
        f.inert(&[ids, width]);
        return Ok(None);
    }
    f.look_up("addition_embed_type", &kind, &[("text_time", ())])?;
    let numbers = f.get(ids, Value::Null)?;
    Ok(Some(TextTime { ids: f.width(ids, numbers)?, width: f.count(width, 0)? }))
}

/// Height and width. Before 0.9 diffusers wrote 32 into files whose models were trained at 64, and its pipelines take any
/// number below that for 64.
fn sample_size(f: &mut Fields) -> Result<Option<[usize; 2]>> {
    let given: Value = f.get("sample_size", Value::Null)?;
    let version: Value = f.get("_diffusers_version", Value::Null)?;
    let mut parts = version.as_str().unwrap_or("1").split('.').map(|part| part.parse::<u32>().unwrap_or(0));
    let old = parts.next() == Some(0) && parts.next().unwrap_or(0) < 9;
    match given.as_u64() {
        Some(1..64) if old => Ok(Some([64, 64])),
        _ => f.size_of("sample_size", given),
    }
}
