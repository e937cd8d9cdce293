//! From pictures and nets to what steers a run.

use crate::control::{Control, ControlNet};
use crate::error::{Error, Result};
use crate::image::{Resize, fitted};
use crate::model::Model;
use crate::request::Request;
use calotype_field::Field;
use calotype_graph::Precision;
use calotype_models::config::{ControlConfig, UNetConfig};
#[cfg(not(target_arch = "wasm32"))]
use calotype_models::layout;
use calotype_models::{control, unused};
use calotype_tensor::Tensors;
use calotype_weights::schemes::{FileKind, control_net};
use calotype_weights::{Checkpoint, warn_unused};
use std::rc::Rc;
use std::sync::Arc;

/// The most nets at once.
const MOST_NETS: usize = 16;

/// What is recognised in a file, and not drawn with.
const OTHERS: [(&str, &str); 4] = [
    ("lora_controlnet", "a control LoRA"),
    ("control_add_embedding.", "a union of control nets"),
    ("task_embedding", "a union of control nets"),
    ("difference", "a control net as a difference from a model"),
];

impl Request {
    /// Refuses numbers that no net could honour.
    pub(crate) fn check_controls(&self) -> Result<()> {
        for Control { scale, start, end, .. } in &self.controls {
            let bad = |field: Field, why: String| Err(Error::request(field, format!("{field} {why}")));
            if !scale.is_finite() {
                return bad(Field::ControlScale, format!("{scale} is not a number to multiply with"));
            }
            for (field, share) in [(Field::ControlStart, start), (Field::ControlEnd, end)] {
                if !(0.0..=1.0).contains(share) {
                    return bad(field, format!("{share} is not between 0 and 1"));
                }
            }
            if start >= end {
                return bad(Field::ControlStart, format!("{start} is not below {} {end}", Field::ControlEnd));
            }
        }
        Ok(())
    }

    /// What steers a run of a size.
    pub(crate) fn steered(&self, model: &Model, size: [usize; 2]) -> Result<Vec<Control>> {
        let (nets, pictures) = (model.controls.len(), self.controls.len());
        if nets != pictures {
            let (net, field) = (Field::ControlNet, Field::ControlImage);
            let count = |n: usize| if n == 1 { "1 is".into() } else { format!("{n} are") };
            let why = format!("{field}: {} given, and of {net} {nets}: give one for each", count(pictures));
            return Err(Error::request(field, why));
        }
        if let (Some(_), 1..) = (self.cache.layers(), nets) {
            let field = Field::Cache;
            let why =
                format!("{field} {}: what a control net adds is not taken again: leave one out", self.cache);
            return Err(Error::request(field, why));
        }
        let fit = |control: &Control| {
            let picture = control.hint.of(&fitted(&control.picture, size, Resize::Stretch)?);
            Ok(Control { picture: Arc::new(picture), ..control.clone() })
        };
        self.controls.iter().map(fit).collect()
    }
}

impl Model {
    /// Adds a net that steers by a picture, after those that were added before. `config` is its configuration and that file's
    /// name, where it has one. Fails, leaving the model as it is, where it is for another model.
    pub fn add_control(
        &mut self,
        name: impl Into<String>,
        file: Checkpoint,
        config: Option<(&str, &str)>,
    ) -> Result<()> {
        let bad =
            |why: String| Err(Error::request(Field::ControlNet, format!("{}: {why}", file.describe(""))));
        let names = file.names();
        if let Some((_, what)) =
            OTHERS.iter().find(|(mark, _)| names.iter().any(|name| name.starts_with(mark)))
        {
            return bad(format!(
                "{what}, which is recognised, but not drawn with: give a control net by itself"
            ));
        }
        let hint = ["input_hint_block.0.weight", "controlnet_cond_embedding.conv_in.weight"];
        if !names.iter().any(|name| hint.iter().any(|hint| name.ends_with(hint))) {
            return bad(format!("{}, and no control net", FileKind::of(&names).words()));
        }
        if self.controls.len() >= MOST_NETS {
            return bad(format!("more control nets than {MOST_NETS}: leave some out"));
        }
        let place = file.describe("");
        let tensors: Rc<dyn Tensors> = Rc::new(control_net(Rc::new(file))?);
        let config = match config {
            Some((file, text)) => ControlConfig::parse(file, text)?,
            None => ControlConfig::of_unet(&self.config.unet, &*tensors)?,
        };
        let own = &self.config.unet;
        if let Some(why) = differs(&config, own, self.config.vae.factor()) {
            let why = format!("{place}: {why}: take a control net of the model's family");
            return Err(Error::request(Field::ControlNet, why));
        }
        // What is missing is told now.
        let mut graph = control::control_net(&config)?;
        graph.resolve(&*tensors, Precision::F32)?;
        warn_unused(&place, "", unused(&graph, &*tensors));
        self.components.steer_with(tensors);
        self.controls.push(ControlNet { name: name.into(), config });
        Ok(())
    }

    /// Opens a control net: a folder of diffusers', or a file in its layout or the original one.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn open_control(&mut self, path: &std::path::Path) -> Result<()> {
        let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
        if !path.is_dir() {
            return self.add_control(stem, Checkpoint::open(path)?, None);
        }
        let place = path.display().to_string();
        let unread = |what: &str, error| {
            Error::request(Field::ControlNet, format!("{place}: {what} cannot be read: {error}"))
        };
        let text = std::fs::read_to_string(path.join("config.json")).map_err(|e| unread("config.json", e))?;
        let entries = std::fs::read_dir(path).map_err(|e| unread("it", e))?;
        let mut names: Vec<String> =
            entries.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort();
        let file = path.join(layout::choose(&place, &names, None)?.name);
        let config = path.join("config.json").display().to_string();
        self.add_control(stem, Checkpoint::open(file)?, Some((&config, &text)))
    }
}

/// By what a net is for another model than one with such a UNet.
fn differs(net: &ControlConfig, unet: &UNetConfig, factor: usize) -> Option<String> {
    let halves = 1 << (net.hint_channels.len() - 1);
    let own = &net.unet;
    let told = |config: &UNetConfig| config.text_time.map_or(0, |told| told.width);
    let pairs = [
        ("for text so wide", own.states_width(), unet.states_width()),
        ("for latents of so many channels", own.in_channels, unet.out_channels),
        ("for latents so many times smaller", halves, factor),
        ("told so many numbers besides", told(own), told(unet)),
    ];
    if let Some((what, own, theirs)) = pairs.into_iter().find(|(_, own, theirs)| own != theirs) {
        return Some(format!("it is {what}: {own}, and the model {theirs}"));
    }
    let levels = |config: &UNetConfig| (config.block_out_channels.clone(), config.layers_per_block.clone());
    let (own, theirs) = (levels(own), levels(unet));
    (own != theirs).then(|| {
        format!(
            "its levels are {:?} wide, of {:?} layers, and the model's {:?}, of {:?}",
            own.0, own.1, theirs.0, theirs.1
        )
    })
}
