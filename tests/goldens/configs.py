"""The configuration files of the tiny models, field for field those of the published folders but for the sizes."""


def model_index(scheduler: str) -> dict:
    return {
        "_class_name": "StableDiffusionPipeline",
        "_diffusers_version": "0.10.0",
        "feature_extractor": [None, None],
        "requires_safety_checker": False,
        "safety_checker": [None, None],
        "scheduler": ["diffusers", scheduler],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
    }


def text_encoder(hidden: int, heads: int, layers: int, act: str, vocabulary: int) -> dict:
    # bos, eos and pad are what the published files say, though the tokenizer uses other ids.
    return {
        "architectures": ["CLIPTextModel"],
        "attention_dropout": 0.0,
        "bos_token_id": 0,
        "dropout": 0.0,
        "eos_token_id": 2,
        "hidden_act": act,
        "hidden_size": hidden,
        "initializer_factor": 1.0,
        "initializer_range": 0.02,
        "intermediate_size": 4 * hidden,
        "layer_norm_eps": 1e-05,
        "max_position_embeddings": 77,
        "model_type": "clip_text_model",
        "num_attention_heads": heads,
        "num_hidden_layers": layers,
        "pad_token_id": 1,
        "projection_dim": hidden,
        "torch_dtype": "float16",
        "vocab_size": vocabulary,
    }


def unet(channels: list, layers: int, heads, cross: int, **more) -> dict:
    levels = len(channels)
    return {
        "_class_name": "UNet2DConditionModel",
        "_diffusers_version": "0.10.0",
        "act_fn": "silu",
        "attention_head_dim": heads,
        "block_out_channels": channels,
        "center_input_sample": False,
        "cross_attention_dim": cross,
        "down_block_types": ["CrossAttnDownBlock2D"] * (levels - 1) + ["DownBlock2D"],
        "downsample_padding": 1,
        "flip_sin_to_cos": True,
        "freq_shift": 0,
        "in_channels": 4,
        "layers_per_block": layers,
        "mid_block_scale_factor": 1,
        "norm_eps": 1e-05,
        "norm_num_groups": 8,
        "out_channels": 4,
        "sample_size": 8,
        "up_block_types": ["UpBlock2D"] + ["CrossAttnUpBlock2D"] * (levels - 1),
        **more,
    }


def vae(channels: list, layers: int, groups: int, **more) -> dict:
    return {
        "_class_name": "AutoencoderKL",
        "_diffusers_version": "0.10.0",
        "act_fn": "silu",
        "block_out_channels": channels,
        "down_block_types": ["DownEncoderBlock2D"] * len(channels),
        "in_channels": 3,
        "latent_channels": 4,
        "layers_per_block": layers,
        "norm_num_groups": groups,
        "out_channels": 3,
        "sample_size": 64,
        "up_block_types": ["UpDecoderBlock2D"] * len(channels),
        **more,
    }


BETAS = {
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "beta_start": 0.00085,
    "clip_sample": False,
    "num_train_timesteps": 1000,
    "set_alpha_to_one": False,
    "skip_prk_steps": True,
    "steps_offset": 1,
    "trained_betas": None,
}

# As in Stable Diffusion 1.5.
PNDM = {"_class_name": "PNDMScheduler", "_diffusers_version": "0.6.0", **BETAS}

# As in Stable Diffusion 2.1 at 768 pixels; `skip_prk_steps` is a leftover there too, which DDIM has no use for.
DDIM_V = {"_class_name": "DDIMScheduler", "_diffusers_version": "0.8.0", **BETAS, "prediction_type": "v_prediction"}

SD1 = {
    "scheduler": PNDM,
    "pad": "<|endoftext|>",
    "text_encoder": lambda vocabulary: text_encoder(32, 4, 3, "quick_gelu", vocabulary),
    # Heads of 4, 5 and 8 channels, groups of 5 in the second level.
    "unet": unet([32, 40, 64], 2, 8, 32),
    "vae": vae([16, 16, 24, 32], 2, 8),
    "old_vae_names": True,
}

SD2 = {
    "scheduler": DDIM_V,
    "pad": "!",
    # One layer less than the encoder was trained with, which is how the folders say "penultimate layer".
    "text_encoder": lambda vocabulary: text_encoder(48, 3, 2, "gelu", vocabulary),
    "unet": unet(
        [16, 32, 48, 64],
        1,
        [1, 2, 3, 4],
        48,
        dual_cross_attention=False,
        num_class_embeds=None,
        only_cross_attention=False,
        upcast_attention=True,
        use_linear_projection=True,
    ),
    "vae": vae([8, 16, 16, 32], 2, 4, scaling_factor=0.18215),
    "old_vae_names": False,
}

MODELS = {"sd1-tiny": SD1, "sd2-tiny": SD2}
