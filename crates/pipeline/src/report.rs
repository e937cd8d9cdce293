//! What a file of weights is, told without drawing with it.

use crate::contents::Contents;
use crate::error::Result;
use crate::single;
use calotype_models::detect::{self, EdmMarks, Family, Predicts};
use calotype_tensor::Tensors;
use calotype_weights::Checkpoint;
use calotype_weights::schemes::{FileKind, FileParts};
use std::rc::Rc;

/// What a file of weights holds.
pub struct FileReport {
    /// What it is for.
    pub kind: FileKind,
    /// Its components. What is no model has one, of no name.
    pub contents: Vec<Contents>,
    /// Of a model: what is told from its UNet.
    pub unet: Option<UNetReport>,
    /// Tensors of a running average of the UNet's weights.
    pub averaged: usize,
    /// Whether the UNet is that average.
    pub is_average: bool,
}

/// What is told from a UNet.
pub struct UNetReport {
    /// Its family.
    pub family: Family,
    /// The family, and what it is for.
    pub purpose: String,
    /// How the family was told.
    pub because: String,
    /// What it predicts.
    pub prediction: Predicts,
    /// How that was decided, where the file does not say.
    pub assumed: Option<String>,
    /// Whether pictures are drawn with it.
    pub is_drawn: bool,
}

impl FileReport {
    /// Looks at a file.
    pub async fn of(checkpoint: Checkpoint) -> Result<Self> {
        #[cfg(not(target_arch = "wasm32"))]
        let checkpoint = {
            let place = checkpoint.describe("");
            calotype_weights::schemes::keras::originals(checkpoint, &place)?
        };
        let kind = FileKind::of(&checkpoint.names());
        let mut report = Self { kind, contents: Vec::new(), unet: None, averaged: 0, is_average: false };
        if kind != FileKind::Model {
            report.contents.push(Contents::of("", &checkpoint, None));
            return Ok(report);
        }
        let parts = FileParts::of(Rc::new(checkpoint))?;
        report.contents =
            parts.components.iter().map(|(name, part)| Contents::of(name, part, None)).collect();
        (report.averaged, report.is_average) = (parts.averaged, parts.is_average);
        if let Some(unet) = parts.components.get("unet")
            && let Some((family, because)) = Family::of(unet)
        {
            let (prediction, assumed) = detect::prediction(unet, family, &parts.rest).await?;
            let edm = if EdmMarks::is(&parts.rest) { ", trained as an EDM" } else { "" };
            let purpose = single::purpose(unet, family) + edm;
            let is_drawn = single::is_drawn(unet, family);
            let assumed = assumed.map(|assumed| assumed.why);
            report.unet = Some(UNetReport { family, purpose, because, prediction, assumed, is_drawn });
        }
        Ok(report)
    }
}
