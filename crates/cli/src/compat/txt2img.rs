//! CompVis' scripts/txt2img.py.

use super::open;
use crate::args::{Autocast, Txt2imgArgs};
use crate::exit::Usage;
use crate::generate::draw;
use crate::interrupt;
use crate::progress::RunProgress;
use crate::text::Lines;
use anyhow::{Context, bail};
use calotype::image::{Pattern, write_next};
use calotype::noise::{Latents, Origin};
use calotype::{
    BatchSeeds, Dialect, GivenNoise, HostTensor, Model, Order, Picture, Precision, PromptStyle, Request,
    Sampler,
};
use std::fs;
use std::path::{Path, PathBuf};

/// What the watermark says.
const MESSAGE: &[u8] = b"StableDiffusionV1";

/// Black pixels between the grid's pictures, and around them.
const PADDING: usize = 2;

/// Draws what the script would.
pub fn run(args: &Txt2imgArgs) -> anyhow::Result<()> {
    let groups = groups(args)?;
    let mut request = request(args)?;
    let (ckpt, outdir) = places(args);
    let precision = (args.precision == Autocast::Full).then_some(Precision::F32);
    let checked = |model: &mut Model| check_latents(args, model);
    let name = args.model.as_deref().unwrap_or(ckpt);
    let mut pipeline = open((Some(name), &args.hub), (&args.device, precision), &request, &checked)?;
    let mut files = Files::new(args, &outdir)?;

    let shape = [args.channels, args.height / args.factor, args.width / args.factor];
    let origin = Origin { rng: args.rng, batch_seeds: BatchSeeds::One, seed: args.seed, ..Origin::default() };
    let mut noise = Latents::new(origin, args.n_samples, shape);
    let fixed = args.fixed_code.then(|| noise.fresh());
    let mut lines = Lines::default();
    let runs = args.n_iter as usize * groups.len();
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

/// Where the checkpoint lies, and where pictures go.
fn places(args: &Txt2imgArgs) -> (&str, PathBuf) {
    let (ckpt, outdir) = match args.laion400m {
        true => ("models/ldm/text2img-large/model.ckpt", "outputs/txt2img-samples-laion400m"),
        false => ("models/ldm/stable-diffusion-v1/model.ckpt", "outputs/txt2img-samples"),
    };
    (args.ckpt.as_deref().unwrap_or(ckpt), args.outdir.clone().unwrap_or(outdir.into()))
}

/// The prompts that are drawn at once, one list after the other.
fn groups(args: &Txt2imgArgs) -> anyhow::Result<Vec<Vec<String>>> {
    let wrong = |flag: &str| Usage(format!("{flag} 0 makes no picture: use 1 or more"));
    for (flag, count) in [("--n_samples", args.n_samples), ("--n_iter", args.n_iter as usize)] {
        if count == 0 {
            return Err(wrong(flag).into());
        }
    }
    let Some(path) = &args.from_file else { return Ok(vec![vec![args.prompt.clone(); args.n_samples]]) };
    let name = path.display();
    let text = fs::read_to_string(path)
        .with_context(|| format!("--from-file {name}: cannot be read as a text file of one prompt a line"))?;
    let lines: Vec<String> = text.lines().map(String::from).collect();
    if lines.is_empty() {
        bail!("--from-file {name}: the file holds no prompt; write one a line");
    }
    Ok(lines.chunks(args.n_samples).map(<[String]>::to_vec).collect())
}

/// The request of the largest batch; what needs no model is checked.
fn request(args: &Txt2imgArgs) -> anyhow::Result<Request> {
    let marked = Picture::takes_watermark(args.width, args.height) || args.no_watermark;
    let writes = !(args.skip_grid && args.skip_save);
    if writes && !marked {
        let why = format!(
            "--W {} and --H {} are too small for the invisible watermark, which takes 256x256 pixels: give --no-watermark",
            args.width, args.height
        );
        return Err(Usage(why).into());
    }
    let sampler = match (args.dpm_solver, args.plms) {
        (true, _) => Sampler::DPM_SOLVER,
        (_, true) => Sampler::PNDM,
        _ => Sampler::DDIM,
    };
    let request = Request {
        width: Some(args.width),
        height: Some(args.height),
        steps: Some(args.ddim_steps),
        cfg_scale: Some(args.scale),
        few_steps: Some(false),
        prompt_style: PromptStyle::Plain,
        batch_size: args.n_samples,
        batch_seeds: BatchSeeds::One,
        seed: args.seed,
        sampler: Some(sampler),
        sampler_dialect: Some(Dialect::CompVis),
        // DPM-Solver passes it over.
        eta: (!args.dpm_solver).then_some(args.ddim_eta),
        ..Request::new(args.prompt.clone())
    };
    request.check()?;
    Ok(request)
}

fn check_latents(args: &Txt2imgArgs, model: &Model) -> anyhow::Result<()> {
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

/// The files of a run. Names begin where the script's would, and no file is replaced.
struct Files<'a> {
    args: &'a Txt2imgArgs,
    samples: (Pattern, u64),
    grid: (Pattern, u64),
    /// The pictures of the grid, not marked.
    kept: Vec<Picture>,
}

impl<'a> Files<'a> {
    fn new(args: &'a Txt2imgArgs, outdir: &Path) -> anyhow::Result<Self> {
        let samples = outdir.join("samples");
        let flag = || format!("--outdir {}: a folder for pictures is needed there", outdir.display());
        fs::create_dir_all(&samples).with_context(flag)?;
        let count = |folder: &Path| Ok(fs::read_dir(folder)?.count() as u64);
        let counted: std::io::Result<[u64; 2]> = count(&samples).and_then(|n| Ok([n, count(outdir)?]));
        let [base, entries] = counted.with_context(flag)?;
        Ok(Self {
            args,
            samples: (Pattern::parse(samples.join("%05d.png"))?, base),
            grid: (Pattern::parse(outdir.join("grid-%04d.png"))?, entries - 1),
            kept: Vec::new(),
        })
    }

    fn png(&self, picture: &Picture) -> anyhow::Result<Vec<u8>> {
        Ok(match self.args.no_watermark {
            true => picture.png(None)?,
            false => picture.watermarked(MESSAGE).png(None)?,
        })
    }

    /// Writes a batch's pictures, and keeps them for the grid.
    fn write(&mut self, pictures: Vec<Picture>) -> anyhow::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for picture in pictures.iter().filter(|_| !self.args.skip_save) {
            let (n, path) = write_next(&self.samples.0, self.samples.1, &self.png(picture)?)?;
            self.samples.1 = n + 1;
            paths.push(path);
        }
        if !self.args.skip_grid {
            self.kept.extend(pictures);
        }
        Ok(paths)
    }

    fn write_grid(&self) -> anyhow::Result<Option<PathBuf>> {
        if self.kept.is_empty() {
            return Ok(None);
        }
        let columns = if self.args.n_rows > 0 { self.args.n_rows } else { self.args.n_samples };
        let png = self.png(&sheet(&self.kept, columns))?;
        Ok(Some(write_next(&self.grid.0, self.grid.1, &png)?.1))
    }
}

/// Pictures of one size in rows, with black between and around (torchvision's `make_grid`); one alone is left as it is.
fn sheet(pictures: &[Picture], columns: usize) -> Picture {
    if let [one] = pictures {
        return one.clone();
    }
    let columns = columns.min(pictures.len());
    let [w, h] = [pictures[0].width, pictures[0].height];
    let [width, height] =
        [columns * (w + PADDING) + PADDING, pictures.len().div_ceil(columns) * (h + PADDING) + PADDING];
    let mut sheet = Picture::plain(width, height, 0);
    for (i, picture) in pictures.iter().enumerate() {
        sheet.put(picture, [i % columns * (w + PADDING) + PADDING, i / columns * (h + PADDING) + PADDING]);
    }
    sheet
}
