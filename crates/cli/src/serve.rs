//! `calotype serve`.

use crate::args::{DeviceArgs, EmbeddingArg, HubArgs, MemoryArgs, ServeArgs};
use crate::exit::Usage;
use crate::{device, text, wanted};
use anyhow::Context;
use calotype::{OpenDevice, Pipeline, builtin, lora_name};
use calotype_serve::{Config, EmbeddingEntry, Limits, LoraEntry, ModelEntry, is_own};
use calotype_worker::{Failure, Open, Worker};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

/// Answers until it is asked to end.
pub fn run(args: &ServeArgs) -> anyhow::Result<()> {
    if args.key.as_ref().is_some_and(String::is_empty) {
        return Err(Usage("--key: an empty key keeps nobody out: leave it out, or give one".into()).into());
    }
    if !is_own(args.host) && args.key.is_none() {
        let why =
            "others than this machine could draw here: give a --key (or CALOTYPE_KEY), or leave --host out";
        return Err(Usage(format!("--host {}: {why}", args.host)).into());
    }
    let models = models(args)?;
    let loras = loras(args)?;
    let (words, embeddings) = embeddings(args)?;
    // A place that is taken is told before a model is read.
    let address = SocketAddr::new(args.host, args.port);
    let listener = TcpListener::bind(address).with_context(|| format!("--port {}: {address}", args.port))?;
    let first = models[0].name.clone();
    let opener = Opener {
        places: models.iter().map(|model| (model.name.clone(), place_of(model, args))).collect(),
        hub: args.hub.clone(),
        device: args.device.clone(),
        memory: args.memory.clone(),
        words,
    };
    let worker = Worker::start(&first, move || opener.open())?;
    text::result(&format!("http://{} answers with {first}", listener.local_addr()?))?;
    let (key, hosts) = (args.key.clone(), args.allow_host.clone());
    let config = Config { key, hosts, models, loras, embeddings, limits: Limits::default() };
    calotype_serve::serve(listener, worker, config).context("the server ended")
}

/// What opens models on the worker's thread, where the device is opened once.
struct Opener {
    /// What `-m` would name, by clients' names.
    places: BTreeMap<String, Option<String>>,
    hub: HubArgs,
    device: DeviceArgs,
    memory: MemoryArgs,
    words: Vec<EmbeddingArg>,
}

impl Opener {
    fn open(self) -> Open {
        let mut opened: Option<OpenDevice> = None;
        Box::new(move |name| {
            let place = self.places.get(name).cloned().flatten();
            self.pipeline(&mut opened, place.as_deref()).map_err(failure)
        })
    }

    fn pipeline(&self, opened: &mut Option<OpenDevice>, place: Option<&str>) -> anyhow::Result<Pipeline> {
        let found = device::find_alone(place, &self.hub, self.device.dtype)?;
        let opened = match opened {
            Some(opened) => opened,
            None => opened.insert(self.device.device()?.open()?),
        };
        let precision = self.device.precision(opened);
        let model = device::model(&found, &self.device, precision, &[], &self.words)?;
        Ok(device::pipeline(opened, model, precision, &self.memory))
    }
}

fn failure(error: anyhow::Error) -> Failure {
    match error.downcast::<calotype::Error>() {
        Ok(error) => error.into(),
        Err(error) => Failure::model(format!("{error:#}")),
    }
}

/// The model of `-m` first, then those of `--model-dir`, each by a name of its own.
fn models(args: &ServeArgs) -> anyhow::Result<Vec<ModelEntry>> {
    let typed = args.model.as_deref().unwrap_or(builtin::NAME);
    let here = Some(PathBuf::from(typed)).filter(|path| path.exists());
    let named =
        here.as_ref().and_then(|path| path.file_name()).map(|name| name.to_string_lossy().into_owned());
    let mut models = vec![ModelEntry { name: named.unwrap_or_else(|| typed.into()), file: here }];
    let others = args.model_dir.as_deref().map(wanted::models).transpose()?;
    for file in others.into_iter().flatten() {
        let Some(name) = file.file_name().map(|name| name.to_string_lossy().into_owned()) else { continue };
        if !models.iter().any(|model| model.name == name) {
            models.push(ModelEntry { name, file: Some(file) });
        }
    }
    Ok(models)
}

fn place_of(model: &ModelEntry, args: &ServeArgs) -> Option<String> {
    match &model.file {
        Some(file) => Some(file.display().to_string()),
        None => args.model.clone(),
    }
}

fn loras(args: &ServeArgs) -> anyhow::Result<Vec<LoraEntry>> {
    let Some(folder) = &args.lora_dir else { return Ok(Vec::new()) };
    let files = wanted::lora_files(folder)?;
    Ok(files.into_iter().map(|file| LoraEntry { name: lora_name(&file), file }).collect())
}

/// The words of `--embedding-dir`; one that cannot be read is told and left out.
fn embeddings(args: &ServeArgs) -> anyhow::Result<(Vec<EmbeddingArg>, Vec<EmbeddingEntry>)> {
    let (mut words, mut entries) = (Vec::new(), Vec::new());
    let Some(folder) = &args.embedding_dir else { return Ok((words, entries)) };
    for file in wanted::embedding_files(folder)? {
        let name = stem(&file);
        if entries.iter().any(|known: &EmbeddingEntry| known.name.eq_ignore_ascii_case(&name)) {
            continue;
        }
        match calotype::open_embedding(&file) {
            Ok(word) => {
                let width = word.towers.first().map_or(0, |vectors| vectors.width);
                entries.push(EmbeddingEntry {
                    name: name.clone(),
                    vectors: word.count(),
                    width,
                    step: word.step,
                });
                words.push(EmbeddingArg { file, name: Some(name), found: true });
            }
            Err(error) => log::warn!("left out: {error}"),
        }
    }
    Ok((words, entries))
}

fn stem(file: &Path) -> String {
    file.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default()
}
