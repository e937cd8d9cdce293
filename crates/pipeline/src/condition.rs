//! What a model is told of a picture beside its latents: prompts to conditions.

use crate::error::{Error, Result};
use crate::order::Order;
use crate::parts::{Key, Part, Stage};
use crate::pipeline::{Pipeline, not_finite};
use calotype_field::Field;
use calotype_models::{Role, unet};
use calotype_tensor::{DType, HostTensor};

/// What a model is told of one picture. Several may be made of one prompt and taken in turns.
#[derive(Clone, Debug)]
pub struct Condition {
    /// What the prompt says, `[1, T, width]` f32, where T is any whole number of the text encoders' lengths: the states of
    /// all text encoders side by side.
    pub states: HostTensor,
    /// The whole prompt as one vector, of models with a text encoder that makes one, else nothing.
    pub pooled: Vec<f32>,
    /// Numbers that tell of the picture, of models that take some: the order's, where there are none.
    pub ids: Vec<f32>,
}

/// What one text encoder makes of a prompt.
#[derive(Clone)]
pub(crate) struct Encoded {
    states: HostTensor,
    pooled: Vec<f32>,
}

impl Condition {
    /// What models that were trained so are told where there is no prompt: zeros.
    pub fn zeros(&self) -> Self {
        let zeros = |of: usize| vec![0.0; of];
        Self {
            states: HostTensor::from_f32(self.states.shape(), &zeros(self.states.shape().numel())),
            pooled: zeros(self.pooled.len()),
            ids: self.ids.clone(),
        }
    }

    fn side_by_side(encoded: &[Encoded]) -> Self {
        let pooled = encoded.iter().flat_map(|one| one.pooled.iter().copied()).collect();
        let states = match encoded {
            [one] => one.states.clone(),
            several => {
                let each: Vec<(usize, Vec<f32>)> =
                    several.iter().map(|one| (one.states.shape().channels(), one.states.to_f32())).collect();
                let tokens = several[0].states.shape().rows();
                let row = |i: usize| each.iter().flat_map(move |(width, all)| &all[i * width..][..*width]);
                let values: Vec<f32> = (0..tokens).flat_map(row).copied().collect();
                HostTensor::from_f32([1, tokens, values.len() / tokens], &values)
            }
        };
        Self { states, pooled, ids: Vec::new() }
    }
}

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
    async fn encode(&mut self, role: Role, prompt: &str, is_said: bool) -> Result<Encoded> {
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
        let encoded = Encoded { states, pooled };
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
