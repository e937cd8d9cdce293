//! How far a run is: a bar on a terminal, now and then a line elsewhere, nothing where a program listens.

use crate::text;
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// How often a line is written where there is no terminal.
const EVERY: Duration = Duration::from_secs(3);

const WAITING: &str = "{prefix}{spinner} {msg}";
const COUNTING: &str = "{prefix}{bar:40} {pos}/{len} steps  {msg}";

/// What turns while nothing can be counted: characters that every console has, Windows' oldest fonts included.
const TURNING: &str = "|/-\\ ";

/// A bar's full, current and empty parts; in the same fonts.
const PARTS: &str = "█▌░";

/// Tells of one run's steps on stderr.
pub enum RunProgress {
    Bar(ProgressBar),
    Lines { label: String, last: Instant },
    Quiet,
}

impl RunProgress {
    /// `label` says which run of how many; empty for one.
    pub fn new(label: String, quiet: bool) -> Self {
        if quiet {
            Self::Quiet
        } else if std::io::stderr().is_terminal() {
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
            bar.set_style(style(WAITING));
            bar.set_prefix(label);
            bar.set_message("loading");
            bar.enable_steady_tick(Duration::from_millis(120));
            Self::Bar(bar)
        } else {
            Self::Lines { label, last: Instant::now() }
        }
    }

    /// A step is done.
    pub fn step(&mut self, at: &calotype::Progress) {
        let speed = speed(at.step, at.elapsed);
        match self {
            Self::Bar(bar) => {
                if bar.length().is_none() {
                    bar.set_length(at.steps as u64);
                    bar.set_style(style(COUNTING));
                }
                bar.set_position(at.step as u64);
                let left =
                    at.elapsed.mul_f64(at.steps.saturating_sub(at.step) as f64 / at.step.max(1) as f64);
                match at.step < at.steps {
                    true => bar.set_message(format!("{speed}  {:.0} s left", left.as_secs_f64())),
                    false => bar.set_message(format!("{speed}  developing")),
                }
            }
            Self::Lines { label, last } if last.elapsed() >= EVERY && at.step < at.steps => {
                *last = Instant::now();
                text::note(&format!("{label}{}/{} steps  {speed}", at.step, at.steps));
            }
            _ => {}
        }
    }

    /// The run is over.
    pub fn finish(self) {
        if let Self::Bar(bar) = self {
            bar.finish_and_clear();
        }
    }
}

/// A bar's looks.
pub fn style(template: &str) -> ProgressStyle {
    let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    style.tick_chars(TURNING).progress_chars(PARTS)
}

/// Steps per second, or seconds per step for the slow.
pub fn speed(steps: usize, elapsed: Duration) -> String {
    let seconds = elapsed.as_secs_f64();
    match steps as f64 / seconds {
        rate if !rate.is_finite() => String::new(),
        rate if rate >= 1.0 || steps == 0 => format!("{rate:.1} steps/s"),
        _ => format!("{:.1} s/step", seconds / steps as f64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_of_characters_that_old_consoles_have() {
        // Code page 437's blocks; its first half is ASCII.
        let shown = |c: char| c.is_ascii_graphic() || c == ' ' || "░▒▓█▄▌▐▀■".contains(c);
        let ticks = (0..9).map(|i| style(WAITING).get_tick_str(i).to_string());
        for drawn in ticks.chain([PARTS.into(), WAITING.into(), COUNTING.into()]) {
            assert!(!drawn.is_empty() && drawn.chars().all(shown), "{drawn}");
        }
    }

    #[test]
    fn speed_is_told_in_the_unit_that_fits() {
        assert_eq!(speed(20, Duration::from_secs(4)), "5.0 steps/s");
        assert_eq!(speed(2, Duration::from_secs(5)), "2.5 s/step");
        assert_eq!(speed(1, Duration::ZERO), "");
    }
}
