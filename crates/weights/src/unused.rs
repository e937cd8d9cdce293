/// What checkpoints of each component hold beside what a picture from text needs: the component's folder, and what the
/// tensor's name begins and ends with.
const EXPECTED: [(&str, &str, &str); 30] = [
    // Counters that transformers up to 4.30 kept as tensors: 0, 1, 2, …
    ("text_encoder", "", "position_ids"),
    // The rest of CLIP.
    ("text_encoder", "text_projection.", ""),
    ("text_encoder", "visual_projection.", ""),
    ("text_encoder", "vision_model.", ""),
    // The half of the autoencoder that reads pictures, and what it was trained with.
    ("vae", "encoder.", ""),
    ("vae", "quant_conv.", ""),
    ("vae", "loss.", ""),
    // What 8-bit weights are times, which is read with them, and what their inputs were.
    ("", "", "scaled_fp8"),
    ("", "", ".scale_weight"),
    ("", "", ".scale_input"),
    ("", "", ".weight_scale"),
    ("", "", ".input_scale"),
    // A running average's own count.
    ("", "model_ema.", ""),
    // What training's code keeps beside the components of a single file, and what it says of them by a tensor's name.
    ("", "betas", ""),
    ("", "alphas_cumprod", ""),
    ("", "sqrt_", ""),
    ("", "log_one_minus_", ""),
    ("", "posterior_", ""),
    ("", "lvlb_weights", ""),
    ("", "logvar", ""),
    ("", "denoiser.", ""),
    ("", "embedding_manager.", ""),
    ("", "global_step", ""),
    ("", "epoch", ""),
    ("", "optimizer_states", ""),
    ("", "lr_schedulers", ""),
    ("", "v_pred", ""),
    ("", "ztsnr", ""),
    ("", "edm_", ""),
    ("", "logit_scale", ""),
];

/// How many names a message lists.
const LISTED: usize = 4;

/// Warns of the tensors of a file that nothing reads, unless they are of those that checkpoints of a component are known
/// to hold beside. `place` is the file.
pub fn warn_unused<'a>(place: &str, component: &str, unused: impl IntoIterator<Item = &'a str>) {
    if let Some(text) = message(place, component, unused) {
        log::warn!("{text}");
    }
}

fn message<'a>(place: &str, component: &str, unused: impl IntoIterator<Item = &'a str>) -> Option<String> {
    let expected = |name: &str| {
        let fits = |(of, begin, end): &(&str, &str, &str)| {
            (of.is_empty() || *of == component) && name.starts_with(begin) && name.ends_with(end)
        };
        EXPECTED.iter().any(fits)
    };
    let unused: Vec<&str> = unused.into_iter().filter(|name| !expected(name)).collect();
    let mut text = match unused.len() {
        0 => return None,
        1 => format!("{place}: 1 tensor is not used: "),
        n => format!("{place}: {n} tensors are not used: "),
    };
    text += &listed(&unused);
    Some(text)
}

/// The first of some names, and how many more there are.
pub(crate) fn listed(names: &[&str]) -> String {
    let first = names[..names.len().min(LISTED)].join(", ");
    match names.len().saturating_sub(LISTED) {
        0 => first,
        more => format!("{first} and {more} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_counted_and_named() {
        let names = ["a", "b", "c", "d", "e", "f"];
        let text = |n: usize| message("f", "unet", names[..n].iter().copied());
        assert_eq!(text(0), None);
        assert_eq!(text(1).unwrap(), "f: 1 tensor is not used: a");
        assert_eq!(text(4).unwrap(), "f: 4 tensors are not used: a, b, c, d");
        assert_eq!(text(6).unwrap(), "f: 6 tensors are not used: a, b, c, d and 2 more");
    }

    #[test]
    fn what_is_known_to_lie_beside_is_no_news() {
        let known = [
            ("text_encoder", "text_model.embeddings.position_ids"),
            ("text_encoder", "logit_scale"),
            ("vae", "encoder.conv_in.weight"),
            ("unet", "model_ema.num_updates"),
        ];
        for (component, name) in known {
            assert_eq!(message("f", component, [name]), None, "{name}");
        }
        // transformers 5 calls a text encoder's layers so.
        assert!(message("f", "text_encoder", ["encoder.layers.12.mlp.fc1.weight"]).is_some());
        assert!(message("f", "unet", ["position_ids"]).is_some());
    }
}
