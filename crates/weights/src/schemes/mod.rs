//! Names of a checkpoint's tensors: which component each is of, and what diffusers and transformers call it there.
//!
//! Above this, a tensor has one name whoever wrote the file. A scheme is a file here: it says, name by name, what a stored
//! tensor is (`Given`), and by the same tables where a tensor would be stored; [`Renamed`] lends files' tensors so,
//! [`Joined`] lends components' as such a file's.

mod average;
mod control;
mod joined;
pub mod keras;
mod kind;
mod parts;
mod renamed;
mod text;
pub(crate) mod unet;
mod vae;

/// The UNet's folder.
pub(crate) const UNET: &str = "unet";
/// The autoencoder's.
pub(crate) const VAE: &str = "vae";
/// The text encoder's.
pub(crate) const TEXT: &str = "text_encoder";
/// The second text encoder's, which SDXL has.
pub(crate) const TEXT_2: &str = "text_encoder_2";

pub use control::control_net;
pub use joined::{FilePlace, Joined};
pub use kind::FileKind;
pub use parts::{FileParts, under_own_names};
pub use renamed::Renamed;

/// What a stored tensor holds of the tensors that diffusers has; or, the other way, the stored tensor in which one lies.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Given {
    /// diffusers' name, or the stored one.
    name: String,
    view: View,
}

/// How a tensor lies in the stored one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum View {
    /// As it is.
    Whole,
    /// A 1×1 convolution, `[o, i, 1, 1]`, that is a linear layer elsewhere, `[o, i]`.
    Matrix,
    /// One third of the rows: queries, keys or values, which are stored as one.
    Third(usize),
    /// `[i, o]` for `[o, i]`.
    Transposed,
}

impl Given {
    fn whole(name: impl Into<String>) -> Self {
        Self { name: name.into(), view: View::Whole }
    }
}

/// More levels, blocks and layers than any model has.
const MANY: usize = 1000;

/// A number that begins a name, and what follows the dot behind it.
fn index(name: &str) -> Option<(usize, &str)> {
    let (number, rest) = name.split_once('.')?;
    Some((number.parse().ok().filter(|number| *number < MANY)?, rest))
}

/// The beginning of a name in another scheme, by a list of beginnings.
fn begin(name: &str, pairs: &[(&str, &str)]) -> Option<String> {
    pairs.iter().find_map(|(theirs, ours)| Some(format!("{ours}{}", name.strip_prefix(theirs)?)))
}

/// The same the other way.
fn back(name: &str, pairs: &[(&str, &str)]) -> Option<String> {
    pairs.iter().find_map(|(theirs, ours)| Some(format!("{theirs}{}", name.strip_prefix(ours)?)))
}
