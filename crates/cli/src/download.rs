//! How far a download from the hub is: a bar on a terminal, now and then a line elsewhere, nothing where a program listens.

use crate::progress::style;
use crate::text::{self, bytes};
use calotype::hub::DownloadProgress;
use indicatif::{ProgressBar, ProgressDrawTarget};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(3);

/// Tells of one model's download on stderr.
pub struct DownloadBar {
    quiet: bool,
    bar: Option<ProgressBar>,
    started: Option<Instant>,
    told: Instant,
    fetched: u64,
}

impl DownloadBar {
    pub fn new(quiet: bool) -> Self {
        Self { quiet, bar: None, started: None, told: Instant::now(), fetched: 0 }
    }

    /// A piece came.
    pub fn told(&mut self, at: &DownloadProgress) {
        self.fetched = at.done - at.resumed.min(at.done);
        if self.quiet {
            return;
        }
        let begins = self.started.is_none();
        self.started.get_or_insert_with(Instant::now);
        if begins && std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(Some(at.total), ProgressDrawTarget::stderr());
            bar.set_style(style(
                "{bar:30} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta} left  {msg}",
            ));
            bar.set_position(at.resumed);
            bar.reset_eta();
            self.bar = Some(bar);
        }
        match &self.bar {
            Some(bar) => {
                bar.set_position(at.done);
                bar.set_message(format!("{} ({} of {})", at.file, at.index, at.files));
            }
            None if begins || self.told.elapsed() >= EVERY => {
                self.told = Instant::now();
                let verb = if at.resumed > 0 { "fetching the rest" } else { "fetching" };
                text::note(&format!(
                    "{verb}: {} of {}, {} ({} of {})",
                    bytes(at.done),
                    bytes(at.total),
                    at.file,
                    at.index,
                    at.files
                ));
            }
            None => {}
        }
    }

    /// The download is over, or broke off. Says whether there was any.
    pub fn finish(self) -> bool {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        if let Some(started) = self.started {
            let seconds = started.elapsed().as_secs_f64();
            let rate = (self.fetched as f64 / seconds.max(1e-3)) as u64;
            text::note(&format!("fetched {} in {seconds:.1} s ({}/s)", bytes(self.fetched), bytes(rate)));
        }
        self.fetched > 0
    }
}
