//! The files that CompVis' scripts write.

use anyhow::Context;
use calotype::Picture;
use calotype::image::{Pattern, write_next};
use std::fs;
use std::path::{Path, PathBuf};

/// What the watermark says.
const MESSAGE: &[u8] = b"StableDiffusionV1";

/// Black pixels between the grid's pictures, and around them.
const PADDING: usize = 2;

/// Which of them are written, and how.
pub struct ToSave {
    /// Whether each picture is.
    pub samples: bool,
    /// The pictures in a row of the grid, where there is one.
    pub columns: Option<usize>,
    /// Whether they are marked.
    pub marked: bool,
}

/// The files of a run. Names begin where the script's would, and no file is replaced.
pub struct ScriptFiles {
    kept: ToSave,
    samples: (Pattern, u64),
    grid: (Pattern, u64),
    /// The pictures of the grid, not marked.
    pictures: Vec<Picture>,
}

impl ScriptFiles {
    pub fn new(kept: ToSave, outdir: &Path) -> anyhow::Result<Self> {
        let samples = outdir.join("samples");
        let flag = || format!("--outdir {}: a folder for pictures is needed there", outdir.display());
        fs::create_dir_all(&samples).with_context(flag)?;
        let count = |folder: &Path| Ok(fs::read_dir(folder)?.count() as u64);
        let counted: std::io::Result<[u64; 2]> = count(&samples).and_then(|n| Ok([n, count(outdir)?]));
        let [base, entries] = counted.with_context(flag)?;
        Ok(Self {
            kept,
            samples: (Pattern::parse(samples.join("%05d.png"))?, base),
            grid: (Pattern::parse(outdir.join("grid-%04d.png"))?, entries - 1),
            pictures: Vec::new(),
        })
    }

    fn png(&self, picture: &Picture) -> anyhow::Result<Vec<u8>> {
        Ok(match self.kept.marked {
            true => picture.watermarked(MESSAGE).png(None)?,
            false => picture.png(None)?,
        })
    }

    /// Writes a batch's pictures, and keeps them for the grid.
    pub fn write(&mut self, pictures: Vec<Picture>) -> anyhow::Result<Vec<PathBuf>> {
        let mut paths = Vec::new();
        for picture in pictures.iter().filter(|_| self.kept.samples) {
            let (n, path) = write_next(&self.samples.0, self.samples.1, &self.png(picture)?)?;
            self.samples.1 = n + 1;
            paths.push(path);
        }
        if self.kept.columns.is_some() {
            self.pictures.extend(pictures);
        }
        Ok(paths)
    }

    pub fn write_grid(&self) -> anyhow::Result<Option<PathBuf>> {
        let Some(columns) = self.kept.columns.filter(|_| !self.pictures.is_empty()) else { return Ok(None) };
        let png = self.png(&sheet(&self.pictures, columns))?;
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
