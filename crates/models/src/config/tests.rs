use super::*;
use serde_json::{Value, json};

fn unet(text: impl ToString) -> Result<UNetConfig> {
    UNetConfig::parse("unet/config.json", &text.to_string())
}

/// An architecture with one file changed.
fn changed(architecture: Architecture, path: &str, change: impl FnOnce(&mut Value)) -> Result<ModelConfig> {
    let mut json: Value = serde_json::from_str(architecture.file(path).unwrap()).unwrap();
    change(&mut json);
    ModelConfig::read("model", |asked| {
        Ok(if asked == path { json.to_string() } else { architecture.file(asked).unwrap().to_owned() })
    })
}

/// Everything that diffusers 0.42.1 writes for a small three-level UNet.
fn as_written_today() -> Value {
    let text = r#"{
        "_class_name": "UNet2DConditionModel", "_diffusers_version": "0.42.1", "_name_or_path": "x",
        "act_fn": "silu", "addition_embed_type": null, "addition_embed_type_num_heads": 64,
        "addition_time_embed_dim": null, "attention_head_dim": [2, 4, 6], "attention_type": "default",
        "block_out_channels": [64, 128, 192], "center_input_sample": false, "class_embed_type": null,
        "class_embeddings_concat": false, "conv_in_kernel": 3, "conv_out_kernel": 3, "cross_attention_dim": 192,
        "cross_attention_norm": null,
        "down_block_types": ["CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "downsample_padding": 1, "dropout": 0.0, "dual_cross_attention": false, "encoder_hid_dim": null,
        "encoder_hid_dim_type": null, "flip_sin_to_cos": true, "freq_shift": 0, "in_channels": 8,
        "layers_per_block": [1, 2, 1], "mid_block_only_cross_attention": null, "mid_block_scale_factor": 1,
        "mid_block_type": "UNetMidBlock2DCrossAttn", "norm_eps": 1e-05, "norm_num_groups": 32,
        "num_attention_heads": null, "num_class_embeds": null, "only_cross_attention": false, "out_channels": 8,
        "projection_class_embeddings_input_dim": null, "resnet_out_scale_factor": 1.0,
        "resnet_skip_time_act": false, "resnet_time_scale_shift": "default",
        "reverse_transformer_layers_per_block": null, "sample_size": [16, 24], "time_cond_proj_dim": null,
        "time_embedding_act_fn": null, "time_embedding_dim": null, "time_embedding_type": "positional",
        "timestep_post_act": null, "transformer_layers_per_block": [1, 2, 1],
        "up_block_types": ["UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"],
        "upcast_attention": false, "use_linear_projection": true
    }"#;
    serde_json::from_str(text).unwrap()
}

#[test]
fn absent_unet_fields_have_the_defaults_of_diffusers() {
    let config = unet("{}").unwrap();
    assert_eq!(config.block_out_channels, [320, 640, 1280, 1280]);
    assert_eq!((config.in_channels, config.out_channels, config.sample_size), (4, 4, None));
    assert_eq!(
        config.down_blocks,
        [Block::CrossAttention, Block::CrossAttention, Block::CrossAttention, Block::Plain]
    );
    assert_eq!(
        config.up_blocks,
        [Block::Plain, Block::CrossAttention, Block::CrossAttention, Block::CrossAttention]
    );
    assert_eq!((&config.layers_per_block[..], &config.num_attention_heads[..]), (&[2; 4][..], &[8; 4][..]));
    assert_eq!(config.cross_attention_dim, [1280; 4]);
    assert_eq!(config.transformers, vec![Depths { down: vec![1; 2], up: vec![1; 3] }; 4]);
    assert_eq!((config.norm_num_groups, config.norm_eps, config.act_fn), (32, 1e-5, Activation::Silu));
    assert_eq!((config.flip_sin_to_cos, config.freq_shift, config.time_embed_dim), (true, 0.0, 1280));
    assert!(!config.use_linear_projection && config.mid_block == Some(Block::CrossAttention));
}

#[test]
fn all_that_diffusers_writes_is_understood() {
    let config = unet(as_written_today()).unwrap();
    assert_eq!((config.sample_size, config.levels(), config.time_embed_dim), (Some([16, 24]), 3, 256));
    assert_eq!(
        (&config.layers_per_block[..], &config.transformers[1], config.mid_depth),
        (&[1, 2, 1][..], &Depths { down: vec![2; 2], up: vec![2; 3] }, 1)
    );
    assert_eq!((0..3).map(|level| config.head_dim(level)).collect::<Vec<_>>(), [32, 32, 32]);
    assert!((0..3).all(|level| config.attends(level)));
}

#[test]
fn every_unet_field_is_refused_at_a_value_that_is_not_implemented() {
    for (field, value) in [
        ("act_fn", json!("gelu_new")),
        ("addition_embed_type", json!("image")),
        ("attention_head_dim", json!([2, 4])),
        ("attention_head_dim", json!(7)),
        ("attention_head_dim", json!(null)),
        ("block_out_channels", json!([64, 128])),
        ("block_out_channels", json!([64, 128, 200])),
        ("block_out_channels", json!(64)),
        ("center_input_sample", json!(true)),
        ("class_embed_type", json!("timestep")),
        ("class_embeddings_concat", json!(true)),
        ("conv_in_kernel", json!(1)),
        ("conv_out_kernel", json!(5)),
        ("cross_attention_dim", json!([1, 2])),
        ("down_block_types", json!(["DownBlock2D"])),
        ("down_block_types", json!(["SimpleCrossAttnDownBlock2D", "DownBlock2D", "DownBlock2D"])),
        ("downsample_padding", json!(0)),
        ("dual_cross_attention", json!(true)),
        ("encoder_hid_dim", json!(8)),
        ("encoder_hid_dim_type", json!("text_proj")),
        ("freq_shift", json!(32)),
        ("in_channels", json!(0)),
        ("layers_per_block", json!([1, 1])),
        ("mid_block_scale_factor", json!(1.5)),
        ("mid_block_type", json!("UNetMidBlock2DSimpleCrossAttn")),
        ("norm_eps", json!(-1e-5)),
        ("norm_num_groups", json!(null)),
        ("num_attention_heads", json!(8)),
        ("num_class_embeds", json!(10)),
        ("only_cross_attention", json!(true)),
        ("only_cross_attention", json!([true, false, false])),
        ("resnet_time_scale_shift", json!("scale_shift")),
        ("reverse_transformer_layers_per_block", json!([[1]])),
        ("sample_size", json!("big")),
        ("time_cond_proj_dim", json!(255)),
        ("time_embedding_act_fn", json!("silu")),
        ("time_embedding_type", json!("fourier")),
        ("timestep_post_act", json!("silu")),
        ("transformer_layers_per_block", json!([[1], [1], [1]])),
        ("up_block_types", json!(["UpBlock2D", "CrossAttnUpBlock2D"])),
        ("a_field_of_tomorrow", json!(1)),
    ] {
        let mut json = as_written_today();
        json[field] = value.clone();
        let error = unet(&json).expect_err(&format!("{field} = {value}")).to_string();
        // Lengths are compared with block_out_channels, so the other of the two may be blamed.
        let named = error.contains(field) || field == "block_out_channels";
        assert!(
            error.starts_with("unet/config.json: ") && named && !error.contains('\n'),
            "{field}: {error}"
        );
    }
}

#[test]
fn lists_of_neutral_values_are_neutral() {
    let mut json = as_written_today();
    json["only_cross_attention"] = json!([false, false, false]);
    json["mid_block_scale_factor"] = json!(1.0);
    json["time_embedding_dim"] = json!(512);
    assert_eq!(unet(json).unwrap().time_embed_dim, 512);
}

#[test]
fn the_index_says_which_class_reads_the_file() {
    let mut json = as_written_today();
    json["_class_name"] = json!("UNet3DConditionModel");
    assert_eq!(unet(json).unwrap(), unet(as_written_today()).unwrap());
}

#[test]
fn what_diffusers_does_without_is_done_without() {
    let mut json = as_written_today();
    let same = unet(&json).unwrap();
    for field in
        ["upcast_attention", "class_embeddings_concat", "resnet_skip_time_act", "dual_cross_attention"]
    {
        json[field] = json!(null);
    }
    for field in ["decay", "inv_gamma", "min_decay", "optimization_step", "power", "update_after_step"] {
        json[field] = json!(0.75);
    }
    json["a_field_of_tomorrow"] = json!(null);
    assert_eq!(unet(&json).unwrap(), same);
    // Defaults are true here, and null is not one of them.
    json["flip_sin_to_cos"] = json!(null);
    json["mid_block_type"] = json!(null);
    let config = unet(&json).unwrap();
    assert!(!config.flip_sin_to_cos && config.mid_block.is_none());
    assert!(config.attends(1) && !config.attends(2) && config.states_width() == 192);
}

#[test]
fn sizes_that_old_files_have_wrong_are_those_of_the_pipelines() {
    let size = |version: &str, size: Value| {
        let mut json = as_written_today();
        json["_diffusers_version"] = json!(version);
        json["sample_size"] = size;
        unet(json).unwrap().sample_size
    };
    assert_eq!(size("0.2.2", json!(32)), Some([64, 64]));
    assert_eq!(size("0.8.1", json!(96)), Some([96, 96]));
    assert_eq!(size("0.8.1", json!([32, 32])), Some([32, 32]));
    assert_eq!(size("0.9.0", json!(32)), Some([32, 32]));
}

#[test]
fn architectures_are_those_of_the_published_models() {
    let sd15 = Architecture::Sd15.config().unwrap();
    assert_eq!(sd15.default_size(), Some([512, 512]));
    assert_eq!(
        (sd15.texts[0].clip.hidden_size, sd15.texts[0].clip.num_hidden_layers, sd15.texts[0].clip.hidden_act),
        (768, 12, Activation::QuickGelu)
    );
    assert_eq!((0..4).map(|i| sd15.unet.head_dim(i)).collect::<Vec<_>>(), [40, 80, 160, 160]);
    assert_eq!(
        (sd15.vae.factor(), sd15.vae.layers_per_block, sd15.index.scheduler.as_str()),
        (8, 2, "PNDMScheduler")
    );

    let sd21 = Architecture::Sd21.config().unwrap();
    assert_eq!(sd21.default_size(), Some([768, 768]));
    assert_eq!(
        (sd21.texts[0].clip.hidden_size, sd21.texts[0].clip.num_hidden_layers, sd21.texts[0].clip.hidden_act),
        (1024, 23, Activation::Gelu)
    );
    assert_eq!((0..4).map(|i| sd21.unet.head_dim(i)).collect::<Vec<_>>(), [64; 4]);
    assert!(sd21.unet.use_linear_projection);
    assert!(sd21.scheduler.contains("v_prediction"));

    let sdxl = Architecture::Sdxl.config().unwrap();
    assert_eq!(sdxl.default_size(), Some([1024, 1024]));
    assert_eq!((sdxl.states_width(), sdxl.pooled_width(), sdxl.tokens()), (2048, Some(1280), 77));
    assert_eq!(sdxl.unet.text_time, Some(TextTime { width: 2816, ids: 256 }));
    assert_eq!((0..3).map(|i| sdxl.unet.head_dim(i)).collect::<Vec<_>>(), [64; 3]);
    assert!(!sdxl.unet.attends(0) && sdxl.index.penultimate && sdxl.index.empty_is_zero);
    let padding = |role| Architecture::Sdxl.padding(role);
    assert_eq!([padding(Role::Text).unwrap(), padding(Role::Text2).unwrap()], ["<|endoftext|>", "!"]);

    for architecture in Architecture::ALL {
        assert_eq!(Architecture::from_name(architecture.name()), Some(architecture));
        assert!(architecture.files().iter().all(|(_, text)| serde_json::from_str::<Value>(text).is_ok()));
    }
    assert_eq!(Architecture::from_name("sd14"), None);
}

#[test]
fn components_of_different_models_are_refused() {
    let error = changed(Architecture::Sd15, "unet/config.json", |j| j["cross_attention_dim"] = json!(1024))
        .unwrap_err();
    assert_eq!(
        error.to_string(),
        "model/unet/config.json: cross_attention_dim = 1024: the text encoder's hidden_size is 768"
    );
    let error = changed(Architecture::Sd15, "unet/config.json", |j| j["in_channels"] = json!(5))
        .unwrap_err()
        .to_string();
    assert!(error.contains("in_channels = 5") && error.contains("inpainting"), "{error}");
    let error = changed(Architecture::Sd21, "vae/config.json", |j| j["latent_channels"] = json!(16))
        .unwrap_err()
        .to_string();
    assert!(error.contains("latents have 16"), "{error}");
    // An inpainting model's UNet takes a mask and the latents of what it leaves.
    let inpaints = changed(Architecture::Sd15, "unet/config.json", |j| j["in_channels"] = json!(9)).unwrap();
    assert_eq!((inpaints.unet.joined_channels(), inpaints.unet.inpaints()), (5, true));
    // One that changes pictures takes theirs; there are none of SDXL's.
    let edits = |of| changed(of, "unet/config.json", |j| j["in_channels"] = json!(8));
    assert!(edits(Architecture::Sd15).unwrap().unet.edits());
    let error = edits(Architecture::Sdxl).unwrap_err().to_string();
    assert!(error.contains("in_channels = 8") && error.contains("without a second text encoder"), "{error}");
}

#[test]
fn what_sdxl_tells_its_unet_fits_it() {
    let refused = |path: &str, field: &str, value: Value| {
        changed(Architecture::Sdxl, path, |json| json[field] = value).unwrap_err().to_string()
    };
    let error = refused("unet/config.json", "cross_attention_dim", json!(1280));
    assert!(error.ends_with("the text encoders' hidden_size are 768 and 1280"), "{error}");
    let error = refused("unet/config.json", "projection_class_embeddings_input_dim", json!(2560));
    assert!(error.ends_with("projection_dim is 1280, and 6 numbers of 256 are 2816"), "{error}");
    let error = refused("unet/config.json", "addition_embed_type", Value::Null);
    assert!(error.contains("StableDiffusionXLPipeline tells its UNet"), "{error}");
    let error = refused("unet/config.json", "addition_time_embed_dim", json!(255));
    assert!(error.contains("addition_time_embed_dim = 255"), "{error}");
    let error = refused("text_encoder_2/config.json", "max_position_embeddings", json!(78));
    assert!(error.contains("prompts of 77 and 78 tokens"), "{error}");
    let told = |json: &mut Value| {
        json["addition_embed_type"] = json!("text_time");
        json["addition_time_embed_dim"] = json!(256);
        json["projection_class_embeddings_input_dim"] = json!(2816);
    };
    let error = changed(Architecture::Sd15, "unet/config.json", told).unwrap_err().to_string();
    assert!(error.contains("no text encoder that would tell it"), "{error}");
}

#[test]
fn transformers_may_differ_layer_by_layer() {
    let mut json = as_written_today();
    json["transformer_layers_per_block"] = json!([1, [2, 3], 4]);
    let error = unet(&json).unwrap_err().to_string();
    assert!(error.contains("needs reverse_transformer_layers_per_block"), "{error}");
    json["reverse_transformer_layers_per_block"] = json!([5, [6, 7, 8], [9, 10]]);
    let config = unet(&json).unwrap();
    let all: Vec<_> = config.transformers.iter().map(|level| (&level.down[..], &level.up[..])).collect();
    assert_eq!(all, [(&[1][..], &[9, 10][..]), (&[2, 3], &[6, 7, 8]), (&[4], &[5, 5])]);
    assert_eq!(config.mid_depth, 4);
    json["reverse_transformer_layers_per_block"] = json!([5, [6, 7], 9]);
    let error = unet(&json).unwrap_err().to_string();
    assert!(error.contains("reverse_transformer") && error.contains("[2, 3, 2]"), "{error}");
}

fn open(folder: &std::path::Path) -> Result<ModelConfig> {
    ModelConfig::read(&folder.to_string_lossy(), |path| std::fs::read_to_string(folder.join(path)))
}

#[test]
fn a_missing_file_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let error = open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("/model_index.json: ") && error.contains("diffusers layout"), "{error}");
    for (path, text) in Architecture::Sd15.files() {
        let path = folder.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    assert_eq!(open(folder.path()).unwrap(), Architecture::Sd15.config().unwrap());
    std::fs::remove_file(folder.path().join("vae/config.json")).unwrap();
    let error = open(folder.path()).unwrap_err().to_string();
    assert!(error.contains("/vae/config.json: "), "{error}");
}
