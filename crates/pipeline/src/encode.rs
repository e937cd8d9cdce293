//! Prompts to conditions.

use crate::condition::{Condition, TextOutput};
use crate::error::{Error, Result};
use crate::order::Order;
use crate::parts::{Key, Part, Stage};
use crate::pipeline::{Pipeline, not_finite};
use calotype_field::Field;
use calotype_models::{Role, unet};
use calotype_tensor::DType;

impl Pipeline {
    /// A prompt as the model is told of it. What is longer than the text encoders take loses its end, which is logged as a
    /// warning that quotes it.
    pub async fn encode_text(&mut self, prompt: &str) -> Result<Condition> {
        self.encode_texts([prompt; 2]).await
    }

    /// The same of a model with two text encoders, to each its own text.
    pub async fn encode_texts(&mut self, prompts: [&str; 2]) -> Result<Condition> {
        let mut encoded = Vec::new();
        let roles = self.model.config.index.texts;
        for role in roles {
            let prompt = prompts[usize::from(*role == Role::Text2)];
            let is_said = *role != roles[0] && prompts[0] == prompts[1];
            encoded.push(self.encode(*role, prompt, is_said).await?);
        }
        Ok(Condition::side_by_side(&encoded))
    }

    /// What one text encoder makes of a prompt; what it cannot take is told, unless that is said already.
    async fn encode(&mut self, role: Role, prompt: &str, is_said: bool) -> Result<TextOutput> {
        let known = (role, prompt.to_owned());
        if let Some(known) = self.states.borrow().get(&known) {
            return Ok(known.clone());
        }
        let encoded = self.model.encode(role, prompt)?;
        if let Some(dropped) = encoded.quote().filter(|_| !is_said) {
            let most = self.model.tokenizers[&role].max_len();
            log::warn!("the prompt is longer than {most} tokens; dropped: {dropped}");
        }
        let key = Key { part: Part::Text(role), precision: self.precision };
        self.session.prepare(&self.model, &[key]).await?;
        let (exec, part) = (&self.session.exec, self.session.get(key));
        exec.write(&part.ports["ids"], 0, bytemuck::cast_slice(&encoded.ids))?;
        exec.run(part.program(Stage::text(role)), 0)?;
        let states = exec.read(&part.ports["states"]).await?.cast(DType::F32);
        let mut pooled = Vec::new();
        if let Some(port) = part.ports.get("pooled") {
            // The prompt ends at the first end token, whatever it is padded with.
            let end = self.model.tokenizers[&role].eos();
            let end = encoded.ids.iter().position(|id| *id == end).unwrap_or(0);
            let width = port.shape.channels();
            pooled = exec.read(port).await?.to_f32()[end * width..][..width].to_vec();
        }
        if let Some(what) = not_finite(&states.to_f32()).or_else(|| not_finite(&pooled)) {
            return Err(self.broken(format!("the {}", Stage::text(role)), what, self.precision));
        }
        let encoded = TextOutput { states, pooled };
        let mut cache = self.states.borrow_mut();
        if cache.len() >= 64 {
            cache.clear();
        }
        cache.insert(known, encoded.clone());
        Ok(encoded)
    }

    /// What an order tells the model: of the negative prompts where it is guided, and of the prompts.
    pub async fn conditions(&mut self, order: &Order) -> Result<(Option<Vec<Condition>>, Vec<Condition>)> {
        let positive = self.encode_all(&order.prompts, &order.prompts_2).await?;
        let negative = match order.guided() {
            false => None,
            true if order.negative_is_zero => Some(vec![positive[0].zeros()]),
            true => Some(self.encode_all(&order.negative_prompts, &order.negative_prompts_2).await?),
        };
        Ok((negative, positive))
    }

    async fn encode_all(&mut self, first: &[String], second: &[String]) -> Result<Vec<Condition>> {
        let mut all = Vec::new();
        for i in 0..first.len().max(second.len()) {
            let of = |texts: &[String]| texts.get(i).or(texts.first()).cloned();
            let one = of(first).unwrap_or_default();
            let other = of(second).unwrap_or_else(|| one.clone());
            all.push(self.encode_texts([&one, &other]).await?);
        }
        Ok(all)
    }

    /// Conditions of all images of a batch, one after another, as a part of the denoiser takes them: states, and what joins
    /// the time.
    pub(crate) fn told(&self, order: &Order, halves: &[&[Condition]]) -> Result<(Vec<f32>, Vec<f32>)> {
        let (mut states, mut added) = (Vec::new(), Vec::new());
        for half in halves {
            let (has, batch) = (half.len(), order.batch_size);
            if has != 1 && has != batch {
                let why =
                    format!("{has} text states do not go with {batch} images: give one, or one an image");
                return Err(Error::request(Field::Prompts, why));
            }
            for i in 0..batch {
                let Condition { states: of_image, pooled, ids } = &half[if has == 1 { 0 } else { i }];
                states.extend_from_slice(&of_image.to_f32());
                let ids = if ids.is_empty() { &order.ids } else { ids };
                added.extend(unet::added(&self.model.config.unet, pooled, ids));
            }
        }
        Ok((states, added))
    }
}
