use crate::{Error, Result};
use calotype_models::Role;
use calotype_models::layout::{self, CARD, CONFIGURATION, DEFAULTS, OPTIONAL, words};
use calotype_weights::{Lora, within};

/// Of a repository's files those that a Stable Diffusion pipeline takes, without the safety checker, other formats and
/// other variants. Fails where some are missing.
pub fn files(name: &str, all: &[String], variant: Option<&str>) -> Result<Vec<String>> {
    let (needed, mut missing) = select(name, all, variant);
    if missing.is_empty() { Ok(needed) } else { Err(missing.remove(0).1) }
}

/// The same, and what is missing: by name, and as an error.
pub fn select(name: &str, all: &[String], variant: Option<&str>) -> (Vec<String>, Vec<(String, Error)>) {
    let has = |path: &str| all.iter().any(|file| file == path);
    let none = |file: String| (file.clone(), Error::NotDiffusers { name: name.into(), file });
    let (needed, missing): (Vec<&str>, Vec<&str>) = CONFIGURATION.into_iter().partition(|path| has(path));
    let mut needed: Vec<String> = needed.into_iter().map(String::from).collect();
    let mut missing: Vec<_> = missing.into_iter().map(|path| none(path.into())).collect();
    needed.extend(OPTIONAL.iter().filter(|path| has(path)).map(|path| path.to_string()));
    needed.extend(has(CARD).then(|| CARD.to_owned()));
    let [one, other] = Role::TEXT.map(|role| has(layout::config(role)));
    // A second text encoder is there or not; without any it is the first that is missing.
    let texts: &[Role] = match (one, other) {
        (true, true) => &Role::TEXT,
        (false, true) => &[Role::Text2],
        (_, false) => &[Role::Text],
    };
    if !one && !other {
        missing.push(none(layout::config(Role::Text).into()));
    }
    for encoder in texts {
        let [vocabulary, merges] = [words::VOCABULARY, words::MERGES].map(|name| words::path(*encoder, name));
        match (has(&words::path(*encoder, words::WHOLE)), has(&vocabulary), has(&merges)) {
            (true, ..) | (_, true, true) => {}
            (_, false, false) => missing.push(none(format!("{vocabulary} and {}", words::MERGES))),
            (_, vocabulary_, _) => missing.push(none(if vocabulary_ { merges } else { vocabulary })),
        }
    }
    if has(DEFAULTS) {
        let [lora, ..] = Lora::FILES;
        let is_lora = |file: &&String| file.rsplit_once('/').is_some_and(|(_, name)| name == lora);
        needed.extend(all.iter().filter(is_lora).cloned());
    }
    for role in texts.iter().copied().chain([Role::Denoiser, Role::Vae]) {
        match weights(name, role.folder(), all, variant) {
            Ok(files) => needed.extend(files),
            Err(fault) => missing.push(*fault),
        }
    }
    needed.dedup();
    (needed, missing)
}

/// What is known not to be among a repository's files, of those that may be there.
pub fn lacking<'a>(all: &'a [String]) -> impl Iterator<Item = &'static str> + use<'a> {
    OPTIONAL.iter().copied().filter(|path| !all.iter().any(|file| file == path))
}

/// A component's checkpoint, with its shards.
fn weights(
    name: &str,
    component: &str,
    all: &[String],
    variant: Option<&str>,
) -> std::result::Result<Vec<String>, Box<(String, Error)>> {
    let names = within(component, all.iter().map(String::as_str));
    let checkpoint = layout::choose(&format!("{name}/{component}"), &names, variant).map_err(|error| {
        Box::new((format!("{component}'s checkpoint (.safetensors or .bin)"), error.into()))
    })?;
    let mut files = Vec::new();
    if checkpoint.sharded {
        let shards = checkpoint.shards(&names);
        if shards.is_empty() {
            let file = format!("{component}/… shard of {}", checkpoint.name);
            return Err(Box::new((file.clone(), Error::NotDiffusers { name: name.into(), file })));
        }
        files.extend(shards.into_iter().map(|shard| format!("{component}/{shard}")));
    }
    files.push(format!("{component}/{}", checkpoint.name));
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A repository as published: several formats and variants of everything.
    fn published() -> Vec<String> {
        let mut files: Vec<String> = CONFIGURATION.map(String::from).to_vec();
        files.extend(OPTIONAL[..5].iter().map(|f| f.to_string()));
        for (component, stem) in [
            ("text_encoder", "model"),
            ("unet", "diffusion_pytorch_model"),
            ("vae", "diffusion_pytorch_model"),
        ] {
            for ending in ["safetensors", "fp16.safetensors", "bin", "fp16.bin", "non_ema.safetensors"] {
                files.push(format!("{component}/{stem}.{ending}"));
            }
        }
        files.extend(["v1-5-pruned.ckpt", "README.md", "safety_checker/model.safetensors"].map(String::from));
        files
    }

    #[test]
    fn only_what_the_pipeline_takes_is_fetched() {
        let plain = files("o/n", &published(), None).unwrap();
        let halves = files("o/n", &published(), Some("fp16")).unwrap();
        assert_eq!((plain.len(), halves.len()), (13, 13));
        assert!(plain.contains(&"unet/diffusion_pytorch_model.safetensors".into()));
        assert!(halves.contains(&"unet/diffusion_pytorch_model.fp16.safetensors".into()));
        assert!(
            halves.iter().all(|f| !f.ends_with(".bin") && !f.contains("safety") && !f.contains("non_ema"))
        );
    }

    #[test]
    fn pickles_are_fetched_where_there_is_nothing_newer() {
        let mut all = published();
        all.retain(|f| !f.ends_with(".safetensors"));
        let error = files("o/n", &all, None).unwrap_err().to_string();
        assert!(error.contains("text_encoder") && error.contains("pytorch_model.bin"), "{error}");
        all.push("text_encoder/pytorch_model.bin".into());
        let needed = files("o/n", &all, None).unwrap();
        assert_eq!(needed.iter().filter(|f| f.ends_with("model.bin")).count(), 3, "{needed:?}");
        all.retain(|f| !f.starts_with("text_encoder/p"));
        all.push("text_encoder/pytorch_model.bin.index.json".into());
        all.extend([1, 2].map(|i| format!("text_encoder/pytorch_model-0000{i}-of-00002.bin")));
        assert_eq!(files("o/n", &all, None).unwrap().len(), needed.len() + 2);
    }

    #[test]
    fn shards_come_with_their_index_or_not_at_all() {
        let mut all = published();
        all.retain(|f| !f.starts_with("unet/diff"));
        let unet = |ending: &str| format!("unet/diffusion_pytorch_model{ending}");
        all.push(unet(".safetensors.index.json"));
        all.push(unet("-00001-of-00002.safetensors"));
        all.push(unet(".fp16-00001-of-00001.safetensors"));
        assert!(files("o/n", &all, None).unwrap_err().to_string().contains("shard"));
        all.push(unet("-00002-of-00002.safetensors"));
        let needed = files("o/n", &all, Some("fp16")).unwrap();
        assert_eq!(needed.iter().filter(|f| f.starts_with("unet/diff")).count(), 3, "{needed:?}");
    }

    #[test]
    fn what_is_no_diffusers_repository_is_told() {
        let refused = |all: &[String], part: &str| {
            let error = files("o/n", all, None).unwrap_err().to_string();
            assert!(error.contains("o/n") && error.contains(part), "{error}");
        };
        refused(&["model.ckpt".into()], "model_index.json");
        let mut no_words = published();
        no_words.retain(|f| f != "tokenizer/merges.txt");
        refused(&no_words, "tokenizer/merges.txt");
        no_words.retain(|f| !f.starts_with("tokenizer/"));
        refused(&no_words, "tokenizer/vocab.json and merges.txt");
    }

    #[test]
    fn loras_that_a_models_defaults_may_name_come_along() {
        let mut all = published();
        all.push("few_steps/pytorch_lora_weights.safetensors".into());
        assert_eq!(files("o/n", &all, None).unwrap().len(), 13);
        all.push(DEFAULTS.into());
        assert_eq!(files("o/n", &all, None).unwrap().len(), 15);
    }
}
