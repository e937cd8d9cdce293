//! A file that shows what a run is at.

use crate::args::PreviewArgs;
use calotype::{Error, Progress, Running, image};
use std::path::Path;

/// The file, written again and again.
pub struct Previews<'a> {
    file: Option<&'a Path>,
    every: usize,
}

impl<'a> Previews<'a> {
    pub fn new(args: &'a PreviewArgs) -> Self {
        let every = args.preview_every.map_or(1, |every| every.get());
        Self { file: args.preview_file.as_deref(), every }
    }

    /// Whether there are to be some.
    pub fn are_wanted(&self) -> bool {
        self.file.is_some()
    }

    /// A step is done. Where its file cannot be written that is said, and no further one is: the picture is drawn all the same.
    pub fn step(&mut self, at: &Progress, run: &Running<'_>) {
        let Some(file) = self.file.filter(|_| at.step.is_multiple_of(self.every) || at.step == at.steps)
        else {
            return;
        };
        let write = || -> Result<(), Error> {
            let Some(picture) = run.preview()? else { return Ok(()) };
            image::write(file, &picture.png(None)?, true)
        };
        if let Err(error) = write() {
            log::warn!("no more previews: {error}");
            self.file = None;
        }
    }
}
