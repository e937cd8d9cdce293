use super::{number, read};
use crate::exit::Usage;
use calotype::{Control, ControlMode, Hint, Picture, Request};
use clap::Args;
use std::path::PathBuf;

/// Nets that steer by pictures.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Steered by pictures")]
pub struct ControlArgs {
    /// A ControlNet for the model: a folder of diffusers', or a file. May be repeated; the n-th picture, hint, scale, start, end and
    /// mode are the n-th net's
    #[arg(long, value_name = "PATH")]
    pub control_net: Vec<PathBuf>,

    /// What it is shown: a PNG, JPEG or WebP
    #[arg(long, value_name = "FILE")]
    pub control_image: Vec<PathBuf>,

    /// What is made of that picture first: none, canny, invert, threshold, tile or luminance [default: none]
    #[arg(long, value_name = "NAME", value_parser = str::parse::<Hint>)]
    pub control_hint: Vec<Hint>,

    /// How much of what it says counts [default: 1]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number::<f32>)]
    pub control_scale: Vec<f32>,

    /// From this share of the steps on, 0 to 1 [default: 0]
    #[arg(long, value_name = "F", allow_negative_numbers = true, value_parser = number::<f64>)]
    pub control_start: Vec<f64>,

    /// Up to this share of them [default: 1]
    #[arg(long, value_name = "F", allow_negative_numbers = true, value_parser = number::<f64>)]
    pub control_end: Vec<f64>,

    /// Where more of it counts: balanced (the same everywhere), prompt (less of it the further out), control (the same, and only
    /// where the prompt is known) or guess (diffusers' guess mode) [default: balanced]
    #[arg(long, value_name = "MODE", value_parser = str::parse::<ControlMode>)]
    pub control_mode: Vec<ControlMode>,
}

impl ControlArgs {
    /// Puts the pictures into a request, with what is said of them.
    pub fn apply(&self, request: &mut Request) -> anyhow::Result<()> {
        let nets = self.control_net.len();
        let counts = [
            ("--control-image", self.control_image.len()),
            ("--control-hint", self.control_hint.len()),
            ("--control-scale", self.control_scale.len()),
            ("--control-start", self.control_start.len()),
            ("--control-end", self.control_end.len()),
            ("--control-mode", self.control_mode.len()),
        ];
        if let Some((flag, count)) = counts.into_iter().find(|(_, count)| *count > nets) {
            let why = format!("{flag} is given {count} times, and --control-net {nets}: give a net for each");
            return Err(Usage(why).into());
        }
        for (i, path) in self.control_image.iter().enumerate() {
            let picture = read("--control-image", Some(path), Picture::read)?.expect("there is a path");
            let plain = Control::by(picture);
            request.controls.push(Control {
                hint: self.control_hint.get(i).copied().unwrap_or(plain.hint),
                scale: self.control_scale.get(i).copied().unwrap_or(plain.scale),
                start: self.control_start.get(i).copied().unwrap_or(plain.start),
                end: self.control_end.get(i).copied().unwrap_or(plain.end),
                mode: self.control_mode.get(i).copied().unwrap_or(plain.mode),
                ..plain
            });
        }
        Ok(())
    }
}
