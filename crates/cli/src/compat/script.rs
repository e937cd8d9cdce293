//! What CompVis' scripts have in common.

use super::files::{ScriptFiles, ToSave};
use super::open;
use crate::args::{Autocast, ScriptArgs};
use crate::exit::Usage;
use crate::generate::draw;
use crate::interrupt;
use crate::progress::RunProgress;
use crate::text::Lines;
use anyhow::{Context, bail};
use calotype::noise::{Latents, Origin};
use calotype::{
    BatchSeeds, Dialect, GivenNoise, HostTensor, Model, Order, Precision, PromptStyle, Request, Sampler,
};
use std::fs;
use std::path::Path;

/// A script's run.
pub struct Script<'a> {
    /// What it is told.
    pub args: &'a ScriptArgs,
    /// Where the checkpoint lies.
    pub ckpt: &'a str,
    /// Where pictures go.
    pub outdir: &'a Path,
    /// How often each list of prompts is drawn.
    pub n_iter: u32,
    /// Pictures at once.
    pub n_samples: usize,
    /// Whether all batches begin from the same noise.
    pub fixed: bool,
    /// Whether pictures are marked.
    pub marked: bool,
}

impl Script<'_> {
    /// The request of the largest batch, of a size.
    pub fn request(&self, [height, width]: [usize; 2], sampler: Sampler, scale: f32) -> Request {
        Request {
            width: Some(width),
            height: Some(height),
            steps: Some(self.args.ddim_steps),
            cfg_scale: Some(scale),
            few_steps: Some(false),
            prompt_style: PromptStyle::Plain,
            batch_size: self.n_samples,
            batch_seeds: BatchSeeds::One,
            seed: self.args.seed,
            sampler: Some(sampler),
            sampler_dialect: Some(Dialect::CompVis),
            // DPM-Solver passes it over.
            eta: (sampler != Sampler::DPM_SOLVER).then_some(self.args.ddim_eta),
            ..Request::new(self.args.prompt.clone())
        }
    }

    /// Draws all of its batches.
    pub fn run(&self, mut request: Request) -> anyhow::Result<()> {
        let args = self.args;
        let groups = self.groups()?;
        request.check()?;
        let precision = (args.precision == Autocast::Full).then_some(Precision::F32);
        let checked = |model: &mut Model| check_latents(args, model);
        let name = args.model.as_deref().unwrap_or(self.ckpt);
        let mut pipeline = open((Some(name), &args.hub), (&args.device, precision), &request, &checked)?;
        let columns = if args.n_rows > 0 { args.n_rows } else { self.n_samples };
        let columns = (!args.skip_grid).then_some(columns);
        let kept = ToSave { samples: !args.skip_save, columns, marked: self.marked };
        let mut files = ScriptFiles::new(kept, self.outdir)?;

        let [height, width] = request.size(pipeline.model())?;
        let shape = [args.channels, height / args.factor, width / args.factor];
        let origin =
            Origin { rng: args.rng, batch_seeds: BatchSeeds::One, seed: args.seed, ..Origin::default() };
        let mut noise = Latents::new(origin, self.n_samples, shape);
        let fixed = self.fixed.then(|| noise.fresh());
        let mut lines = Lines::default();
        let runs = self.n_iter as usize * groups.len();
        for run in 0..runs {
            interrupt::check()?;
            let group = &groups[run % groups.len()];
            (request.prompts, request.batch_size) = (group.clone(), group.len());
            let mut order = pipeline.settle(&request)?;
            order.noise = Some(drawn(&mut noise, fixed.as_deref(), &order, shape));
            let label = if runs > 1 { format!("[{}/{runs}] ", run + 1) } else { String::new() };
            let output = draw(&mut pipeline, &order, RunProgress::new(label, false))?;
            for path in files.write(output.pictures)? {
                lines.print(path);
            }
        }
        if let Some(path) = files.write_grid()? {
            lines.print(path);
        }
        Ok(lines.end()?)
    }

    /// The prompts that are drawn at once, one list after the other.
    fn groups(&self) -> anyhow::Result<Vec<Vec<String>>> {
        let wrong = |flag: &str| Usage(format!("{flag} 0 makes no picture: use 1 or more"));
        for (flag, count) in [("--n_samples", self.n_samples), ("--n_iter", self.n_iter as usize)] {
            if count == 0 {
                return Err(wrong(flag).into());
            }
        }
        let args = self.args;
        let Some(path) = &args.from_file else { return Ok(vec![vec![args.prompt.clone(); self.n_samples]]) };
        let name = path.display();
        let text = fs::read_to_string(path).with_context(|| {
            format!("--from-file {name}: cannot be read as a text file of one prompt a line")
        })?;
        let lines: Vec<String> = text.lines().map(String::from).collect();
        if lines.is_empty() {
            bail!("--from-file {name}: the file holds no prompt; write one a line");
        }
        Ok(lines.chunks(self.n_samples).map(<[String]>::to_vec).collect())
    }
}

fn check_latents(args: &ScriptArgs, model: &Model) -> anyhow::Result<()> {
    let vae = &model.config.vae;
    for (flag, given, own) in
        [("--C", args.channels, vae.latent_channels), ("--f", args.factor, vae.factor())]
    {
        if given != own {
            return Err(Usage(format!("{flag} {given}: the model's is {own}")).into());
        }
    }
    Ok(())
}

/// A batch's noise in the order in which the script draws it, one generator going on through all batches: the start unless
/// that is fixed, then for each evaluation that asks for some, whether or not it is used.
fn drawn(noise: &mut Latents, fixed: Option<&[f32]>, order: &Order, [c, h, w]: [usize; 3]) -> GivenNoise {
    let batch = order.batch_size;
    noise.go_on_for(batch);
    let tensor = |values: &[f32]| HostTensor::from_f32([batch, c, h, w], values);
    let latents = match fixed {
        Some(fixed) => tensor(&fixed[..batch * c * h * w]),
        None => tensor(&noise.fresh()),
    };
    // Given noise is counted by draws; where none is used it is drawn for what comes after alone.
    let draws = &order.program.draws;
    let added = draws.iter().map(|_| tensor(&noise.fresh())).collect();
    GivenNoise { latents, added: if draws.iter().any(|draw| draw.used) { added } else { Vec::new() } }
}
