//! What a command is to draw: its words, the LoRAs that they ask for, and what a picture carries.

use crate::args::{EmbeddingArg, GenerateArgs, LoraArg, WordArgs};
use crate::device::embedding_name;
use crate::exit::Usage;
use crate::styles::Styles;
use crate::text;
use anyhow::Context;
use calotype::words::{PromptStyle, networks};
use calotype::{ModelPlace, Recalled, Request, builtin, image, lora_name};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A picture's settings, where it carries some.
pub fn settings(file: &Path) -> anyhow::Result<Option<(image::Infotext, Vec<String>)>> {
    let bytes = read(file)?;
    settings_of(file, &bytes)
}

/// A file's bytes.
pub fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::read(file).with_context(|| format!("{} cannot be read", file.display()))
}

/// The settings in a picture's bytes.
pub fn settings_of(file: &Path, bytes: &[u8]) -> anyhow::Result<Option<(image::Infotext, Vec<String>)>> {
    if !image::is_picture(bytes) {
        anyhow::bail!("{} is neither a PNG nor a JPEG nor a WebP", file.display());
    }
    let texts = image::texts(bytes).with_context(|| file.display().to_string())?;
    Ok(image::settings(&texts))
}

/// What `--from-png` asks for; what is not honoured of it is told.
pub fn recalled(args: &GenerateArgs) -> anyhow::Result<Option<Recalled>> {
    let Some(file) = &args.words.from_png else { return Ok(None) };
    let name = file.display();
    let Some((settings, left)) = settings(file).context("--from-png")? else {
        return Err(Usage(format!("--from-png {name}: the picture carries no settings")).into());
    };
    let recalled = settings.recall(&left);
    let begins = args.picture.init.init_img.is_some();
    let outpaints = args.picture.init.outpaint.is_some() || begins && recalled.request.outpaint.is_some();
    let masked = args.picture.init.mask.is_some() || outpaints;
    let is_given = |line: &&String| {
        let name = line.split(':').next().unwrap_or_default();
        begins && name == "Denoising strength" || masked && Recalled::OF_MASKS.contains(&name)
    };
    for line in recalled.left.iter().filter(|line| !is_given(line)) {
        text::note(&format!("{name}: not honoured: {line}"));
    }
    if recalled.seed.is_none() && args.seed.is_none() {
        text::note(&format!("{name}: the settings hold no seed: a random one is taken"));
    }
    let own = recalled.model.as_deref().filter(|model| *model != builtin::NAME);
    if let (Some(model), None) = (own, &args.picture.model) {
        let why = format!(
            "--from-png {name}: the picture was drawn with the model {model}: say with -m where that is"
        );
        return Err(Usage(why).into());
    }
    if let (Some(refiner), None) = (&recalled.refiner, &args.picture.refiner) {
        let why = format!(
            "--from-png {name}: the picture was refined by the model {refiner}: say with --refiner where that is"
        );
        return Err(Usage(why).into());
    }
    Ok(Some(recalled))
}

/// What was typed over what a picture carries: a field counts as typed where it is not what it is if nothing is said.
pub fn over(base: &Request, typed: &Request) -> anyhow::Result<Request> {
    let mut all = serde_json::to_value(base)?;
    let (typed_fields, unsaid) = (serde_json::to_value(typed)?, serde_json::to_value(Request::default())?);
    // Noise levels one by one, and what they stand in the place of, do not go together.
    let levels = ["steps", "schedule", "sigmas", "timesteps"];
    if levels[..2].iter().any(|name| typed_fields[*name] != unsaid[*name]) {
        levels[2..].iter().for_each(|name| all[*name] = unsaid[*name].clone());
    } else if levels[2..].iter().any(|name| typed_fields[*name] != unsaid[*name]) {
        levels.iter().for_each(|name| all[*name] = unsaid[*name].clone());
    }
    let fields = typed_fields.as_object().into_iter().flatten();
    for (name, value) in fields.filter(|(name, value)| unsaid[*name] != **value) {
        all[name] = value.clone();
    }
    Ok(Request { noise: typed.noise.clone(), ..serde_json::from_value(all)? })
}

/// The LoRAs of `--lora`, and those that prompts ask for.
pub fn loras(
    args: &GenerateArgs,
    style: PromptStyle,
    prompts: &[String],
    recalled: Option<&Recalled>,
) -> anyhow::Result<Vec<LoraArg>> {
    let asked = |prompt: &String| match style {
        PromptStyle::A1111 => asked(prompt),
        _ => Ok(Vec::new()),
    };
    let mut wanted = prompts.first().map(asked).transpose()?.unwrap_or_default();
    for prompt in prompts.iter().skip(1) {
        if asked(prompt)? != wanted {
            let why = format!(
                "the prompts ask for different LoRAs, and are drawn with one model: draw {prompt:?} by itself"
            );
            return Err(Usage(why).into());
        }
    }
    if style != PromptStyle::A1111 {
        wanted.extend(recalled.into_iter().flat_map(|recalled| recalled.loras.clone()));
    }
    let mut all = args.picture.lora.clone();
    for (name, scale) in wanted {
        if !args.picture.lora.iter().any(|given| lora_name(&given.file) == name) {
            all.push(LoraArg { file: find(&args.words, &name)?, scale });
        }
    }
    Ok(all)
}

/// Puts the LoRAs and the embeddings that a command's prompts ask for beside those of `--lora` and `--embedding`.
pub fn gather(args: &mut GenerateArgs) -> anyhow::Result<()> {
    let styles = Styles::read(&args.words)?;
    let prompts: Vec<String> = args.prompt.iter().map(|prompt| styles.prompt(prompt)).collect();
    args.picture.lora = loras(args, args.words.prompt_style.unwrap_or_default(), &prompts, None)?;
    let negative_prompts = vec![styles.negative_prompt(&args.negative_prompt)];
    let mut request = Request { negative_prompts, ..Request::default() };
    args.sdxl.apply(&mut request);
    args.words.embedding = embeddings(&args.words, &request, &prompts)?;
    Ok(())
}

/// The names and scales of what a prompt asks for.
fn asked(prompt: &str) -> anyhow::Result<Vec<(String, f32)>> {
    let mut found = Vec::new();
    for network in networks(prompt).1 {
        let name = network.name();
        if !["lora", "lyco"].contains(&&*network.kind) {
            log::warn!("<{}:{name}> is left out: prompts ask for LoRAs alone", network.kind);
            continue;
        }
        match network.scales() {
            Some([text, unet]) if text == unet => found.push((name.to_string(), text)),
            Some([text, unet]) => {
                let why = format!(
                    "<lora:{name}:{text}:{unet}>: one scale is for the text encoder and the UNet: give one number"
                );
                return Err(Usage(why).into());
            }
            None => {
                return Err(
                    Usage(format!("<lora:{name}>: the scale is a number, as in <lora:{name}:0.8>")).into()
                );
            }
        }
    }
    Ok(found)
}

/// The embeddings of `--embedding`, and those of `--embedding-dir` whose names stand in a prompt: whether as tokens, which
/// is what counts, the model says when it reads the prompt.
pub fn embeddings(
    words: &WordArgs,
    request: &Request,
    prompts: &[String],
) -> anyhow::Result<Vec<EmbeddingArg>> {
    let mut all = words.embedding.clone();
    // A picture's name for its word takes reading it: once.
    all.iter_mut().for_each(|word| word.name = Some(embedding_name(word)));
    let Some(folder) = &words.embedding_dir else { return Ok(all) };
    let bare = |text: &str| -> String {
        let kept = text.chars().filter(|c| !c.is_whitespace() && *c != '\\');
        kept.flat_map(char::to_lowercase).collect()
    };
    let others = [&request.negative_prompts, &request.prompts_2, &request.negative_prompts_2];
    let texts: Vec<String> =
        prompts.iter().chain(others.into_iter().flatten()).map(|text| bare(text)).collect();
    for file in embedding_files(folder)? {
        let Some(name) = file.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let called = |known: &EmbeddingArg| {
            known
                .name
                .as_deref()
                .or(known.file.file_stem()?.to_str())
                .map(|known| known.eq_ignore_ascii_case(name))
        };
        let is_new = !all.iter().any(|known| called(known) == Some(true));
        let is_named = !bare(name).is_empty() && texts.iter().any(|text| text.contains(&bare(name)));
        // Any other picture is no fault.
        let carries = || !image::names_picture(&file) || calotype::open_embedding(&file).is_ok();
        if is_new && is_named && carries() {
            all.push(EmbeddingArg { name: Some(name.into()), file, found: true });
        }
    }
    Ok(all)
}

/// Tells of words that a picture was drawn with, whose files are not given.
pub fn tell_missing(words: &WordArgs, recalled: Option<&Recalled>) {
    let names: Vec<String> =
        words.embedding.iter().map(|each| embedding_name(each).replace([':', ','], "")).collect();
    for name in recalled.into_iter().flat_map(|recalled| &recalled.embeddings) {
        if !names.iter().any(|known| known.eq_ignore_ascii_case(name)) {
            text::note(&format!(
                "the picture was drawn with the embedding {name}, which is text here: say with --embedding where its file \
                 is, or with --embedding-dir in which folder"
            ));
        }
    }
}

/// The files of a folder and of those in it that may be embeddings.
pub fn embedding_files(folder: &Path) -> Result<Vec<PathBuf>, Usage> {
    let mut found = files(folder, "--embedding-dir", &EMBEDDINGS)?;
    // One that lies beside a file of weights shows what that makes.
    found.sort_by_key(|file| image::names_picture(file));
    Ok(found)
}

/// The files of a folder and of those in it that may be LoRAs.
pub fn lora_files(folder: &Path) -> Result<Vec<PathBuf>, Usage> {
    files(folder, "--lora-dir", &ENDINGS)
}

/// The models of a folder: files of weights, and diffusers' folders.
pub fn models(folder: &Path) -> Result<Vec<PathBuf>, Usage> {
    let entries = std::fs::read_dir(folder)
        .map_err(|e| Usage(format!("--model-dir {}: the folder cannot be read: {e}", folder.display())))?;
    let ends = |path: &Path| {
        path.extension().is_some_and(|e| MODELS.iter().any(|ending| e.eq_ignore_ascii_case(ending)))
    };
    let is_one = |path: &PathBuf| if path.is_dir() { ModelPlace::is_folder(path) } else { ends(path) };
    let mut found: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).filter(is_one).collect();
    found.sort();
    Ok(found)
}

/// What files of models end in.
const MODELS: [&str; 3] = ["safetensors", "ckpt", "gguf"];

/// What files of embeddings end in.
const EMBEDDINGS: [&str; 5] = ["safetensors", "pt", "bin", "png", "webp"];

/// What files of LoRAs end in (A1111: `networks.list_available_networks`).
const ENDINGS: [&str; 3] = ["safetensors", "pt", "ckpt"];

/// A LoRA's file by its name.
fn find(words: &WordArgs, name: &str) -> Result<PathBuf, Usage> {
    let Some(folder) = &words.lora_dir else {
        return Err(Usage(format!(
            "the prompt asks for the LoRA {name}: say with --lora where its file is, or with --lora-dir in which folder \
             (--prompt-style plain takes <lora:…> for text)"
        )));
    };
    let found = files(folder, "--lora-dir", &ENDINGS)?;
    if let Some(file) = found.into_iter().find(|path| path.file_stem().is_some_and(|stem| stem == name)) {
        return Ok(file);
    }
    let (folder, [first, others @ ..]) = (folder.display(), ENDINGS);
    Err(Usage(format!(
        "the prompt asks for the LoRA {name}, and --lora-dir {folder} has no {name}.{first} (nor .{})",
        others.join(", nor .")
    )))
}

/// The files of some endings in a folder and in those in it.
fn files(folder: &Path, flag: &str, endings: &[&str]) -> Result<Vec<PathBuf>, Usage> {
    let ends = |path: &Path| {
        path.extension().is_some_and(|e| endings.iter().any(|ending| e.eq_ignore_ascii_case(ending)))
    };
    let (mut found, mut folders, mut seen) = (Vec::new(), vec![folder.to_owned()], BTreeSet::new());
    while let Some(folder) = folders.pop() {
        let entries = std::fs::read_dir(&folder)
            .map_err(|e| Usage(format!("{flag} {}: the folder cannot be read: {e}", folder.display())))?;
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            if path.is_dir() {
                // A link may lead back.
                if path.canonicalize().is_ok_and(|real| seen.insert(real)) {
                    folders.push(path);
                }
            } else if ends(&path) {
                found.push(path);
            }
        }
    }
    Ok(found)
}
