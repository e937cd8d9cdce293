//! The one error type of the pipeline, and of the library around it.

use calotype_field::Field;
use calotype_graph::Room;
use std::fmt;

/// What can go wrong between a request and its picture. Each message is one line that names the thing and the way out, and
/// [fields](Field) as the program around it spells them. A program matches on [`kind`](Error::kind) and
/// [`field`](Error::field), or on the variants, which hold what the message is made of.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A scheduler's configuration, or a request that its sampler cannot honour.
    #[error(transparent)]
    Sampling(#[from] calotype_sampling::Error),
    /// The tokenizer's files are missing or contradict each other.
    #[error("tokenizer: {file}: {reason}")]
    Tokenizer {
        /// The file, as the caller named it.
        file: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// A picture could not be encoded, decoded or written.
    #[error("{file}: {reason}")]
    Image {
        /// The file, or "PNG" for bytes in memory.
        file: String,
        /// What is wrong with it, and what to do.
        reason: String,
    },
    /// The model folder cannot be used.
    #[error("{0}")]
    Model(String),
    /// What is asked for cannot be.
    #[error("{why}")]
    Request {
        /// The field at fault.
        field: Field,
        /// What is wrong with it, and what would do; it names the field.
        why: String,
    },
    /// There is no such device. Of GPUs `calotype_gpu::Error`.
    #[error("{error}")]
    Device {
        /// The field at fault, where what was asked for is.
        field: Option<Field>,
        /// What is wrong.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A model of the hub could not be had: `calotype_hub::Error`.
    #[error("{0}")]
    Hub(Box<dyn std::error::Error + Send + Sync>),
    /// A configuration.
    #[error(transparent)]
    Config(calotype_models::Error),
    /// A checkpoint.
    #[error(transparent)]
    Weights(#[from] calotype_weights::Error),
    /// A graph, or the device it ran on.
    #[error(transparent)]
    Graph(#[from] calotype_graph::Error),
    /// The run takes more memory than there is.
    #[error("not enough memory: {0}")]
    NotEnoughMemory(Box<Shortage>),
    /// The numbers went bad: no picture is written.
    #[error("no picture: {stage} {what}; {cure}")]
    Broken {
        /// The first stage where it went wrong.
        stage: String,
        /// What was seen there.
        what: String,
        /// What to do about it.
        cure: Cure,
    },
    /// The caller stopped the run.
    #[error("stopped after step {step} of {steps}")]
    Stopped {
        /// Steps that were done.
        step: usize,
        /// Steps that were asked for.
        steps: usize,
    },
}

/// What a run takes, and what there is.
#[derive(Debug)]
pub struct Shortage {
    /// Bytes that the run takes.
    pub needed: u64,
    /// Of them, the model's.
    pub weights: u64,
    /// What there is, and whose.
    pub room: Room,
    /// What to change.
    pub remedy: Remedy,
    /// Whether it is the host's memory.
    pub host: bool,
}

/// What to change in a request so that its run fits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Remedy {
    /// A smaller picture.
    Size {
        /// The `[width, height]` in pixels of the largest of this shape that fits.
        largest: [usize; 2],
        /// Whether fewer at once would help too.
        batch: bool,
        /// Whether f16 would help too.
        f16: bool,
    },
    /// Fewer pictures at once.
    Batch {
        /// The `[width, height]` in pixels of the largest of this shape that fits, one at once.
        largest: [usize; 2],
        /// Whether f16 would help too.
        f16: bool,
    },
    /// Another model, or more memory: no picture is small enough.
    Model,
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let f16 = match self {
            Self::Size { batch, f16, largest: [width, height] } => {
                write!(
                    f,
                    "choose a smaller {} and {} (of this shape at most {width}x{height} fits)",
                    Field::Width,
                    Field::Height
                )?;
                if *batch {
                    write!(f, ", or a smaller {}", Field::BatchSize)?;
                }
                f16
            }
            Self::Batch { f16, largest: [width, height] } => {
                write!(
                    f,
                    "choose a smaller {} (of this shape at most {width}x{height} fits at 1)",
                    Field::BatchSize
                )?;
                f16
            }
            Self::Model => {
                let (width, height) = (Field::Width, Field::Height);
                write!(
                    f,
                    "no {width} and {height} are small enough: choose a smaller model, or free some memory"
                )?;
                &false
            }
        };
        if *f16 { write!(f, ", or {} f16", Field::Precision) } else { Ok(()) }
    }
}

impl fmt::Display for Shortage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { needed, weights, room, remedy, .. } = self;
        let [needed, weights, free] = [*needed, *weights, room.bytes].map(bytes);
        write!(
            f,
            "this run needs at least {needed} ({weights} of them weights), and {} is {free}: {remedy}",
            room.owner
        )?;
        match Field::MaxVram.to_string() == room.owner {
            true => write!(f, ", or allow more"),
            false => Ok(()),
        }
    }
}

/// What may have made the numbers go bad, and so what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Cure {
    /// f16 does not hold them: f32 does.
    F32,
    /// These LoRAs.
    LessOfLoras(Vec<String>),
    /// The weights: they are damaged, or another model's.
    FetchAgain,
}

impl fmt::Display for Cure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::F32 => write!(f, "f16 cannot hold this model's numbers: use {} f32", Field::Precision),
            Self::LessOfLoras(names) => {
                write!(f, "try it without the LoRAs ({}), or with smaller scales", names.join(", "))
            }
            Self::FetchAgain => {
                f.write_str("the model's weights are damaged or of another model: fetch it again")
            }
        }
    }
}

/// What kind of fault an error is: what a program may tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Kind {
    /// What was asked for cannot be: [`Error::field`] says which part of it.
    Request,
    /// The model's files cannot be used.
    Model,
    /// A picture's file cannot be read or written.
    Picture,
    /// There is too little memory: a smaller picture may do.
    Memory,
    /// There is no device, or it failed.
    Device,
    /// The hub, or the way to it.
    Hub,
    /// The numbers went bad.
    Broken,
    /// The caller stopped the run.
    Stopped,
}

impl Error {
    /// What was asked for cannot be, by the fault of `field`; `why` names it.
    pub(crate) fn request(field: Field, why: impl Into<String>) -> Self {
        Self::Request { field, why: why.into() }
    }

    /// What kind of fault it is.
    pub fn kind(&self) -> Kind {
        use calotype_graph::Error as Graph;
        match self {
            Self::Request { .. } | Self::Sampling(calotype_sampling::Error::Sampler(_)) => Kind::Request,
            Self::Device { field: Some(_), .. } => Kind::Request,
            Self::Device { .. } | Self::Graph(Graph::Device(_)) => Kind::Device,
            Self::NotEnoughMemory(_) => Kind::Memory,
            Self::Graph(Graph::OutOfMemory { .. } | Graph::BufferLimit { .. }) => Kind::Memory,
            Self::Hub(_) => Kind::Hub,
            Self::Image { .. } => Kind::Picture,
            Self::Broken { .. } => Kind::Broken,
            Self::Stopped { .. } => Kind::Stopped,
            Self::Tokenizer { .. } | Self::Model(_) | Self::Config(_) => Kind::Model,
            Self::Sampling(_) | Self::Weights(_) | Self::Graph(_) => Kind::Model,
        }
    }

    /// The field that is at fault, or that would help most.
    pub fn field(&self) -> Option<Field> {
        use calotype_graph::Error as Graph;
        match self {
            Self::Request { field, .. } => Some(*field),
            Self::Device { field, .. } => *field,
            Self::Sampling(calotype_sampling::Error::Sampler(_)) => Some(Field::Sampler),
            Self::NotEnoughMemory(shortage) => match shortage.remedy {
                Remedy::Size { .. } => Some(Field::Width),
                Remedy::Batch { .. } => Some(Field::BatchSize),
                Remedy::Model => None,
            },
            Self::Graph(Graph::OutOfMemory { .. } | Graph::BufferLimit { .. }) => Some(Field::Width),
            Self::Graph(Graph::WeightOverflow { .. }) | Self::Broken { cure: Cure::F32, .. } => {
                Some(Field::Precision)
            }
            _ => None,
        }
    }

    /// Whether what was asked for is at fault, not the model, the device or the run.
    pub fn is_usage(&self) -> bool {
        self.kind() == Kind::Request
    }

    /// Whether the caller stopped the run.
    pub fn is_stopped(&self) -> bool {
        self.kind() == Kind::Stopped
    }
}

impl From<calotype_models::Error> for Error {
    fn from(error: calotype_models::Error) -> Self {
        match error {
            // What is wrong with a graph is so wherever it is found.
            calotype_models::Error::Graph(error) => Self::Graph(error),
            other => Self::Config(other),
        }
    }
}

/// Shorthand for results of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Bytes as people read them: `512 B`, `3.4 MiB`, `1.92 GiB`.
pub fn bytes(n: u64) -> String {
    let value = n as f64;
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", value / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", value / 1_048_576.0),
        _ => format!("{:.2} GiB", value / 1_073_741_824.0),
    }
}
