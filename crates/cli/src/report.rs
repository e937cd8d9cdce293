//! What a run tells when it is done.

use crate::output::is_stdout;
use crate::progress::speed;
use crate::text::{self, Lines};
use calotype::Timings;
use serde::Serialize;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

/// One run, as `--json` prints it.
#[derive(Debug, Serialize)]
pub struct Report {
    /// On a sheet, the values of its axes, by their flags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cell: Option<BTreeMap<String, String>>,
    /// The pictures, in the order of the batch.
    pub files: Vec<PathBuf>,
    /// The grid of all runs' pictures, in the last run's report.
    pub grid: Option<PathBuf>,
    /// The final latents.
    pub latents: Option<PathBuf>,
    /// What was drawn.
    pub prompt: String,
    /// What was kept away from.
    pub negative_prompt: String,
    /// As `-m` names it.
    pub model: String,
    /// As `--refiner` names it.
    pub refiner: Option<String>,
    /// By its flag's name.
    pub sampler: String,
    /// The noise schedule, by its flag's name.
    pub scheduler: String,
    /// The LoRA of the model's few-steps form, where it drew in that.
    pub few_steps: Option<String>,
    /// LoRAs that were added, with their scale.
    pub loras: Vec<(String, f32)>,
    /// Denoising steps.
    pub steps: usize,
    /// Guidance.
    pub cfg_scale: f32,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// The run's seed.
    pub seed: u64,
    /// Each picture's seed.
    pub seeds: Vec<u64>,
    /// The device in words.
    pub device: String,
    /// How activations are stored.
    pub dtype: &'static str,
    /// Where the time went.
    pub timings: Seconds,
    /// The most device memory that was held since the start, in bytes.
    pub peak_bytes: u64,
    /// What the plan said it would be.
    pub planned_bytes: u64,
}

/// Seconds by stage.
#[derive(Debug, Serialize)]
pub struct Seconds {
    /// Weights and kernels.
    pub load: f64,
    /// Prompts to states.
    pub text: f64,
    /// All steps.
    pub denoise: f64,
    /// Latents to pixels.
    pub decode: f64,
    /// Pixels to files.
    pub write: f64,
    /// From the run's begin to its last file.
    pub total: f64,
}

impl Seconds {
    pub fn new(t: &Timings, write: Duration, total: Duration) -> Self {
        // Microseconds are as exact as it gets.
        let seconds = |d: Duration| (d.as_secs_f64() * 1e6).round() / 1e6;
        Self {
            load: seconds(t.load),
            text: seconds(t.text),
            denoise: seconds(t.denoise),
            decode: seconds(t.decode),
            write: seconds(write),
            total: seconds(total),
        }
    }
}

impl Report {
    /// As JSON, or for people: a line for each file on stdout, where the time went on stderr.
    pub fn print(&self, lines: &mut Lines, json: bool, seed_matters: bool) -> anyhow::Result<()> {
        if json {
            lines.print(serde_json::to_string(self)?);
            return Ok(());
        }
        for (file, seed) in self.files.iter().zip(&self.seeds) {
            let mut line = file.clone().into_os_string();
            if seed_matters {
                line.push(format!("  seed {seed}"));
            }
            match is_stdout(file) {
                // The picture itself went there.
                true => text::note(&format!("seed {seed}")),
                false => lines.print(line),
            }
        }
        self.latents.iter().chain(&self.grid).for_each(|file| lines.print(file));
        let t = &self.timings;
        let rate = speed(self.steps, Duration::from_secs_f64(t.denoise));
        text::note(&format!(
            "{}x{}, {} steps of {} at {rate}, {} on {}: {:.2} s (load {:.2}, text {:.2}, denoise {:.2}, decode {:.2}), \
             peak memory {}",
            self.width,
            self.height,
            self.steps,
            self.sampler,
            self.dtype,
            self.device,
            t.total,
            t.load,
            t.text,
            t.denoise,
            t.decode,
            text::bytes(self.peak_bytes)
        ));
        Ok(())
    }
}
