//! Ctrl-C: the first asks the run to stop at the next step, the second ends the program.

use crate::exit::Interrupted;
use crate::text;
use anyhow::Context;
use std::sync::atomic::{AtomicBool, Ordering};

static ASKED: AtomicBool = AtomicBool::new(false);

/// Takes Ctrl-C over.
pub fn install() -> anyhow::Result<()> {
    ctrlc::set_handler(|| {
        if ASKED.swap(true, Ordering::SeqCst) {
            std::process::exit(130);
        }
        text::note("stopping at the next step; press Ctrl-C again to stop at once");
    })
    .context("Ctrl-C cannot be handled")
}

/// Whether it was pressed.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Fails if it was pressed.
pub fn check() -> Result<(), Interrupted> {
    if asked() { Err(Interrupted) } else { Ok(()) }
}
