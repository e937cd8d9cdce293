//! The model that comes with the program, for pictures without a download: `models/emoji`, a folder in the diffusers
//! layout. It is part of the binary (`build.rs` lists its files), because `cargo install` installs nothing else.

use crate::{Error, Model};

/// What it is called in messages and in pictures' settings.
pub const NAME: &str = "builtin";

/// Paths in the folder, and the files' bytes.
static FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/builtin.rs"));

/// Opens it. Fails where the library was built without it (feature `builtin`).
pub fn model() -> Result<Model, Error> {
    if FILES.is_empty() {
        let why = "this program was built without the built-in model (feature builtin): name another";
        return Err(Error::Model(why.into()));
    }
    Model::in_memory(NAME, FILES.iter().copied())
}
