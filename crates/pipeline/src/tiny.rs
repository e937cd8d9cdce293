//! A tiny decoder in the place of the VAE's (TAESD): a picture's latents become pixels in a fraction of the time, and nearly the
//! same ones.

use crate::components::Component;
use crate::error::{Error, Result};
use crate::model::Model;
use calotype_field::Field;
use calotype_models::Role;
#[cfg(not(target_arch = "wasm32"))]
use calotype_models::layout;
use calotype_models::taesd::TinyDecoder;
use calotype_weights::Checkpoint;

impl Model {
    /// Has pictures decoded by a tiny decoder. Fails, leaving the model as it is, where the file holds none, or one for other
    /// latents.
    pub fn decode_by(&mut self, file: Checkpoint) -> Result<()> {
        let tiny = TinyDecoder::of(&file)?;
        let (vae, place) = (&self.config.vae, calotype_tensor::Tensors::describe(&file, ""));
        let own = [vae.latent_channels, vae.factor()];
        let its = [tiny.latent_channels, tiny.factor()];
        if own != its {
            return Err(Error::request(
                Field::Taesd,
                format!(
                    "{place}: it makes {} pixels a side of {} channels, and the model has {} and {}: take the tiny decoder of \
                     the model's family",
                    its[1], its[0], own[1], own[0]
                ),
            ));
        }
        if let Some(component) = self.components.get_mut(Role::Vae) {
            *component = Component::new(Role::Vae, file, None);
        }
        self.tiny = Some(tiny);
        Ok(())
    }

    /// Opens a tiny decoder's file, or a folder of diffusers' with one.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_decoder(&mut self, path: &std::path::Path) -> Result<()> {
        let file = if path.is_dir() { within(path)? } else { path.into() };
        self.decode_by(Checkpoint::open(file)?)
    }
}

/// The file in a folder, whose configuration must say what the decoder here does.
#[cfg(not(target_arch = "wasm32"))]
fn within(folder: &std::path::Path) -> Result<std::path::PathBuf> {
    let bad = |why: String| Error::request(Field::Taesd, format!("{}: {why}", folder.display()));
    let config = folder.join("config.json");
    let text =
        std::fs::read_to_string(&config).map_err(|e| bad(format!("config.json cannot be read: {e}")))?;
    let json: serde_json::Value =
        serde_json::from_str(&text).map_err(|e| bad(format!("config.json is no JSON ({e})")))?;
    let known = serde_json::json!({
        "_class_name": "AutoencoderTiny",
        "act_fn": "relu",
        "upsample_fn": "nearest",
        "upsampling_scaling_factor": 2,
        "scaling_factor": 1.0,
        "shift_factor": 0.0,
    });
    for (field, own) in known.as_object().into_iter().flatten() {
        let said = json.get(field).unwrap_or(own);
        let same = said == own || said.as_f64().is_some_and(|n| Some(n) == own.as_f64());
        if !same {
            return Err(bad(format!("config.json: {field} = {said} is not supported; {own} is")));
        }
    }
    let entries = std::fs::read_dir(folder).map_err(|e| bad(format!("it cannot be read: {e}")))?;
    let mut names: Vec<String> =
        entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    names.sort();
    Ok(folder.join(layout::choose(&folder.display().to_string(), &names, None)?.name))
}
