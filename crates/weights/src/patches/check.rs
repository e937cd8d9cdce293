//! Whether a file is for a model, and what of it is not used.

use super::family::{self, reads_text};
use super::fit::{Left, Why};
use super::schemes::{TEXT, TEXT_2, UNET, Unknown};
use super::{Lora, unknown};
use crate::unused::listed;
use crate::{Error, Result};
use calotype_tensor::Tensors;
use std::fmt::Write;

impl Lora {
    /// Says whether it is for a model of these components, by their folders. What of it fits nowhere is counted and named in
    /// a warning, once. Fails where nothing fits, and where it is for another family of models: its layers read text of
    /// another width, change text encoders of another, or a second one that is not there.
    pub fn check(&self, components: &[(&str, &dyn Tensors)]) -> Result<()> {
        let (mut laid, mut left) = (0, Vec::new());
        for (component, checkpoint) in components {
            let fit = self.fit(component, *checkpoint)?;
            laid += fit.laid.len();
            left.extend(fit.left);
        }
        let has = |component: &str| components.iter().any(|(folder, _)| *folder == component);
        if has(TEXT) && !has(TEXT_2) && self.layers.iter().any(|layer| layer.component == TEXT_2) {
            return Err(self.of_another(components, "this model has one text encoder", None));
        }
        let decides = |left: &&Left| {
            let layer = &self.layers[left.layer];
            matches!(left.why, Why::Shape(_)) && (layer.component == TEXT || reads_text(&layer.key()))
        };
        if let Some(left) = left.iter().find(decides) {
            return Err(self.of_another(components, &self.told(left), Some(left)));
        }
        if laid == 0 {
            let first = left.first();
            let why =
                first.map_or_else(|| "this model has none of its layers".into(), |left| self.told(left));
            return Err(self.of_another(components, &why, first));
        }
        if !self.told.replace(true)
            && let Some(text) = self.unused(&left, |component| has(component))
        {
            log::warn!("{text}");
        }
        Ok(())
    }

    /// What is wrong with a tensor, in words that follow its name.
    fn told(&self, left: &Left) -> String {
        match &left.why {
            Why::Shape(why) => format!("{} {why}", left.tensor),
            Why::NoLayer => format!("{} finds no layer {}", left.tensor, self.layers[left.layer].path),
            Why::Twice => format!("{} is of a layer that other names change too", left.tensor),
        }
    }

    /// That it is for another family, which is named where it is known.
    fn of_another(&self, components: &[(&str, &dyn Tensors)], why: &str, left: Option<&Left>) -> Error {
        let unet = components.iter().find(|(folder, _)| *folder == UNET);
        let own = unet.and_then(|(_, unet)| family::of_model(*unet));
        match (self.family(), left) {
            (Some((family, how)), _) if own != Some(family) => {
                let model = own.map_or("another".into(), |own| own.to_string());
                let why = format!("({how}), and the model is {model}: {why}");
                Error::OtherFamily { place: self.place(), family: family.to_string(), why }
            }
            (_, Some(left)) => {
                let why = self.told(left).replacen(&left.tensor, "", 1);
                self.wrong(&left.tensor, format!("{}: it is for another model", why.trim_start()))
            }
            _ => match self.others.iter().find(|(_, why)| *why != Unknown::Name) {
                Some((tensor, why)) => self.wrong(tensor, unknown(why)),
                None => Error::NoLora { place: self.place() },
            },
        }
    }

    /// What is not used of it.
    fn unused(&self, left: &[Left], has: impl Fn(&str) -> bool) -> Option<String> {
        let absent = self.layers.iter().filter(|layer| !has(layer.component));
        let mut names: Vec<&str> = left.iter().map(|left| &left.tensor[..]).collect();
        names.extend(absent.flat_map(|layer| layer.tensors.values()).map(String::as_str));
        let others = || self.others.iter().filter(|(_, why)| *why != Unknown::Word);
        names.extend(others().map(|(name, _)| &name[..]));
        let count = match names.len() {
            0 => return None,
            1 => "1 tensor fits nowhere in this model and is left out".to_owned(),
            n => format!("{n} tensors fit nowhere in this model and are left out"),
        };
        let mut text = format!("{}: {count}: ", self.place());
        text += &listed(&names);
        if let Some((name, why)) = others().find(|(_, why)| *why != Unknown::Name) {
            let _ = write!(text, " ({name} {})", unknown(why));
        }
        Some(text)
    }
}
