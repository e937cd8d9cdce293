//! Signals. Ctrl-C: the first asks the run to stop at the next step, the second ends the program.

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

/// Has a file that grows beyond `ulimit -f` fail as on a full disk, which is told and leaves nothing behind; the signal
/// would end the program between the two.
#[cfg(unix)]
pub fn outlive_file_limits() {
    // SAFETY: no handler is set, and no other thread runs yet.
    unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
}

/// Whether it was pressed.
pub fn asked() -> bool {
    ASKED.load(Ordering::SeqCst)
}

/// Fails if it was pressed.
pub fn check() -> Result<(), Interrupted> {
    if asked() { Err(Interrupted) } else { Ok(()) }
}
