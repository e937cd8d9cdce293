/// Why a model could not be set up. Each message is one line that names the file and the field.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file of the model folder could not be read.
    #[error(
        "{file}: {error}; a model is a folder in the diffusers layout, with all that its index names: fetch it whole"
    )]
    Read {
        /// The file.
        file: String,
        /// What the operating system said. In the message already, so no [`source`](std::error::Error::source) to say it
        /// again.
        error: std::io::Error,
    },
    /// The file is not a JSON object.
    #[error("{file}: not a configuration: {why}")]
    NotJson {
        /// The file.
        file: String,
        /// What the parser said.
        why: String,
    },
    /// A model of another kind.
    #[error("{file}: {field} is {class}, which is not supported; {supported} is")]
    Class {
        /// The file.
        file: String,
        /// The field, or the component.
        field: String,
        /// The class in the file.
        class: String,
        /// The classes that would do.
        supported: String,
    },
    /// A field that no class here has: the model may need something that is not there.
    #[error("{file}: unknown field {field} = {value}; refusing to guess what it changes")]
    Unknown {
        /// The file.
        file: String,
        /// The field.
        field: String,
        /// Its value, as JSON.
        value: String,
    },
    /// A field whose value asks for something that is not implemented.
    #[error("{file}: {field} = {value} is not supported; {supported} is")]
    Unsupported {
        /// The file.
        file: String,
        /// The field.
        field: String,
        /// Its value, as JSON.
        value: String,
        /// The values that would do.
        supported: String,
    },
    /// A field that is missing, of the wrong type, or at odds with another.
    #[error("{file}: {field} = {value}: {why}")]
    Invalid {
        /// The file.
        file: String,
        /// The field.
        field: String,
        /// Its value, as JSON (`null` where it is missing).
        value: String,
        /// What is wrong with it.
        why: String,
    },
    /// What a file's tensors are cannot be told, or is not drawn.
    #[error("{file}: {why}")]
    Undetected {
        /// The file.
        file: String,
        /// What is in its way, or what it is instead.
        why: String,
    },
    /// A checkpoint.
    #[error(transparent)]
    Weights(#[from] calotype_weights::Error),
    /// The configuration makes a graph that does not hold together, such as an attention head that is too wide.
    #[error(transparent)]
    Graph(#[from] calotype_graph::Error),
}

impl Error {
    /// A file whose text `error` was found in as JSON.
    pub fn not_json(file: &str, text: &str, error: &serde_json::Error) -> Self {
        let mishap = calotype_weights::mishap(text.as_bytes()).map(String::from);
        Self::NotJson { file: file.into(), why: mishap.unwrap_or_else(|| error.to_string()) }
    }

    /// A file that could not be read.
    pub(crate) fn unread(file: String, error: std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::InvalidData => {
                Self::NotJson { file, why: "it is not UTF-8 text; download it again".into() }
            }
            _ => Self::Read { file, error },
        }
    }
}
