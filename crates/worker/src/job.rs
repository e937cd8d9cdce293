//! What a worker is given, and what becomes of it.

use calotype::{Error, Kind, Picture, Request};
use std::fmt;
use std::path::PathBuf;

/// What is to be drawn.
#[derive(Clone, Debug)]
pub struct Job {
    /// One batch. Later ones have the seeds that come after.
    pub request: Request,
    /// How many batches.
    pub batches: u32,
    /// The model by its name, where it is not the one that is open.
    pub model: Option<String>,
    /// What is laid over it, in order.
    pub loras: Vec<LoraFile>,
}

/// A LoRA at a strength.
#[derive(Clone, Debug, PartialEq)]
pub struct LoraFile {
    /// What prompts call it.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
    /// How much of its change is made.
    pub scale: f32,
}

/// A picture that was drawn.
#[derive(Clone, Debug)]
pub struct MadePicture {
    /// It.
    pub picture: Picture,
    /// The seed that gives it in a batch of its own.
    pub seed: u64,
    /// Its settings as A1111 writes them.
    pub settings: String,
}

/// What became of a job.
#[derive(Clone, Debug, Default)]
pub struct Outcome {
    /// What was drawn, whole pictures alone.
    pub pictures: Vec<MadePicture>,
    /// Whether it was stopped on the way.
    pub stopped: bool,
    /// Why it ended before it was done.
    pub failure: Option<Failure>,
}

/// Why a job could not be done, in one line that says what to do.
#[derive(Clone, Debug)]
pub struct Failure {
    /// The line.
    pub why: String,
    /// What kind of fault it is.
    pub kind: Kind,
}

impl Failure {
    /// Of a model that cannot be opened.
    pub fn model(why: String) -> Self {
        Self { why, kind: Kind::Model }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl std::error::Error for Failure {}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { why: error.to_string(), kind: error.kind() }
    }
}
