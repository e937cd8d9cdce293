//! CLIP's text tower, as transformers has it (`CLIPTextModelWithProjection`) and as OpenAI and OpenCLIP have it
//! (mlfoundations/open_clip, `src/open_clip/transformer.py`; diffusers: `convert_open_clip_checkpoint`).

use super::{Given, View, back, begin, index};

/// The towers' own wrappers, in the order in which they stand.
const WRAPPERS: [&str; 4] = ["wrapped.", "transformer.", "model.", "text_model."];

/// The part of a residual block behind its number.
const BLOCK: [(&str, &str); 5] = [
    ("ln_1.", "layer_norm1."),
    ("ln_2.", "layer_norm2."),
    ("mlp.c_fc.", "mlp.fc1."),
    ("mlp.c_proj.", "mlp.fc2."),
    ("attn.out_proj.", "self_attn.out_proj."),
];

const OUTSIDE: [(&str, &str); 3] = [
    ("token_embedding.weight", "embeddings.token_embedding.weight"),
    ("positional_embedding", "embeddings.position_embedding.weight"),
    ("ln_final.", "final_layer_norm."),
];

/// What transformers' names begin with, within `text_model.`.
const OWN: [&str; 3] = ["embeddings.", "encoder.layers.", "final_layer_norm."];

const QUERY_KEY_VALUE: [&str; 3] = ["q_proj", "k_proj", "v_proj"];

/// What a tensor gives, by its name in the tower; several where it is queries, keys and values in one. What is unknown keeps
/// its name.
pub(super) fn given(name: &str) -> Vec<Given> {
    let projection = |view| vec![Given { name: "text_projection.weight".into(), view }];
    // A wrapper's name is also the name of OpenCLIP's stack of blocks.
    let bare = WRAPPERS.iter().fold(name, |name, wrapper| match name.strip_prefix(wrapper) {
        Some(rest) if !rest.starts_with("resblocks.") => rest,
        _ => name,
    });
    match bare {
        // x · P is what CLIP does with it; a linear layer multiplies by its transpose.
        "text_projection" => return projection(View::Transposed),
        "text_projection.weight" | "text_projection.weight.weight" => return projection(View::Whole),
        _ => {}
    }
    if OWN.iter().any(|own| bare.starts_with(own)) {
        return vec![Given::whole(format!("text_model.{bare}"))];
    }
    if let Some(ours) = begin(bare, &OUTSIDE) {
        return vec![Given::whole(format!("text_model.{ours}"))];
    }
    if let Some((i, rest)) = bare.strip_prefix("transformer.resblocks.").and_then(index) {
        let layer = format!("text_model.encoder.layers.{i}");
        if let Some(kind) = rest.strip_prefix("attn.in_proj_") {
            let thirds = QUERY_KEY_VALUE.iter().enumerate();
            let third = |(third, part)| Given {
                name: format!("{layer}.self_attn.{part}.{kind}"),
                view: View::Third(third),
            };
            return thirds.map(third).collect();
        }
        let split = QUERY_KEY_VALUE.iter().find_map(|part| rest.strip_prefix("attn.")?.strip_prefix(part));
        if let Some(rest) = begin(rest, &BLOCK) {
            return vec![Given::whole(format!("{layer}.{rest}"))];
        }
        if split.is_some() {
            return vec![Given::whole(format!("{layer}.self_{rest}"))];
        }
    }
    vec![Given::whole(bare)]
}

/// Where a tensor is stored in OpenCLIP's layout, by transformers' name; none where that has no such tensor.
pub(super) fn original(name: &str) -> Option<Given> {
    if name == "text_projection.weight" {
        return Some(Given { name: "text_projection".into(), view: View::Transposed });
    }
    let Some(bare) = name.strip_prefix("text_model.") else { return Some(Given::whole(name)) };
    if let Some(stored) = back(bare, &OUTSIDE) {
        return Some(Given::whole(stored));
    }
    let (i, rest) = index(bare.strip_prefix("encoder.layers.")?)?;
    let block = format!("transformer.resblocks.{i}");
    if let Some(stored) = back(rest, &BLOCK) {
        return Some(Given::whole(format!("{block}.{stored}")));
    }
    let (part, kind) = rest.strip_prefix("self_attn.")?.split_once('.')?;
    let third = QUERY_KEY_VALUE.iter().position(|one| *one == part)?;
    Some(Given { name: format!("{block}.attn.in_proj_{kind}"), view: View::Third(third) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_towers_come_to_transformers_names() {
        let layer = "text_model.encoder.layers.3.";
        for (theirs, ours) in [
            ("transformer.text_model.encoder.layers.3.mlp.fc1.bias", format!("{layer}mlp.fc1.bias")),
            ("transformer.encoder.layers.3.mlp.fc1.bias", format!("{layer}mlp.fc1.bias")),
            ("wrapped.transformer.text_model.encoder.layers.3.mlp.fc1.bias", format!("{layer}mlp.fc1.bias")),
            ("encoder.layers.3.mlp.fc1.bias", format!("{layer}mlp.fc1.bias")),
            ("model.transformer.resblocks.3.mlp.c_fc.bias", format!("{layer}mlp.fc1.bias")),
            ("transformer.resblocks.3.ln_2.weight", format!("{layer}layer_norm2.weight")),
            ("transformer.resblocks.3.attn.out_proj.weight", format!("{layer}self_attn.out_proj.weight")),
            ("transformer.resblocks.3.attn.k_proj.bias", format!("{layer}self_attn.k_proj.bias")),
            ("model.token_embedding.weight", "text_model.embeddings.token_embedding.weight".into()),
            ("positional_embedding", "text_model.embeddings.position_embedding.weight".into()),
            ("model.ln_final.bias", "text_model.final_layer_norm.bias".into()),
            ("model.logit_scale", "logit_scale".into()),
            ("text_projection.weight", "text_projection.weight".into()),
        ] {
            assert_eq!(given(theirs), [Given::whole(ours)], "{theirs}");
        }
        let projection = Given { name: "text_projection.weight".into(), view: View::Transposed };
        assert_eq!(given("model.text_projection"), [projection]);
    }

    #[test]
    fn what_is_stored_so_is_given_again() {
        for name in [
            "text_model.embeddings.token_embedding.weight",
            "text_model.embeddings.position_embedding.weight",
            "text_model.final_layer_norm.weight",
            "text_model.encoder.layers.7.layer_norm1.bias",
            "text_model.encoder.layers.7.mlp.fc2.weight",
            "text_model.encoder.layers.7.self_attn.k_proj.bias",
            "text_model.encoder.layers.7.self_attn.out_proj.weight",
            "text_projection.weight",
            "logit_scale",
        ] {
            let Given { name: stored, view } = original(name).unwrap();
            assert!(given(&stored).contains(&Given { name: name.into(), view }), "{name} in {stored}");
        }
        assert_eq!(original("text_model.embeddings.position_ids"), None);
    }

    #[test]
    fn queries_keys_and_values_are_thirds_in_that_order() {
        let given = given("model.transformer.resblocks.0.attn.in_proj_weight");
        let names: Vec<&str> = given.iter().map(|given| &given.name[..]).collect();
        let at = "text_model.encoder.layers.0.self_attn";
        assert_eq!(names, ["q", "k", "v"].map(|part| format!("{at}.{part}_proj.weight")));
        assert_eq!(given.iter().map(|given| given.view).collect::<Vec<_>>(), [0, 1, 2].map(View::Third));
    }
}
