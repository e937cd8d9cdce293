//! What the pipeline logs, kept until the page asks: a prompt that lost its end should be seen by who wrote it.

use log::{Level, Log, Metadata, Record};
use std::sync::Mutex;

struct Notes(Mutex<Vec<String>>);

static NOTES: Notes = Notes(Mutex::new(Vec::new()));

/// More than a page would show.
const MOST: usize = 20;

impl Log for Notes {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.level() <= Level::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            let mut notes = self.0.lock().unwrap_or_else(|e| e.into_inner());
            if notes.len() < MOST {
                notes.push(record.args().to_string());
            }
        }
    }

    fn flush(&self) {}
}

static PANIC: Mutex<Option<String>> = Mutex::new(None);

/// Begins to listen.
pub fn collect() {
    std::panic::set_hook(Box::new(|info| {
        *PANIC.lock().unwrap_or_else(|e| e.into_inner()) = Some(info.to_string());
    }));
    if log::set_logger(&NOTES).is_ok() {
        log::set_max_level(log::LevelFilter::Warn);
    }
}

/// Takes what came since the last time.
pub fn take() -> Vec<String> {
    std::mem::take(&mut NOTES.0.lock().unwrap_or_else(|e| e.into_inner()))
}

/// What the last panic said.
pub fn panic() -> Option<String> {
    PANIC.lock().unwrap_or_else(|e| e.into_inner()).clone()
}
