//! From flags to a device, a precision and a model.

use crate::args::{BackendName, DeviceArgs, Dtype, EmbeddingArg, HubArgs, LoraArg, MemoryArgs, PictureArgs};
use crate::download::DownloadBar;
use crate::exit::Usage;
use crate::text;
use anyhow::Context;
use calotype::{
    Assembly, Backend, Choice, Device, Lora, Model, ModelPlace, NamedLora, OpenDevice, Order, Pipeline,
    Precision, Request, Tuning, image, lora_name,
};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::rc::Rc;

impl DeviceArgs {
    /// What to run on.
    pub fn device(&self) -> Result<Device, Usage> {
        let tier = self.tier.tier();
        let cache_weights = self.cache_weights;
        let tuning = if self.no_autotune { Tuning::Off } else { Tuning::Auto };
        let backend = match self.backend {
            BackendName::Cpu if self.adapter.is_some() => {
                return Err(Usage(
                    "--adapter chooses a GPU, and --backend cpu runs on none: give only one".into(),
                ));
            }
            BackendName::Cpu if tier.is_some() => {
                return Err(Usage(
                    "--tier is about a GPU's kernels, and --backend cpu runs on none: give only one".into(),
                ));
            }
            BackendName::Cpu if self.cache_weights.is_some() => {
                return Err(Usage(
                    "--cache-weights keeps what a GPU reads, and --backend cpu runs on none: give only one"
                        .into(),
                ));
            }
            BackendName::Cpu => return Ok(Device::Cpu),
            BackendName::Auto if self.adapter.is_none() && tier.is_none() => {
                return Ok(Device::Prefer(Choice { tuning, cache_weights, ..Choice::default() }));
            }
            BackendName::Auto => Backend::Auto,
            BackendName::Vulkan => Backend::Vulkan,
            BackendName::Metal => Backend::Metal,
            BackendName::Dx12 => Backend::Dx12,
        };
        let adapter = self.adapter.clone();
        Ok(Device::Gpu(Choice { backend, adapter, tier, tuning, cache_weights, ..Choice::default() }))
    }

    /// What [`precision`](Self::precision) will most likely be, before a device is open.
    pub fn likely_precision(&self) -> Precision {
        match (self.dtype, self.backend) {
            (Some(dtype), _) => dtype.precision(),
            (None, BackendName::Cpu) => Precision::F32,
            _ => Precision::F16,
        }
    }

    /// How activations are stored on a device.
    pub fn precision(&self, opened: &OpenDevice) -> Precision {
        self.dtype.map_or(opened.default_precision(), |dtype| dtype.precision())
    }
}

/// Mesa's layer VK_LAYER_MESA_device_select asks Wayland's compositor which GPU is its, whatever a program is about, and
/// libwayland complains on stderr, at every Vulkan instance, where a machine has none: as on servers and in containers.
/// With a socket that is named in full, and that no one listens to, it has nothing to say.
#[cfg(target_os = "linux")]
pub fn ask_no_compositor() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() {
        // SAFETY: no other thread runs yet.
        unsafe { std::env::set_var("WAYLAND_DISPLAY", "/dev/null") };
    }
}

/// Finds what `-m` names, fetching it if it must; without a name, the built-in model.
pub fn find(
    name: Option<&str>,
    hub: &HubArgs,
    dtype: Option<Dtype>,
    quiet: bool,
) -> Result<ModelPlace, calotype::Error> {
    let mut download = DownloadBar::new(quiet);
    let place = ModelPlace::find(name, &hub.search(dtype), &mut |at| download.told(at))?;
    if download.finish()
        && let Some(license) = place.license()
        && !quiet
    {
        text::note(&format!("{}: its licence is {license}", name.unwrap_or_default()));
    }
    Ok(place)
}

/// What a picture's model is made of, found.
pub struct FoundModel {
    place: ModelPlace,
    with: Assembly,
    tiny: Option<PathBuf>,
    control: Vec<PathBuf>,
    refiner: Option<ModelPlace>,
}

impl FoundModel {
    /// The model's file, where it is one.
    pub fn file(&self) -> Option<&Path> {
        self.place.file()
    }
}

/// Finds what `-m` names for a picture, once what goes with it is there: a model is not fetched for nothing.
pub fn find_for(picture: &PictureArgs, dtype: Option<Dtype>, quiet: bool) -> anyhow::Result<FoundModel> {
    let tiny = picture.assembly.tiny()?.map(PathBuf::from);
    for lora in &picture.lora {
        Lora::find(&lora.file).map_err(calotype::Error::from).context(LORA)?;
    }
    // The revision is the model's.
    let hub = HubArgs { revision: None, ..picture.hub.clone() };
    let part = |(role, name)| Ok((role, find(Some(name), &hub, dtype, quiet)?));
    let parts = picture.assembly.parts().map(part).collect::<Result<Vec<_>, calotype::Error>>()?;
    let refiner = picture.refiner.as_deref().map(|name| find(Some(name), &hub, dtype, quiet)).transpose();
    let refiner = refiner.context(REFINER)?;
    let place = find(picture.model.as_deref(), &picture.hub, dtype, quiet)?;
    let control = picture.init.control.control_net.clone();
    Ok(FoundModel {
        tiny,
        control,
        place,
        with: Assembly { parts, hints: picture.assembly.hints() },
        refiner,
    })
}

/// Finds a model that nothing goes with.
pub fn find_alone(name: Option<&str>, hub: &HubArgs, dtype: Option<Dtype>) -> anyhow::Result<FoundModel> {
    let place = find(name, hub, dtype, true)?;
    Ok(FoundModel { place, with: Assembly::default(), tiny: None, control: Vec::new(), refiner: None })
}

/// Opens a model and adds the LoRAs and the embeddings.
pub fn model(
    found: &FoundModel,
    flags: &DeviceArgs,
    precision: Precision,
    loras: &[LoraArg],
    embeddings: &[EmbeddingArg],
) -> anyhow::Result<Model> {
    let mut model = found.place.open_with(precision, &found.with)?;
    model.quant = flags.quant.unwrap_or_default();
    if let Some(refiner) = &found.refiner {
        model.refine_with(refiner.open(precision).context(REFINER)?)?;
    }
    let mut opened = OpenLoras::default();
    let loras = opened.open(loras)?;
    for (name, lora, scale) in &loras {
        model.add_lora(name, Rc::clone(lora), *scale).context(LORA)?;
    }
    if let Some(tiny) = &found.tiny {
        model.open_decoder(tiny).context("--taesd")?;
    }
    for net in &found.control {
        model.open_control(net).context("--control-net")?;
    }
    for embedding in embeddings {
        match (add(&mut model, embedding), embedding.found) {
            (Err(error), true) => log::warn!("left out: {error}"),
            (added, _) => added.context("--embedding")?,
        }
    }
    // After those: a word that was asked for stands before one that comes along.
    for (_, lora, _) in &loras {
        pollster::block_on(model.add_words(lora)).context(LORA)?;
    }
    Ok(model)
}

/// What diffusers calls every embedding's file: the word is in it.
const UNNAMED: &str = "learned_embeds";

fn add(model: &mut Model, arg: &EmbeddingArg) -> Result<(), calotype::Error> {
    model.add_embedding(embedding_name(arg), &calotype::open_embedding(&arg.file)?)
}

/// What prompts call an embedding: as is said, else as its file is called, but for what is in a picture, or has diffusers' name.
pub fn embedding_name(EmbeddingArg { file, name, .. }: &EmbeddingArg) -> String {
    let stem = || file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let own = || match stem() {
        stem if stem == UNNAMED || image::names_picture(file) => {
            calotype::open_embedding(file).ok().and_then(|embedding| embedding.word).unwrap_or(stem)
        }
        stem => stem,
    };
    name.clone().unwrap_or_else(own)
}

/// LoRAs' files, each opened once.
#[derive(Default)]
pub struct OpenLoras(BTreeMap<PathBuf, Rc<Lora>>);

impl OpenLoras {
    /// What is asked for, opened.
    pub fn open(&mut self, args: &[LoraArg]) -> anyhow::Result<Vec<NamedLora>> {
        let mut loras = Vec::new();
        for LoraArg { file, scale } in args {
            if !self.0.contains_key(file) {
                let opened = Lora::open(file).map_err(calotype::Error::from).context(LORA)?;
                self.0.insert(file.clone(), Rc::new(opened));
            }
            loras.push((lora_name(file), Rc::clone(&self.0[file]), *scale));
        }
        Ok(loras)
    }
}

const LORA: &str = "--lora";
const REFINER: &str = "--refiner";

/// Settles a request, and has the model in the form that it takes.
pub fn settle(request: &Request, model: &mut Model) -> Result<Order, calotype::Error> {
    let order = request.settle(model)?;
    model.take_form(order.few_steps.is_some())?;
    Ok(order)
}

/// `f16` or `f32`.
pub fn name(precision: Precision) -> &'static str {
    precision.dtype().name()
}

/// A model on a device. That the device is tuned is said when it begins, for it holds the first picture up.
pub fn pipeline(opened: &OpenDevice, model: Model, precision: Precision, memory: &MemoryArgs) -> Pipeline {
    let mut pipeline = Pipeline::new(opened, model, precision);
    pipeline.limit(memory.max_vram, memory.vae_tiling.tiling());
    pipeline.on_tuning(|products| {
        text::note(&format!(
            "finding this GPU's fastest kernels for {products} products: a few seconds, remembered for later runs \
             (--no-autotune does without)"
        ));
    });
    pipeline
}
