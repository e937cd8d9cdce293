//! Signals. Ctrl-C: the first asks the run to stop at the next step, the second ends the program. Closing Windows' console
//! asks once.

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
    .context("Ctrl-C cannot be handled")?;
    #[cfg(windows)]
    closing::install().context("the closing of the window cannot be handled")?;
    Ok(())
}

/// The closing of the console's window, and of the session. The program ends as soon as a handler returns, or some seconds
/// later: no handler that only takes notice leaves the time to end a file that is being written.
#[cfg(windows)]
mod closing {
    use super::{ASKED, Ordering};
    use windows_sys::Win32::System::Console::{
        CTRL_CLOSE_EVENT, CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT, SetConsoleCtrlHandler,
    };
    use windows_sys::core::BOOL;

    pub fn install() -> std::io::Result<()> {
        // SAFETY: the handler is a function, and lives as long as the program.
        match unsafe { SetConsoleCtrlHandler(Some(handle), 1) } {
            0 => Err(std::io::Error::last_os_error()),
            _ => Ok(()),
        }
    }

    /// Called on a thread of its own, before the handler of Ctrl-C, to which all else is left.
    pub unsafe extern "system" fn handle(event: u32) -> BOOL {
        match event {
            CTRL_CLOSE_EVENT | CTRL_LOGOFF_EVENT | CTRL_SHUTDOWN_EVENT => {
                ASKED.store(true, Ordering::SeqCst);
                // Until the program has ended by itself, or is ended.
                loop {
                    std::thread::park();
                }
            }
            _ => 0,
        }
    }

    #[cfg(test)]
    #[test]
    fn closing_the_window_asks_and_gives_the_run_its_time_to_stop() {
        use std::time::{Duration, Instant};
        // SAFETY: no state but ASKED.
        assert_eq!(unsafe { handle(0) }, 0, "Ctrl-C is another's");
        assert!(!super::asked());
        // SAFETY: as above.
        let closing = std::thread::spawn(|| unsafe { handle(CTRL_CLOSE_EVENT) });
        let start = Instant::now();
        while !super::asked() {
            assert!(start.elapsed() < Duration::from_secs(10));
            std::thread::yield_now();
        }
        std::thread::sleep(Duration::from_millis(100));
        assert!(!closing.is_finished(), "the program would end here");
    }
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
