use crate::hub;
use crate::{Error, Field, Model, Precision, builtin};
use std::path::Path;
#[cfg(feature = "hub")]
use std::path::PathBuf;

/// Where a model is: what `-m` names, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelPlace {
    /// In the program ([`builtin`]).
    BuiltIn,
    /// A folder in the diffusers layout, or `synthetic:sd15`.
    Here(String),
    /// A model of the hub, fetched.
    #[cfg(feature = "hub")]
    Hub {
        /// `owner/name`.
        name: String,
        /// Its files.
        folder: PathBuf,
    },
}

/// How a model of the hub is looked for.
#[derive(Clone, Debug, Default)]
pub struct Search {
    /// A branch, a tag or a commit; `main` where there is none.
    pub revision: Option<String>,
    /// Whether to ask the network for nothing.
    pub offline: bool,
    /// Whether to fetch f32 weights where the repository has halves too.
    pub full_precision: bool,
}

impl ModelPlace {
    /// Finds a model: the built-in one for no name or its own, a folder of the name, or else `owner/name` on the Hugging Face hub,
    /// which is fetched unless it is in the cache. `told` hears of the download.
    ///
    /// # Errors
    /// [`Error::Hub`], and [`Error::Request`] where a revision is asked for of what has none.
    pub fn find(
        name: Option<&str>,
        search: &Search,
        told: &mut dyn FnMut(&hub::DownloadProgress),
    ) -> Result<Self, Error> {
        let place = Self::look(name, search, told)?;
        let what = match &place {
            Self::BuiltIn => "the built-in model",
            Self::Here(name) if name.starts_with("synthetic:") => name,
            Self::Here(name) if Path::new(name).exists() => &format!("{name}, which lies on this machine,"),
            // It has other faults.
            Self::Here(_) => return Ok(place),
            #[cfg(feature = "hub")]
            Self::Hub { .. } => return Ok(place),
        };
        match &search.revision {
            Some(revision) => {
                let field = Field::Revision;
                let why = "has no revisions, only models of the hub do: leave it out";
                Err(Error::Request { field, why: format!("{field} {revision}: {what} {why}") })
            }
            None => Ok(place),
        }
    }

    fn look(
        name: Option<&str>,
        search: &Search,
        told: &mut dyn FnMut(&hub::DownloadProgress),
    ) -> Result<Self, Error> {
        let Some(name) = name else { return Ok(Self::BuiltIn) };
        if Path::new(name).exists() {
            return Ok(Self::Here(name.into()));
        }
        if name == builtin::NAME {
            return Ok(Self::BuiltIn);
        }
        Self::fetched(name, search, told).unwrap_or_else(|| Ok(Self::Here(name.into())))
    }

    /// A model of the hub, where the name could be of one; where it only means one, an error that says so.
    #[cfg(feature = "hub")]
    fn fetched(
        name: &str,
        search: &Search,
        told: &mut dyn FnMut(&hub::DownloadProgress),
    ) -> Option<Result<Self, Error>> {
        let mut fetch = || -> Result<Self, hub::Error> {
            let hub = hub::Hub::from_env()?.offline(search.offline);
            let variant = (!search.full_precision).then_some("fp16");
            let folder = hub.model(name, search.revision.as_deref(), variant, told)?;
            Ok(Self::Hub { name: name.into(), folder })
        };
        match hub::is_name(name) {
            true => Some(fetch().map_err(|error| Error::Hub(error.into()))),
            false => hub::misspelt(name).map(|error| Err(Error::Hub(error.into()))),
        }
    }

    #[cfg(not(feature = "hub"))]
    fn fetched(
        _: &str,
        _: &Search,
        _: &mut dyn FnMut(&hub::DownloadProgress),
    ) -> Option<Result<Self, Error>> {
        None
    }

    /// Opens it; of its files those are preferred that suit how activations are stored.
    pub fn open(&self, precision: Precision) -> Result<Model, Error> {
        let variant = (precision == Precision::F16).then_some("fp16");
        match self {
            Self::BuiltIn => builtin::model(),
            Self::Here(place) => Model::open(place, variant),
            #[cfg(feature = "hub")]
            Self::Hub { name, folder } => {
                let mut model = Model::folder(folder, variant)?;
                model.name.clone_from(name);
                Ok(model)
            }
        }
    }
}
