use crate::defaults::Defaults;
use crate::error::{Error, Result};
use crate::recipe::Recipe;
use crate::tokenizer::{CLIP_MERGES, Tokenizer, TokenizerFiles};
use calotype_models::Role;
use calotype_models::config::ModelConfig;
use calotype_models::detect::Family;
use calotype_models::layout::{self, words};
use calotype_sampling::SchedulerFile;
use calotype_tensor::Tensors;
use calotype_weights::schemes::Renamed;
use calotype_weights::{Folder, Lora};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

/// A model's files, wherever they lie: what is small read, the weights opened. A [`Model`](crate::Model) is made of them.
#[derive(Clone)]
pub struct ModelFiles {
    /// What the model is called in messages and in pictures' settings.
    pub name: String,
    /// Each component's weights; another's may be put in the place of one.
    pub weights: BTreeMap<Role, Rc<dyn Tensors>>,
    /// Components of a single file, whose configuration is still to be told from them.
    pub(crate) found: BTreeMap<Role, Renamed>,
    /// Names of a single file's tensors that are of no component.
    pub(crate) marks: Vec<String>,
    /// The single file that has them.
    pub(crate) marked: Option<Rc<dyn Tensors>>,
    /// What a single file says of itself.
    pub(crate) said: BTreeMap<String, String>,
    /// What a UNet that is another's is called, and says of itself.
    pub(crate) unet: Option<(String, BTreeMap<String, String>)>,
    /// Of a single file: whose way it is to pad CLIP's own vocabulary, where there is no other.
    pub(crate) family: Option<Family>,
    /// CLIP's own merges, packed, where the program has none.
    merges: Option<Rc<[u8]>>,
    /// The folder, as messages call it.
    place: String,
    small: Rc<BTreeMap<&'static str, Vec<u8>>>,
    /// Small files that are another's, as messages call them.
    others: BTreeMap<&'static str, String>,
    /// What makes the few-steps form, where the model has one.
    few_steps: Option<Rc<Lora>>,
}

impl ModelFiles {
    /// Opens a folder in the diffusers layout. `variant`, such as `fp16`, is preferred among a component's files where it
    /// exists. What can be told from the JSON alone is told before any weights are looked for.
    pub async fn open(folder: &dyn Folder, name: impl Into<String>, variant: Option<&str>) -> Result<Self> {
        let mut small = BTreeMap::new();
        for path in layout::small() {
            if let Some(bytes) = folder.read(path).await? {
                small.insert(path, bytes);
            }
        }
        let place = folder.place("").trim_end_matches(std::path::is_separator).to_owned();
        let small = Rc::new(small);
        let mut files = Self { small, ..Self::empty(name, place) };
        let config = files.config()?;
        files.scheduler(&config)?;
        for role in config.roles() {
            files.weights.insert(role, Rc::new(layout::checkpoint(folder, role, variant).await?));
        }
        if let Some(few) = files.defaults(&config)?.few_steps {
            let gone = || {
                let (place, lora) = (files.place(layout::DEFAULTS), folder.place(&few.lora));
                Error::Model(format!("{place} names {lora}, which is not there"))
            };
            let lora = Lora::within(folder, &few.lora).await?;
            files.few_steps = Some(Rc::new(lora.ok_or_else(gone)?));
        }
        Ok(files)
    }

    pub(crate) fn config(&self) -> Result<ModelConfig> {
        Ok(ModelConfig::read_as(
            |path| self.place(path),
            |path| {
                let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
                let bytes = self.small.get(path).ok_or_else(missing)?;
                String::from_utf8(bytes.clone()).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
            },
        )?)
    }

    /// The scheduler, as a Stable Diffusion pipeline loads it.
    pub(crate) fn scheduler(&self, config: &ModelConfig) -> Result<SchedulerFile> {
        scheduler(config, &self.place(layout::SCHEDULER))
    }

    /// A text encoder's own vocabulary, or CLIP's.
    pub(crate) fn tokenizer(&self, encoder: Role) -> Result<Tokenizer> {
        let file = |name: &str| self.small.get(words::path(encoder, name).as_str()).cloned();
        let folder = words::folder(encoder);
        if let Some(family) = self.family
            && !self.small.keys().any(|path| path.split('/').next() == Some(folder))
        {
            let merges = self.merges.as_deref().unwrap_or(CLIP_MERGES);
            return Tokenizer::clip_of(merges, family.padding(encoder));
        }
        Tokenizer::from_bytes(&TokenizerFiles::read(&self.place(folder), file)?)
    }

    /// Files of which nothing is there yet; `place` is what messages call them.
    pub(crate) fn empty(name: impl Into<String>, place: String) -> Self {
        Self {
            name: name.into(),
            weights: BTreeMap::new(),
            found: BTreeMap::new(),
            marks: Vec::new(),
            marked: None,
            said: BTreeMap::new(),
            unet: None,
            family: None,
            merges: None,
            place,
            small: Rc::default(),
            others: BTreeMap::new(),
            few_steps: None,
        }
    }

    /// Lends CLIP's own merges, `assets/clip_merges.txt.gz`, to a program that has none: a page fetches them where a single
    /// file takes them.
    pub fn lend_merges(&mut self, packed: &[u8]) {
        self.merges = Some(packed.into());
    }

    /// The components that are there.
    pub fn roles(&self) -> impl Iterator<Item = Role> {
        Role::ALL.into_iter().filter(|role| self.has(*role))
    }

    /// What messages call them.
    pub(crate) fn at(&self) -> &str {
        &self.place
    }

    /// Whether a component is there.
    pub fn has(&self, role: Role) -> bool {
        self.weights.contains_key(&role) || self.found.contains_key(&role)
    }

    /// A component's tensors, under diffusers' names.
    pub fn tensors(&self, role: Role) -> Option<Rc<dyn Tensors>> {
        let found = self.found.get(&role).map(|part| Rc::new(part.clone()) as Rc<dyn Tensors>);
        found.or_else(|| self.weights.get(&role).cloned())
    }

    /// A small file's text.
    pub(crate) fn text(&self, path: &str) -> Option<String> {
        self.small.get(path).map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    }

    /// All small files, by their paths.
    #[cfg(not(target_arch = "wasm32"))]
    pub(crate) fn small(&self) -> &BTreeMap<&'static str, Vec<u8>> {
        &self.small
    }

    /// Puts a small file in.
    pub(crate) fn keep(&mut self, path: &'static str, bytes: Vec<u8>) {
        Rc::make_mut(&mut self.small).insert(path, bytes);
    }

    /// Takes a small file out.
    pub(crate) fn forget(&mut self, path: &str) {
        Rc::make_mut(&mut self.small).remove(path);
    }

    pub(crate) fn defaults(&self, config: &ModelConfig) -> Result<Defaults> {
        match self.small.get(layout::DEFAULTS) {
            Some(text) => Defaults::parse(&self.place(layout::DEFAULTS), text),
            None => Ok(Defaults::of(config)),
        }
    }

    /// What a model of them is drawn as, where it is one of few steps. A folder's own file says how it is drawn, and where it
    /// names a scheduler, that is the one.
    pub(crate) fn recipe(&self, config: &ModelConfig) -> Option<Recipe> {
        if self.text(layout::DEFAULTS).is_some() || config.unet.time_cond_proj_dim.is_some() {
            return None;
        }
        let (name, said) = self.unet.as_ref().map_or((&self.name, &self.said), |(name, said)| (name, said));
        // Not by whom it is.
        let name = name.split_once('/').map_or(&**name, |(_, name)| name);
        let told = Recipe::of_model(name, |key| said.get(key).map(String::as_str));
        match self.family.is_none() && self.unet.is_none() {
            true => told.or_else(|| Recipe::of_scheduler(&config.index.scheduler)).map(Recipe::by_its_own),
            false => told,
        }
    }

    pub(crate) fn few_steps(&self) -> Option<Rc<Lora>> {
        self.few_steps.clone()
    }

    /// What messages call a small file.
    pub(crate) fn place(&self, path: &str) -> String {
        self.others.get(path).cloned().unwrap_or_else(|| format!("{}/{path}", self.place))
    }

    /// Has messages call a small file what it is called elsewhere.
    pub(crate) fn call(&mut self, path: &'static str, name: String) {
        self.others.insert(path, name);
    }
}

/// The scheduler, as a Stable Diffusion pipeline loads it; `place` is its file's name in errors.
pub(crate) fn scheduler(config: &ModelConfig, place: &str) -> Result<SchedulerFile> {
    use calotype_sampling::Error::NotJson;
    let file = SchedulerFile::at(place, &config.index.scheduler, &config.scheduler);
    let file = file.map_err(|error| match error {
        // A file that went wrong on its way here is told from one that was written wrong.
        NotJson { file, error } => {
            Error::from(calotype_models::Error::not_json(&file, &config.scheduler, &error))
        }
        other => other.into(),
    })?;
    Ok(file.as_stable_diffusion_loads_it())
}
