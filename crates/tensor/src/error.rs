use crate::Encoding;
use std::error::Error as StdError;

/// Why a tensor could not be had. Each message is one line that names the place and the tensor.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No tensor of that name.
    #[error("{place}: no tensor {tensor}{}", hint(nearest.as_deref()))]
    Missing {
        /// The name asked for.
        tensor: String,
        /// Where it was looked for.
        place: String,
        /// The nearest name that is there.
        nearest: Option<String>,
    },
    /// The tensor's elements are stored in an encoding that is not lent ([`Encoding::lent`]).
    #[error(
        "{place}: tensor {tensor} holds {encoding}, which is not read: save the file in f32, f16 or bf16"
    )]
    Unsupported {
        /// The tensor.
        tensor: String,
        /// Where it is.
        place: String,
        /// How its numbers are stored.
        encoding: Encoding,
    },
    /// A range that is outside the tensor or cuts a block in two. A caller's bug.
    #[error("{place}: elements {start}..{end} of tensor {tensor} are not whole blocks of its {len}")]
    BadRange {
        /// The tensor.
        tensor: String,
        /// Where it is.
        place: String,
        /// First element asked for.
        start: usize,
        /// One past the last element asked for.
        end: usize,
        /// Elements that the tensor has.
        len: usize,
    },
    /// What the source itself says: its file cannot be read, or what it makes the tensor of does not fit.
    #[error(transparent)]
    Source(Box<dyn StdError + Send + Sync>),
}

impl Error {
    /// The error for a name that `names` does not hold; quotes the one that agrees with it for longest.
    pub fn missing<'a>(
        tensor: &str,
        place: impl Into<String>,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Self {
        let agreement = |name: &&str| name.bytes().zip(tensor.bytes()).take_while(|(a, b)| a == b).count();
        let nearest = names.into_iter().max_by_key(agreement).map(String::from);
        Self::Missing { tensor: tensor.into(), place: place.into(), nearest }
    }

    /// Whether there is no tensor of the name; what is there and cannot be read is another matter.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Missing { .. })
    }
}

fn hint(nearest: Option<&str>) -> String {
    nearest.map(|name| format!(" (the nearest name is {name})")).unwrap_or_default()
}
