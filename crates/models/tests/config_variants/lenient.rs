/// Kind and field.
#[rustfmt::skip]
pub const FIELDS: &[(&str, &str)] = &[
    // Said to be there or not, and not needed for a picture.
    ("index", "feature_extractor"), ("index", "image_encoder"), ("index", "requires_safety_checker"),
    ("index", "safety_checker"),
    // Whether there is such a sampler is asked when one is needed.
    ("index", "scheduler"),
    // The index names the class.
    ("unet", "_class_name"), ("vae", "_class_name"),
    // Training's.
    ("unet", "dropout"),
    // 3.0 is 3.
    ("unet", "conv_in_kernel"), ("unet", "conv_out_kernel"), ("unet", "downsample_padding"),
    // Of tiles only.
    ("vae", "sample_size"),
    // Ids are the tokenizer's.
    ("text", "bos_token_id"), ("text", "eos_token_id"), ("text", "pad_token_id"),
    // Whole numbers, which transformers 4 takes; of training, of heads and of how transformers runs.
    ("text", "attention_dropout"), ("text", "attn_implementation"), ("text", "dtype"), ("text", "id2label"),
    ("text", "initializer_factor"), ("text", "initializer_range"), ("text", "layer_norm_eps"), ("text", "num_labels"),
    ("text", "output_hidden_states"), ("text", "projection_dim"), ("text", "torch_dtype"),
];
