//! What lies where `-m` points, told by its name where it is no folder in the diffusers layout.

use crate::error::{Error, Result};
use calotype_field::Field;
use calotype_models::Role;
use calotype_models::layout::{self, words};
use std::path::{Path, PathBuf};

/// Refuses what cannot be a model folder; whether it is a sound one its files will show.
pub(crate) fn check(place: &Path) -> Result<()> {
    let found = match () {
        () if place.as_os_str().is_empty() => {
            return Err(Error::Model(format!("the model's name is empty: {} takes {PLACES}", Field::Place)));
        }
        () if place.join(layout::INDEX).exists() => return Ok(()),
        () if place.is_dir() => of_folder(place),
        () if place.exists() => Some("not a regular file; save the model as one first".into()),
        () => Some(format!("no such file or folder; {} takes {PLACES}", Field::Place)),
    };
    found.map_or(Ok(()), |what| Err(Error::Model(format!("{}: {what}", place.display()))))
}

const PLACES: &str = "a file of weights, a model folder in the diffusers layout, owner/name of a model on the Hugging Face hub or owner/name/file, \
                      or synthetic:sd15";

/// What a file of weights is, by its name.
fn of_file(file: &Path) -> Option<String> {
    let ending = file.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
    match ending.as_str() {
        "safetensors" | "ckpt" | "pt" | "pth" | "bin" | "gguf" | "h5" => {
            Some(format!("a file of weights: give it by its own name, {}", file.display()))
        }
        "onnx" => Some("a file in ONNX, which is not read".into()),
        _ => None,
    }
}

/// What a folder without an index is.
fn of_folder(folder: &Path) -> Option<String> {
    let mut entries: Vec<PathBuf> =
        folder.read_dir().ok()?.filter_map(|entry| Some(entry.ok()?.path())).collect();
    entries.sort();
    let index = layout::INDEX;
    let missing = format!("there is no {index}, with which a folder in the diffusers layout begins");
    let has = |name: &str| folder.join(name).exists();
    if entries.is_empty() {
        return Some(format!("an empty folder: {missing}"));
    }
    if has("transformer") {
        return Some(format!(
            "{missing}; what is in transformer/ is a diffusion transformer, and only Stable Diffusion 1 and 2, with a \
             unet/, are drawn with"
        ));
    }
    // What any component has in its folder.
    let of_component = |path: &str| path.rsplit_once('/').is_some_and(|(_, name)| has(name));
    if layout::CONFIGURATION.into_iter().any(of_component) || has(words::SETTINGS) {
        let whole = folder.parent().filter(|up| up.join(index).exists());
        let way_out = match whole {
            Some(up) => format!("give {}", up.display()),
            None => "give the folder that it belongs to".into(),
        };
        return Some(format!("one component, not a whole model: {missing}; {way_out}"));
    }
    if Role::ALL.iter().any(|role| has(role.folder())) {
        return None;
    }
    let file = entries.iter().find_map(|file| of_file(file).map(|what| (file.file_name(), what)));
    Some(match file {
        Some((name, what)) => format!("{missing}; {} is {what}", name.unwrap_or_default().display()),
        None => format!("not a model: {missing}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn what_is_no_model_folder_is_called_what_it_is() {
        let home = tempfile::tempdir().unwrap();
        let at = |path: &str| home.path().join(path);
        let put = |path: &str| {
            fs::create_dir_all(at(path).parent().unwrap()).unwrap();
            fs::write(at(path), "").unwrap();
        };
        let files = [
            "single/v1-5.safetensors",
            "onnx/model.onnx",
            "flux/transformer/config.json",
            "whole/model_index.json",
            "whole/unet/config.json",
            "part/config.json",
            "pictures/cat.png",
            "half/unet/config.json",
            "stray/bad.txt",
        ];
        files.iter().for_each(|file| put(file));
        fs::create_dir(at("empty")).unwrap();
        for (place, parts) in [
            ("single", &["model_index.json", "v1-5.safetensors is a file of weights", "by its own name"][..]),
            ("onnx", &["model.onnx is a file in ONNX"]),
            ("flux", &["transformer/", "unet/"]),
            ("whole/unet", &["one component", "give", "whole"]),
            ("part", &["one component", "the folder that it belongs to"]),
            ("pictures", &["not a model", "model_index.json"]),
            ("stray", &["stray: not a model: there is no model_index.json"]),
            ("empty", &["an empty folder", "model_index.json"]),
            ("nothing", &["no such file or folder"]),
        ] {
            let message = check(&at(place)).unwrap_err().to_string();
            assert!(
                parts.iter().all(|part| message.contains(part)) && !message.contains('\n'),
                "{place}: {message}"
            );
            // A file that is none of weights has nothing to do with it.
            assert!(!message.contains(".txt is") && !message.contains(".png is"), "{place}: {message}");
        }
        let message = check(Path::new("")).unwrap_err().to_string();
        assert!(message.starts_with("the model's name is empty: place takes"), "{message}");
        check(&at("whole")).unwrap();
        // Its missing index is named when it is read.
        check(&at("half")).unwrap();
    }
}
