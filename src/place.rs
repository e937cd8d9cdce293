use crate::hub;
use crate::{Error, Field, Hints, Model, ModelFiles, Precision, Role, builtin};
use calotype_pipeline::component_field;
use std::path::Path;
#[cfg(feature = "hub")]
use std::path::PathBuf;

/// Where a model is: what `-m` names, found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ModelPlace {
    /// In the program ([`builtin`]).
    BuiltIn,
    /// A file of weights, a folder in the diffusers layout, or `synthetic:sd15`.
    Here(String),
    /// A model of the hub, fetched.
    #[cfg(feature = "hub")]
    Hub {
        /// `owner/name`, or `owner/name/file`.
        name: String,
        /// Its folder, or its file.
        path: PathBuf,
        /// The licence that its card names.
        license: Option<String>,
    },
}

/// What a model is put together of, beside its own files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Assembly {
    /// Components in the place of its own: whole models, of which one is taken, or components alone.
    pub parts: Vec<(Role, ModelPlace)>,
    /// What is said of it.
    pub hints: Hints,
}

impl Assembly {
    /// The first field by which it is more than the model itself.
    fn field(&self) -> Option<Field> {
        let Hints { config, prediction, zero_snr } = self.hints;
        let part = self.parts.first().map(|(role, _)| component_field(*role));
        let said = config.map(|_| Field::Config).or(prediction.map(|_| Field::PredictionType));
        part.or(said).or(zero_snr.then_some(Field::ZeroSnr))
    }
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
            let revision = search.revision.as_deref();
            let (path, folder) = match hub::file_of(name) {
                Some((name, path)) => hub.file(name, path, revision, told)?,
                None => {
                    let folder = hub.model(name, revision, variant, told)?;
                    (folder.clone(), folder)
                }
            };
            Ok(Self::Hub { name: name.into(), path, license: hub::license(&folder) })
        };
        match hub::is_name(name) || hub::file_of(name).is_some() {
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
        self.open_with(precision, &Assembly::default())
    }

    /// The same with components of other places, and with what is said of its files.
    pub fn open_with(&self, precision: Precision, with: &Assembly) -> Result<Model, Error> {
        let variant = (precision == Precision::F16).then_some("fp16");
        match self {
            Self::BuiltIn if *with == Assembly::default() => return builtin::model(),
            Self::Here(place) if place.starts_with("synthetic:") && *with == Assembly::default() => {
                return Model::open(place, variant);
            }
            _ => {}
        }
        let mut files = self.files(variant, with)?;
        pollster::block_on(files.complete(with.hints))?;
        Model::of(&files)
    }

    /// Its files, with components of other places in the place of its own; `variant`, such as `fp16`, is preferred among a
    /// component's files. What single files do not say is not written down yet ([`ModelFiles::complete`]).
    pub fn files(&self, variant: Option<&str>, with: &Assembly) -> Result<ModelFiles, Error> {
        let whole = |what: &str| {
            let why =
                "is not made of files: nothing can be put in the place of its components, or said of them";
            let field = with.field().unwrap_or(Field::Place);
            Err(Error::Request { field, why: format!("{field}: {what} {why}") })
        };
        let mut files = match self {
            Self::BuiltIn => return whole("the built-in model"),
            Self::Here(place) if place.starts_with("synthetic:") => return whole(place),
            Self::Here(place) => ModelFiles::at_path(Path::new(place), variant)?,
            #[cfg(feature = "hub")]
            Self::Hub { name, path, .. } => {
                let mut files = ModelFiles::at_path(path, variant)?;
                files.name.clone_from(name);
                files
            }
        };
        for (role, place) in &with.parts {
            let part = match place {
                Self::BuiltIn => {
                    let why = "the built-in model is not made of files: no component can be taken from it";
                    return Err(Error::Model(why.into()));
                }
                Self::Here(place) => ModelFiles::part_at_path(Path::new(place), *role, variant)?,
                #[cfg(feature = "hub")]
                Self::Hub { path, .. } => ModelFiles::part_at_path(path, *role, variant)?,
            };
            files.replace(*role, part)?;
        }
        Ok(files)
    }

    /// Whether a folder is a model's, in the diffusers layout.
    pub fn is_folder(path: &Path) -> bool {
        path.join(calotype_models::layout::INDEX).is_file()
    }

    /// Where it lies on this machine, where it is a file.
    pub fn file(&self) -> Option<&Path> {
        match self {
            Self::Here(place) => Some(Path::new(place)).filter(|path| path.is_file()),
            #[cfg(feature = "hub")]
            Self::Hub { path, .. } => Some(&**path).filter(|path| path.is_file()),
            _ => None,
        }
    }

    /// The licence that a hub model's card names.
    pub fn license(&self) -> Option<&str> {
        match self {
            #[cfg(feature = "hub")]
            Self::Hub { license, .. } => license.as_deref(),
            _ => None,
        }
    }
}
