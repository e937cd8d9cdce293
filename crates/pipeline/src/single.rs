//! Models in single files: what their tensors tell is written down as a folder would have it, and read as strictly.

use crate::error::{Error, Result};
use crate::files::ModelFiles;
use calotype_field::Field;
use calotype_models::Role;
use calotype_models::detect::{self, Assumed, EdmMarks, Family, Predicts, Said};
use calotype_models::layout;
use calotype_tensor::Tensors;
use calotype_weights::schemes::{FileKind, FileParts, keras, under_own_names};
use calotype_weights::{Checkpoint, warn_unused};
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::rc::Rc;

/// What is said of a model whose files do not say it, or say it wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hints {
    /// What it is.
    pub config: Option<Said>,
    /// What its UNet predicts.
    pub prediction: Option<Predicts>,
    /// Whether its last timestep is pure noise.
    pub zero_snr: bool,
}

/// The tensor, of no component, by which a file says that its last timestep is pure noise.
pub(crate) const ZERO_SNR: &str = "ztsnr";

impl ModelFiles {
    /// A file that holds a model, or a component of one.
    pub fn of_checkpoint(name: impl Into<String>, checkpoint: Checkpoint) -> Result<Self> {
        let place = checkpoint.describe("");
        let checkpoint = keras::originals(checkpoint, &place)?;
        let kind = FileKind::of(&checkpoint.names());
        if kind != FileKind::Model {
            let field = match kind {
                FileKind::Lora => format!(": give it with {}, beside a model", Field::Loras),
                FileKind::ControlNet => format!(": give it with {}, beside a model", Field::ControlNet),
                _ => String::new(),
            };
            return Err(Error::Model(format!("{place}: {}, and no model{field}", kind.words())));
        }
        let said = checkpoint.said().clone();
        let checkpoint = Rc::new(checkpoint);
        let parts = FileParts::of(Rc::<Checkpoint>::clone(&checkpoint))?;
        warn_unused(&place, "", parts.rest.iter().map(String::as_str));
        let mut files = Self::empty(name, place);
        files.said = said;
        for (folder, part) in parts.components {
            if let Some(role) = Role::of_folder(folder) {
                files.found.insert(role, part);
            }
        }
        files.marks = parts.rest;
        files.marked = Some(checkpoint);
        Ok(files)
    }

    /// Puts another's component in the place of its own. Where its tensors are called and shaped alike, the configuration
    /// stays: it says what shapes cannot.
    pub fn replace(&mut self, role: Role, mut other: Self) -> Result<()> {
        if role == Role::Denoiser {
            (self.marks, self.marked) = (std::mem::take(&mut other.marks), other.marked.take());
            self.unet = Some((other.name.clone(), std::mem::take(&mut other.said)));
        }
        // A text encoder by itself does not say that it is the second.
        if role == Role::Text2 && !other.has(role) {
            other.found.remove(&Role::Text).map(|part| other.found.insert(role, part));
        }
        if let (Some(own), Some(part)) = (self.weights.get(&role), other.found.get(&role))
            && alike(role, own, part)?
        {
            self.weights.insert(role, Rc::new(part.clone()));
            return Ok(());
        }
        let config = layout::config(role);
        self.forget(config);
        self.found.remove(&role);
        self.weights.remove(&role);
        if let Some(part) = other.found.remove(&role) {
            self.call(config, other.at().to_owned());
            self.found.insert(role, part);
        } else if let Some(weights) = other.weights.remove(&role) {
            self.weights.insert(role, weights);
            self.call(config, other.place(config));
            self.keep(config, other.text(config).unwrap_or_default().into_bytes());
        } else {
            return Err(Error::Model(format!("{}: there is no {} in it", other.at(), words(role))));
        }
        Ok(())
    }

    /// Writes down what its files do not say. Where they cannot be told apart, what is assumed is logged, with what
    /// says otherwise.
    pub async fn complete(&mut self, hints: Hints) -> Result<()> {
        let place = self.at().to_owned();
        let in_folder = self.text(layout::INDEX).is_some();
        let unet = self.tensors(Role::Denoiser);
        let told = unet.as_deref().and_then(Family::of);
        let family = hints.config.map(|said| said.family).or(told.map(|(family, _)| family));
        // A refiner's file has its only text encoder where others have their first.
        if family == Some(Family::Refiner) && !self.has(Role::Text2) {
            self.found.remove(&Role::Text).map(|part| self.found.insert(Role::Text2, part));
        }
        if !in_folder {
            self.whole(family)?;
        }
        let said = hints.prediction.or(hints.config.map(|said| said.prediction));
        if in_folder && self.found.is_empty() {
            return self.overrule(said, hints.zero_snr);
        }
        let unet = unet.expect("it was just there");
        let nothing = || Error::Model(format!("{}: the UNet attends to no text", unet.describe("")));
        let family = family.ok_or_else(nothing)?;
        self.refuse(&*unet, family, in_folder)?;
        let edm = match &self.marked {
            Some(file) => EdmMarks::of(&**file, &self.marks).await?,
            None => None,
        };
        let said = said.or_else(|| detect::said(&*unet, &self.marks));
        let (prediction, assumed) = match said {
            Some(said) => (said, None),
            // A folder says it in its scheduler.
            None if in_folder => (self.predicts().unwrap_or(Predicts::Epsilon), None),
            None => detect::prediction(&*unet, family, &self.marks).await?,
        };
        let zero_snr = hints.zero_snr || self.marks.iter().any(|name| name == ZERO_SNR);
        if let Some(Assumed { why, otherwise }) = assumed {
            let other = Predicts::ALL.iter().find(|(_, one)| *one == otherwise).map_or("", |(name, _)| name);
            log::warn!(
                "{place}: taken to predict {} ({why}); if pictures are noise, {} {other}",
                prediction.name(),
                Field::PredictionType
            );
        }
        self.family = self.family.or(Some(family));
        for role in family.texts().iter().copied().chain([Role::Denoiser, Role::Vae]) {
            let Some(mut part) = self.found.remove(&role) else { continue };
            let mut config = detect::config(role, &part, family, prediction)?;
            edm.iter().filter(|_| role == Role::Vae).for_each(|edm| edm.tell(&mut config));
            if let (Role::Text, Some(layers)) = (role, config["num_hidden_layers"].as_u64()) {
                part.leave_out(&format!("text_model.encoder.layers.{layers}."));
            }
            self.keep(layout::config(role), config.to_string().into_bytes());
            self.weights.insert(role, Rc::new(part));
        }
        if in_folder {
            return self.overrule(said, zero_snr);
        }
        let mut scheduler = match edm {
            Some(edm) => edm.scheduler,
            None => detect::scheduler(family, prediction, zero_snr),
        };
        scheduler["prediction_type"] = prediction.name().into();
        self.keep(layout::INDEX, detect::index(family, &scheduler).to_string().into_bytes());
        self.keep(layout::SCHEDULER, scheduler.to_string().into_bytes());
        Ok(())
    }

    /// Fails where a component of a model of its family is missing.
    fn whole(&self, family: Option<Family>) -> Result<()> {
        let texts = family.map_or(&[Role::Text][..], Family::texts);
        let needed = texts.iter().copied().chain([Role::Denoiser, Role::Vae]);
        let (there, missing): (Vec<Role>, Vec<Role>) = needed.partition(|role| self.has(*role));
        let list = |roles: &[Role], before: &str| {
            roles.iter().map(|role| format!("{before} {}", words(*role))).collect::<Vec<_>>().join(" and ")
        };
        let there = if there.is_empty() { "nothing of a model".into() } else { list(&there, "the") };
        let fields: Vec<String> = missing.iter().map(|role| component_field(*role).to_string()).collect();
        let them = match &fields[..] {
            [] => return Ok(()),
            [_] => "it",
            _ => "them",
        };
        let why = format!(
            "the file holds {there}, and {}: give {them} as {}, or a file of the whole model",
            list(&missing, "no"),
            fields.join(" and ")
        );
        Err(Error::Model(format!("{}: {why}", self.at())))
    }

    /// What a folder's own scheduler says that the model predicts, where it does.
    pub(crate) fn predicts(&self) -> Option<Predicts> {
        let config = self.scheduler_fields();
        let named = |(_, one): &&(_, Predicts)| config["prediction_type"] == one.name();
        Predicts::ALL.iter().find(named).map(|(_, one)| *one)
    }

    /// What a folder's own scheduler says; nothing where it is not there, or no JSON, which is told where it is read.
    pub(crate) fn scheduler_fields(&self) -> Value {
        serde_json::from_str(&self.text(layout::SCHEDULER).unwrap_or_default()).unwrap_or_default()
    }

    /// Puts what is said in the place of what a folder's own scheduler says.
    fn overrule(&mut self, said: Option<Predicts>, zero_snr: bool) -> Result<()> {
        if said.is_none() && !zero_snr {
            return Ok(());
        }
        let text = self.text(layout::SCHEDULER).unwrap_or_default();
        // What is no JSON is told where it is read.
        let Ok(mut config) = serde_json::from_str::<Map<String, Value>>(&text) else { return Ok(()) };
        if let Some(prediction) = said {
            config.insert("prediction_type".into(), prediction.name().into());
        }
        if zero_snr {
            config.insert("rescale_betas_zero_snr".into(), true.into());
        }
        self.keep(layout::SCHEDULER, Value::from(config).to_string().into_bytes());
        Ok(())
    }

    /// Refuses what is recognised and not drawn.
    fn refuse(&self, unet: &dyn Tensors, family: Family, in_folder: bool) -> Result<()> {
        let edm = in_folder && EdmMarks::is(&self.marks);
        let what =
            purpose(unet, family) + if edm { " that was trained as an EDM, in another's folder" } else { "" };
        match is_drawn(unet, family) && !edm {
            true => Ok(()),
            false => Err(Error::Model(format!(
                "{}: {what}, which is recognised, but not drawn with: {DRAWN} are",
                self.at()
            ))),
        }
    }
}

/// Whether two components have the same tensors, as far as names and shapes say.
fn alike(role: Role, own: &Rc<dyn Tensors>, part: &dyn Tensors) -> Result<bool> {
    // Counted, not learned, and not always saved.
    const POSITIONS: &str = "position_ids";
    let own = under_own_names(role.folder(), Rc::clone(own))?;
    let shapes = |of: &dyn Tensors| -> BTreeMap<String, Option<Vec<usize>>> {
        let names = of.names().into_iter().filter(|name| !name.ends_with(POSITIONS));
        names.map(|name| (name.into(), of.get(name).ok().map(|info| info.shape.clone()))).collect()
    };
    Ok(shapes(&own) == shapes(part))
}

/// What pictures are drawn with.
pub const DRAWN: &str = "Stable Diffusion 1 and 2 with 4, 8 or 9 input channels, and XL with 4 or 9";

/// Whether pictures are drawn with it.
pub(crate) fn is_drawn(unet: &dyn Tensors, family: Family) -> bool {
    let one = matches!(family, Family::Sd1 | Family::Sd2);
    family.is_drawn()
        && inputs(unet).is_some_and(|channels| channels == 4 || channels == 9 || channels == 8 && one)
}

/// Channels that a UNet takes.
fn inputs(unet: &dyn Tensors) -> Option<usize> {
    unet.get("conv_in.weight").ok()?.shape.get(1).copied()
}

/// A model's family, and what it is for where its UNet takes more than latents.
pub(crate) fn purpose(unet: &dyn Tensors, family: Family) -> String {
    match inputs(unet) {
        Some(9) => format!("{family} for inpainting (9 input channels)"),
        Some(8) => format!("{family} that is instructed by a picture, InstructPix2Pix (8 input channels)"),
        Some(4) | None => family.to_string(),
        Some(other) => format!("{family} with {other} input channels"),
    }
}

/// A component in words.
fn words(role: Role) -> &'static str {
    match role {
        Role::Text => "text encoder",
        Role::Text2 => "second text encoder",
        Role::Denoiser => "UNet",
        Role::Vae => "VAE",
    }
}

/// The field by which a component is given apart.
pub fn component_field(role: Role) -> Field {
    match role {
        Role::Text => Field::TextEncoder,
        Role::Text2 => Field::TextEncoder2,
        Role::Denoiser => Field::Unet,
        Role::Vae => Field::Vae,
    }
}

#[cfg(not(target_arch = "wasm32"))]
mod disk {
    use super::{Checkpoint, Error, ModelFiles, Result, Role, component_field, layout};
    use calotype_weights::schemes::keras::originals;
    use calotype_weights::{DiskFolder, Folder};
    use pollster::block_on;
    use std::path::{Path, PathBuf};

    /// Keras' files in a folder that is no model's in the diffusers layout.
    fn keras(folder: &Path) -> Vec<PathBuf> {
        if folder.join(layout::INDEX).exists() {
            return Vec::new();
        }
        let entries = folder.read_dir().into_iter().flatten().filter_map(|entry| Some(entry.ok()?.path()));
        let is_keras =
            |path: &PathBuf| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("h5"));
        let mut files: Vec<PathBuf> = entries.filter(is_keras).collect();
        files.sort();
        files
    }

    /// Files of a component each, as one.
    fn joined(files: &[PathBuf]) -> Result<Checkpoint> {
        let open = |path: &PathBuf| originals(Checkpoint::open(path)?, &path.display().to_string());
        let (first, rest) = files.split_first().expect("there are some");
        let mut all = open(first)?;
        for file in rest {
            all.join(open(file)?)?;
        }
        Ok(all)
    }

    impl ModelFiles {
        /// Opens what lies at a path: a single file, or a folder in the diffusers layout.
        pub fn at_path(path: &Path, variant: Option<&str>) -> Result<Self> {
            if path.is_file() {
                let name = path
                    .file_stem()
                    .map_or_else(|| "model".into(), |name| name.to_string_lossy().into_owned());
                return Self::of_checkpoint(name, Checkpoint::open(path)?);
            }
            let keras = keras(path);
            if !keras.is_empty() {
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                return Self::of_checkpoint(name, joined(&keras)?);
            }
            crate::folder::check(path)?;
            let name = path.canonicalize().ok();
            let name = name.as_deref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy());
            block_on(Self::open(&DiskFolder::new(path), name.unwrap_or("model".into()), variant))
        }

        /// The same for one component, which may also be a folder of its own, with its `config.json`.
        pub fn part_at_path(path: &Path, role: Role, variant: Option<&str>) -> Result<Self> {
            const CONFIG: &str = "config.json";
            if !path.exists() {
                let takes = "takes a file of weights, a folder of one component, or a whole model";
                let why =
                    format!("{}: no such file or folder; {} {takes}", path.display(), component_field(role));
                return Err(Error::Model(why));
            }
            if !path.join(CONFIG).is_file() || path.join(layout::INDEX).exists() {
                return Self::at_path(path, variant);
            }
            let folder = DiskFolder::new(path);
            let place = path.display().to_string();
            let mut files = Self::empty("part", place.clone());
            let names = block_on(folder.list(""))?.unwrap_or_default();
            let chosen = layout::choose(&place, &names, variant)?;
            let gone = || Error::Model(format!("{place}: {} is gone", chosen.name));
            let weights = block_on(Checkpoint::within(&folder, &chosen.name))?.ok_or_else(gone)?;
            files.weights.insert(role, std::rc::Rc::new(weights));
            files.keep(layout::config(role), block_on(folder.read(CONFIG))?.unwrap_or_default());
            files.call(layout::config(role), folder.place(CONFIG));
            Ok(files)
        }
    }
}
