//! The files of `calotype generate`.

use crate::args::GenerateArgs;
use crate::exit::Usage;
use crate::latents;
use crate::output::{Series, apart, is_stdout};
use crate::report::Report;
use crate::text;
use calotype::image::PictureFormat;
use calotype::{Order, Output, Picture};
use std::path::Path;

/// All files that a command writes.
pub struct OutputFiles {
    pictures: Series,
    grid: Option<Series>,
    latents: Option<Series>,
    metadata: bool,
    format: PictureFormat,
    /// The grid's, until it is drawn.
    kept: Vec<Picture>,
}

impl OutputFiles {
    /// Sees that they can be written, and that none is another or one that is read.
    pub fn new(args: &GenerateArgs, runs: u64, batch: usize) -> anyhow::Result<Self> {
        check_names(args)?;
        let (path, format) = args.written.of(&args.output)?;
        let (path, overwrite) = (&path, args.overwrite);
        let count = runs.saturating_mul(batch as u64);
        let pictures = Series::one_or_stdout(path, count, overwrite, "--output")?;
        let grid = args.grid.then(|| Series::grid(path, overwrite, "--grid")).transpose()?;
        let latents = args.save_latents.as_ref();
        let latents = latents.map(|path| Series::new(path, runs, overwrite, "--save-latents")).transpose()?;

        // Written over by each step: only the first may find something there.
        let preview = args.preview.preview_file.as_ref();
        let preview = preview.map(|path| Series::new(path, 1, overwrite, "--preview-file")).transpose()?;

        let outputs = [Some(&pictures), grid.as_ref(), latents.as_ref(), preview.as_ref()];
        let outputs: Vec<&Series> = outputs.into_iter().flatten().collect();
        let mut inputs: Vec<(&str, &Path)> = Vec::new();
        inputs.extend(args.from_file.iter().map(|path| ("--from-file", path.as_path())));
        inputs.extend(args.latents.iter().map(|path| ("--latents", path.as_path())));
        inputs.extend(args.picture.lora.iter().map(|lora| ("--lora", lora.file.as_path())));
        inputs.extend(args.words.embedding.iter().map(|word| ("--embedding", word.file.as_path())));
        inputs.extend(args.words.from_png.iter().map(|path| ("--from-png", path.as_path())));
        inputs.extend(args.picture.init.init_img.iter().map(|path| ("--init-img", path.as_path())));
        inputs.extend(args.picture.init.mask.iter().map(|path| ("--mask", path.as_path())));
        let control = &args.picture.init.control;
        inputs.extend(control.control_image.iter().map(|path| ("--control-image", path.as_path())));
        inputs.extend(control.control_net.iter().map(|path| ("--control-net", path.as_path())));
        inputs.extend(args.picture.model.iter().map(|name| ("--model", Path::new(name))));
        inputs.extend(args.picture.assembly.inputs());
        inputs.extend(args.picture.refiner.iter().map(|name| ("--refiner", Path::new(name))));
        apart(&outputs, &inputs)?;
        Ok(Self { pictures, grid, latents, metadata: !args.no_metadata, format, kept: Vec::new() })
    }

    fn parameters(&self, order: &Order, i: usize) -> Option<String> {
        self.metadata.then(|| order.settings(i).to_string())
    }

    /// Writes what a run drew. Where a file fails the others are written all the same.
    pub fn write(&mut self, order: &Order, output: &Output, report: &mut Report) -> anyhow::Result<()> {
        let mut failed = None;
        let mut note = |e: anyhow::Error| {
            if let Some(earlier) = failed.replace(e) {
                text::error(&format!("{earlier:#}"));
            }
        };
        for (i, picture) in output.pictures.iter().enumerate() {
            let parameters = self.parameters(order, i);
            let file = picture.encoded(self.format, parameters.as_deref())?;
            self.pictures.write(&file).map_or_else(&mut note, |path| report.files.push(path));
        }
        if let Some(series) = &mut self.latents {
            let file = latents::file(&output.latents)?;
            series.write(&file).map_or_else(&mut note, |path| report.latents = Some(path));
        }
        if self.grid.is_some() {
            self.kept.extend_from_slice(&output.pictures);
        }
        failed.map_or(Ok(()), Err)
    }

    /// What was drawn, in its order.
    pub fn take_kept(&mut self) -> Vec<Picture> {
        std::mem::take(&mut self.kept)
    }

    /// Writes a sheet in the grid's place; `told` is added to an order's settings.
    pub fn write_sheet(
        &mut self,
        order: &Order,
        told: &str,
        sheet: &Picture,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let parameters = self.parameters(order, 0).map(|text| text + told);
        if let Some(series) = &mut self.grid {
            report.grid = Some(series.write(&sheet.encoded(self.format, parameters.as_deref())?)?);
        }
        Ok(())
    }

    /// Writes the grid of all that was drawn, where one is wanted.
    pub fn write_grid(&mut self, order: &Order, report: &mut Report) -> anyhow::Result<()> {
        let parameters = self.parameters(order, 0);
        if let Some(series) = &mut self.grid {
            let grid = Picture::grid(&self.kept, None)?.encoded(self.format, parameters.as_deref());
            report.grid = Some(series.write(&grid?)?);
        }
        Ok(())
    }
}

/// What a name itself tells.
fn check_names(args: &GenerateArgs) -> Result<(), Usage> {
    let name = args.output.display();
    if args.json && is_stdout(&args.output) {
        return Err(Usage(format!(
            "--output {name}: --json has standard output for itself: leave one of them out"
        )));
    }
    let unnamed = |path: &Path| args.json && path.to_str().is_none();
    if unnamed(&args.output) || args.save_latents.as_deref().is_some_and(unnamed) {
        let why = "--json cannot hold a name that is not UTF-8: leave it out, or choose another name";
        return Err(Usage(why.into()));
    }
    Ok(())
}
