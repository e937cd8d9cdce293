use crate::defaults::Defaults;
use crate::error::{Error, Result};
use crate::tokenizer::TokenizerFiles;
use calotype_models::Role;
use calotype_models::config::ModelConfig;
use calotype_models::layout::{self, words};
use calotype_sampling::SchedulerFile;
use calotype_weights::{Checkpoint, Folder, Lora};
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

/// A model's files, wherever they lie: what is small read, the weights opened. A [`Model`](crate::Model) is made of them.
#[derive(Clone)]
pub struct ModelFiles {
    /// What the model is called in messages and in pictures' settings.
    pub name: String,
    /// Each component's weights; another's may be put in the place of one.
    pub weights: BTreeMap<Role, Checkpoint>,
    /// The folder, as messages call it.
    place: String,
    small: Rc<BTreeMap<&'static str, Vec<u8>>>,
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
        let place = folder.place("").trim_end_matches('/').to_owned();
        let (name, small) = (name.into(), Rc::new(small));
        let mut files = Self { name, weights: BTreeMap::new(), place, small, few_steps: None };
        let config = files.config()?;
        files.scheduler(&config)?;
        for role in Role::ALL {
            files.weights.insert(role, layout::checkpoint(folder, role, variant).await?);
        }
        if let Some(few) = files.defaults()?.few_steps {
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
        Ok(ModelConfig::read(&self.place, |path| {
            let missing = || io::Error::new(io::ErrorKind::NotFound, "no such file");
            let bytes = self.small.get(path).ok_or_else(missing)?;
            String::from_utf8(bytes.clone()).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))
        })?)
    }

    /// The scheduler, as a Stable Diffusion pipeline loads it.
    pub(crate) fn scheduler(&self, config: &ModelConfig) -> Result<SchedulerFile> {
        scheduler(config, &self.place(layout::SCHEDULER))
    }

    pub(crate) fn words(&self) -> Result<TokenizerFiles> {
        let file = |name: &str| self.small.get(words::path(name).as_str()).cloned();
        TokenizerFiles::read(&self.place(words::FOLDER), file)
    }

    pub(crate) fn defaults(&self) -> Result<Defaults> {
        let own = self.small.get(layout::DEFAULTS);
        Ok(own
            .map(|text| Defaults::parse(&self.place(layout::DEFAULTS), text))
            .transpose()?
            .unwrap_or_default())
    }

    pub(crate) fn few_steps(&self) -> Option<Rc<Lora>> {
        self.few_steps.clone()
    }

    fn place(&self, path: &str) -> String {
        format!("{}/{path}", self.place)
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
