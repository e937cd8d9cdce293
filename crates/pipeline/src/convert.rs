//! Models as other files: a folder in the diffusers layout, a single `.safetensors`, a `.gguf`; LoRAs merged in.

use crate::error::{Error, Result};
use crate::files::ModelFiles;
use crate::image::{write_by, write_folder};
use crate::model::LORA;
use crate::single::{Hints, ZERO_SNR};
use crate::tokenizer::TokenizerFiles;
use calotype_models::Role;
use calotype_models::config::{ClipTextConfig, UNetConfig, VaeConfig};
use calotype_models::detect::{self, Family, Predicts};
use calotype_models::layout::{self, words};
use calotype_tensor::{DType, Encoding, HostTensor, Made, TensorInfo, Tensors};
use calotype_weights::files::{Format, StoredAs, holds, write};
use calotype_weights::schemes::{FilePlace, Joined, under_own_names};
use calotype_weights::{Error as Weights, Lora, Merged};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::rc::Rc;

/// What a model is written as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModelForm {
    /// A folder, as diffusers saves it.
    Folder,
    /// One file, in the original layout.
    Safetensors,
    /// The same as GGUF, in which matrices may be in blocks.
    Gguf,
}

impl ModelForm {
    /// By a path's ending: a file of weights that is written, or else a folder.
    ///
    /// # Errors
    /// What files of weights end in that are only read.
    pub fn of(path: &Path) -> Result<Self> {
        let ending = path.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        match ending.as_str() {
            "safetensors" => Ok(Self::Safetensors),
            "gguf" => Ok(Self::Gguf),
            "ckpt" | "pt" | "pth" | "bin" | "h5" | "onnx" => Err(Error::Model(format!(
                "{}: .{ending} is not written: end the name in .safetensors or .gguf, or name a folder",
                path.display()
            ))),
            _ => Ok(Self::Folder),
        }
    }

    fn format(self) -> Format {
        if self == Self::Gguf { Format::Gguf } else { Format::Safetensors }
    }
}

/// How numbers are stored, and what is added to them.
#[derive(Clone, Default)]
pub struct How {
    /// f32, f16 or bf16 for all numbers that are no integers; as they are where nothing is said.
    pub dtype: Option<DType>,
    /// Blocks for matrices, one of [`calotype_weights::BLOCKS`].
    pub quant: Option<Encoding>,
    /// LoRAs, each times its scale and over those before it.
    pub loras: Vec<(Rc<Lora>, f32)>,
    /// What is said of a file.
    pub hints: Hints,
}

/// What was written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes of the tensors.
    pub bytes: u64,
    /// How many tensors are stored in each type, by its name.
    pub encodings: BTreeMap<&'static str, usize>,
    /// Matrices that are not in blocks though blocks were asked for: their rows are no whole number of them.
    pub whole: usize,
}

/// A component's tensors as they are, and with what is merged into them.
type Component = (&'static str, Rc<dyn Tensors>, Rc<dyn Tensors>);

/// Names by which a file says something of its model.
const MARKS: [&str; 3] = ["v_pred", ZERO_SNR, "edm_"];

/// safetensors' metadata that says whose tensors they are.
const FRAMEWORK: &str = "format";

/// What a GGUF file says of its own container, which is written anew.
const CONTAINER: [&str; 4] =
    ["general.alignment", "general.architecture", "general.quantization_version", "general.file_type"];

/// In parts of names: what sd.cpp leaves as it is (`tensor_should_be_converted`), for it takes little room and matters much.
const KEPT: [&str; 4] = ["time_embed.", "label_emb.", "embedding", "position_ids"];

/// Writes a model as what `path` is to be, whole or not at all. `told` hears of every tensor's bytes before they are
/// written, and says whether to go on.
///
/// # Errors
/// A model that is not whole, where a folder is made; LoRAs for another family; numbers that do not fit into the type; what
/// hinders writing; [`calotype_weights::Error::Stopped`] where `told` said so.
pub fn convert(
    mut files: ModelFiles,
    path: &Path,
    how: &How,
    overwrite: bool,
    told: &mut dyn FnMut(u64) -> bool,
) -> Result<Written> {
    let layout = ModelForm::of(path)?;
    if let (Some(quant), false) = (how.quant, layout == ModelForm::Gguf) {
        let why = format!("{}: only a .gguf holds {quant}: end the name so", path.display());
        return Err(Error::Model(why));
    }
    if layout == ModelForm::Folder {
        pollster::block_on(files.complete(how.hints))?;
    }
    let components = components(&files, &how.loras)?;
    if components.is_empty() {
        return Err(Error::Model(format!("{}: no component of a model is in it", files.at())));
    }
    let unet = components.iter().find(|(name, ..)| *name == Role::Denoiser.folder());
    let family = how.hints.config.map(|said| said.family);
    let family = family.or_else(|| Some(Family::of(&*unet?.1)?.0)).unwrap_or(Family::Sd1);
    if !family.is_drawn() {
        return Err(Error::Model(format!("{}: {family} is recognised, but not converted", files.at())));
    }
    let mut written = Written::default();
    match layout {
        ModelForm::Folder => write_folder(path, |folder| {
            small_files(&files, folder)?;
            for (name, plain, merged) in &components {
                let role = Role::of_folder(name).expect("components are those of roles");
                let path = folder.join(name).join(layout::weights(role));
                let format = BTreeMap::from([(FRAMEWORK.into(), "pt".into())]);
                let tensors = planned(plain, layout, how, &mut written);
                fill(&path, layout, merged, &tensors, &format, false, told)?;
            }
            Ok(())
        })?,
        _ => {
            warn_lost(&files, &components, family);
            let metadata = metadata(&files, layout, how, family);
            let marks = marks(&files, how)?;
            let joined = |of: fn(&Component) -> &Rc<dyn Tensors>| {
                let parts = components.iter().map(|part| (part.0, Rc::clone(of(part)), family.place(part.0)));
                Joined::new(parts.chain([marks.clone()]))
            };
            let (plain, merged) = (joined(|(_, plain, _)| plain), joined(|(.., merged)| merged));
            let tensors = planned(&plain, layout, how, &mut written);
            fill(path, layout, &merged, &tensors, &metadata, overwrite, told)?;
        }
    }
    Ok(written)
}

/// All components that are there.
fn components(files: &ModelFiles, loras: &[(Rc<Lora>, f32)]) -> Result<Vec<Component>> {
    let mut plain: Vec<(Role, Rc<dyn Tensors>)> = Vec::new();
    for role in Role::ALL {
        if let Some(source) = files.tensors(role) {
            plain.push((role, Rc::new(under_own_names(role.folder(), source)?)));
        }
    }
    let named: Vec<(&str, &dyn Tensors)> =
        plain.iter().map(|(role, part)| (role.folder(), &**part)).collect();
    loras.iter().try_for_each(|(lora, _)| lora.check(&named))?;
    let merged = |(role, part): (Role, Rc<dyn Tensors>)| {
        let merged: Rc<dyn Tensors> = match LORA.contains(&role) && !loras.is_empty() {
            true => Rc::new(Merged::new(Rc::clone(&part), role.folder(), loras)?),
            false => Rc::clone(&part),
        };
        Ok((role.folder(), part, merged))
    };
    plain.into_iter().map(merged).collect()
}

/// How each tensor is stored.
fn planned(source: &dyn Tensors, layout: ModelForm, how: &How, written: &mut Written) -> Vec<StoredAs> {
    let mut all = Vec::new();
    for name in source.names() {
        // What cannot be read is not of use to anyone; that it is there was told when the file was opened.
        let Ok(info) = source.get(name) else { continue };
        let encoding = encoding(source, info, layout.format(), how, &mut written.whole);
        written.bytes += encoding.bytes(info.numel());
        *written.encodings.entry(encoding.name()).or_default() += 1;
        all.push(StoredAs { name: name.into(), encoding });
    }
    all
}

fn encoding(
    source: &dyn Tensors,
    info: &TensorInfo,
    format: Format,
    how: &How,
    whole: &mut usize,
) -> Encoding {
    let row = info.shape.last().copied().unwrap_or(1);
    let is_matrix = info.shape.len() > 1 && info.encoding.is_float();
    let may_change = is_matrix && !KEPT.iter().any(|part| info.name.contains(part));
    if let Some(quant) = how.quant.filter(|_| may_change) {
        if holds(format, quant, row) {
            return quant;
        }
        *whole += 1;
    }
    let may_round = info.encoding.is_float() && !is_mark(&info.name);
    let chosen = how.dtype.filter(|_| may_round).map(Encoding::from);
    let as_it_is = info.encoding == info.dtype.into() || source.as_stored(&info.name).is_some();
    let own = || (as_it_is && holds(format, info.encoding, row)).then_some(info.encoding);
    // What came in blocks had 16 bits a number at most.
    let blocks = info.encoding.block()[0] > 1;
    let lent = if blocks { Encoding::F16 } else { info.dtype.into() };
    chosen.or_else(own).unwrap_or(lent)
}

/// Tensors that say something of the model: some by their names alone, some by their numbers.
fn marks(files: &ModelFiles, how: &How) -> Result<(&'static str, Rc<dyn Tensors>, FilePlace)> {
    let mut found: BTreeMap<String, HostTensor> = BTreeMap::new();
    let own = files.marks.iter().filter(|name| is_mark(name));
    for (file, name) in files.marked.iter().flat_map(|file| own.clone().map(move |name| (file, name))) {
        let info = file.get(name).map_err(Weights::from)?;
        let bytes = pollster::block_on(file.read_all(name)).map_err(Weights::from)?;
        found.insert(name.clone(), HostTensor::from_bytes(&info.shape[..], info.dtype, bytes.to_vec()));
    }
    if how.hints.zero_snr || files.scheduler_fields()["rescale_betas_zero_snr"] == true {
        found.entry(ZERO_SNR.into()).or_insert_with(|| HostTensor::from_f32([0], &[]));
    }
    let listed: Vec<_> = found.iter().map(|(name, one)| (name.clone(), one.dtype(), one.shape())).collect();
    let source = Made::new(files.at(), listed, move |name: &str, _| found[name].clone());
    Ok(("", Rc::new(source), FilePlace { prefix: "", open_clip: false }))
}

/// Whether a name of no component's says something of the model.
fn is_mark(name: &str) -> bool {
    MARKS.iter().any(|mark| name.starts_with(mark))
}

/// What a single file says of itself: what it said, and what a folder says elsewhere.
fn metadata(files: &ModelFiles, layout: ModelForm, how: &How, family: Family) -> BTreeMap<String, String> {
    let mut said = files.said.clone();
    said.retain(|key, _| !CONTAINER.contains(&key.as_str()));
    let config = how.hints.config.map(|said| said.prediction);
    if let Some(prediction) = how.hints.prediction.or(config).or(files.predicts()) {
        said.insert(detect::SPEC.into(), prediction.spec().into());
    }
    if layout == ModelForm::Gguf {
        said.insert("general.architecture".into(), family.architecture().into());
        said.remove(FRAMEWORK);
    } else {
        // Without it transformers does not read a file.
        said.insert(FRAMEWORK.into(), "pt".into());
    }
    said
}

/// Warns where a folder says of its components what a single file cannot: opened again it would be taken for another.
fn warn_lost(files: &ModelFiles, components: &[Component], family: Family) {
    let Ok(config) = files.config() else { return };
    for (name, plain, _) in components {
        let Some(role) = Role::of_folder(name) else { continue };
        let told = detect::config(role, plain, family, files.predicts().unwrap_or(Predicts::Epsilon))
            .map(|told| told.to_string());
        let same = told.is_ok_and(|told| match role {
            Role::Text | Role::Text2 => {
                let own = config.texts.iter().find(|text| text.role == role);
                own.zip(ClipTextConfig::parse("", &told).ok()).is_some_and(|(own, told)| own.clip == told)
            }
            Role::Denoiser => UNetConfig::parse("", &told).is_ok_and(|told| told == config.unet),
            Role::Vae => VaeConfig::parse("", &told).is_ok_and(|told| told == config.vae),
        });
        if !same {
            let file = layout::config(role);
            log::warn!(
                "{}: {file} says what a single file cannot: where it is opened, what its shapes tell is taken instead",
                files.at()
            );
        }
    }
}

/// Writes one file of tensors.
fn fill(
    path: &Path,
    layout: ModelForm,
    source: &dyn Tensors,
    tensors: &[StoredAs],
    metadata: &BTreeMap<String, String>,
    overwrite: bool,
    told: &mut dyn FnMut(u64) -> bool,
) -> Result<()> {
    let mut failed = None;
    let mut write = |file: &mut File| {
        let mut out = BufWriter::new(file);
        let done = write(layout.format(), &mut out, source, tensors, metadata, told);
        done.and_then(|()| out.flush().map_err(Weights::Output)).map_err(|error| match error {
            Weights::Output(error) => error,
            other => {
                let told = io::Error::other(other.to_string());
                failed = Some(other);
                told
            }
        })
    };
    let done = write_by(path, overwrite, &mut write);
    failed.map_or(done, |error| Err(error.into()))
}

/// A folder's files that are no weights.
fn small_files(files: &ModelFiles, folder: &Path) -> Result<()> {
    let put = |path: &str, bytes: &[u8]| {
        let path = folder.join(path);
        let made = std::fs::create_dir_all(path.parent().unwrap_or(folder)).map_err(|error| Error::Image {
            file: path.display().to_string(),
            reason: format!("cannot be written: {error}"),
        });
        made.and_then(|()| crate::image::write(&path, bytes, false))
    };
    for (path, bytes) in files.small() {
        match *path {
            // It may name a LoRA, which is not taken along.
            layout::DEFAULTS => log::warn!("{}: {path} is not taken along", files.at()),
            layout::INDEX => put(path, &index(bytes))?,
            _ => put(path, bytes)?,
        }
    }
    let family = files.family.unwrap_or(Family::Sd1);
    for encoder in Role::TEXT.into_iter().filter(|role| files.has(*role)) {
        let words = words::folder(encoder);
        if !files.small().keys().any(|path| path.split('/').next() == Some(words)) {
            for (name, bytes) in TokenizerFiles::clip(family.padding(encoder))? {
                put(&format!("{words}/{name}"), &bytes)?;
            }
        }
    }
    Ok(())
}

/// The index, without components that are not written: diffusers would look for them.
fn index(bytes: &[u8]) -> Vec<u8> {
    let Ok(mut index) = serde_json::from_slice::<serde_json::Map<String, Value>>(bytes) else {
        return bytes.to_vec();
    };
    for (name, class) in &mut index {
        let words = Role::TEXT.map(words::folder);
        let there = words.contains(&&**name) || name == "scheduler" || Role::of_folder(name).is_some();
        if class.is_array() && !there {
            *class = serde_json::json!([null, null]);
        }
    }
    serde_json::to_vec_pretty(&index).unwrap_or_else(|_| bytes.to_vec())
}
