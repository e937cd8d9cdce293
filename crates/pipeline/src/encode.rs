//! Prompts to conditions, by their style's rules, in turns.

use crate::chunks::{Framed, Spoken, Together};
use crate::condition::{Condition, TextOutput, Turn};
use crate::error::{Error, Result};
use crate::guidance::Guidance;
use crate::order::Order;
use crate::parts::{Key, Part, Stage};
use crate::pipeline::{Pipeline, not_finite};
use crate::words::{PromptStyle, Weighing, emphasize, from_empty};
use calotype_field::Field;
use calotype_graph::Ports;
use calotype_models::{Role, unet};
use calotype_tensor::{DType, HostTensor};
use std::collections::BTreeMap;

/// A text's chunk of those that are met together: the text, how often it stands, what it is, and what comes of it.
type Chunk<'a> = (&'a str, usize, &'a Framed, Vec<f32>);

/// What is told in turns, each with the evaluation up to which it stands.
type Turns = Vec<(usize, Condition)>;

impl Pipeline {
    /// A text as it stands, as the model is told of it. What is longer than the text encoders take loses its end, which is
    /// logged as a warning that quotes it.
    pub async fn encode_text(&mut self, prompt: &str) -> Result<Condition> {
        self.encode_texts([prompt; 2]).await
    }

    /// The same of a model with two text encoders, to each its own text.
    pub async fn encode_texts(&mut self, prompts: [&str; 2]) -> Result<Condition> {
        let mut encoded = Vec::new();
        let roles = self.model.config.index.texts;
        for role in roles {
            let framed = self.model.whole(*role, prompts[usize::from(*role == Role::Text2)])?;
            let is_said = *role != roles[0] && prompts[0] == prompts[1];
            encoded.push(self.encode((*role, false), 0, &framed, is_said).await?);
        }
        Ok(Condition::side_by_side(&encoded))
    }

    /// What one text encoder, the model's or its refiner's, makes of what it reads at once, so many layers at its end left
    /// out; what it cannot take is told, unless that is said already.
    async fn encode(
        &mut self,
        (role, refines): (Role, bool),
        skipped: usize,
        framed: &Framed,
        is_said: bool,
    ) -> Result<TextOutput> {
        let known = ((role, refines), skipped, framed.ids.clone());
        if let Some(known) = self.states.borrow().get(&known) {
            return Ok(known.clone());
        }
        if let Some(dropped) = framed.dropped.as_ref().filter(|_| !is_said) {
            let most = framed.ids.len();
            log::warn!("the prompt is longer than {most} tokens; dropped: {dropped}");
        }
        let key = Key { part: Part::Text { role, skipped }, precision: self.precision, refines };
        self.session.prepare(&self.model, &[key]).await?;
        let (exec, part) = (&self.session.exec, self.session.get(key));
        let model = self.model.of_two(refines);
        let clip = &model.text(role)?.0.clip;
        let table = (clip.vocab_size, clip.hidden_size);
        let (ids, mut vectors) = model.embeddings.in_graph(role, table, &framed.ids);
        exec.write(&part.ports["ids"], 0, bytemuck::cast_slice(&ids))?;
        if !vectors.is_empty() {
            let port = &part.ports["vectors"];
            vectors.resize(port.shape.numel(), 0.0);
            exec.write(port, 0, HostTensor::from_f32(port.shape, &vectors).cast(port.dtype).bytes())?;
        }
        exec.run(part.program(Stage::text(role)), 0)?;
        let states = exec.read(&part.ports["states"]).await?.cast(DType::F32);
        let mut pooled = Vec::new();
        if let Some(port) = part.ports.get("pooled") {
            // The prompt ends at the first end token, whatever it is padded with.
            let end = model.tokenizers[&role].eos();
            let end = framed.ids.iter().position(|id| *id == end).unwrap_or(0);
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

    /// What an order tells the model, turn by turn.
    pub async fn turns(&mut self, order: &Order) -> Result<Vec<Turn>> {
        let (negative, positive) = order.spoken(self.model.of_two(order.refines).config.index.texts)?;
        let positive = self.in_turns(order, &positive).await?;
        let negative = match (order.guided(), negative) {
            (false, _) => None,
            (true, Some(negative)) => Some(self.in_turns(order, &negative).await?),
            (true, None) => {
                let zeros = |(end, condition): &(usize, Condition)| (*end, condition.zeros());
                Some(vec![positive[0].iter().map(zeros).collect()])
            }
        };
        let ends = ends(positive.iter().chain(negative.iter().flatten()).flatten().map(|(end, _)| *end));
        let at = |all: &[Turns], end| all.iter().map(|turns| at(turns, end).clone()).collect();
        let turn = |end| Turn {
            until: end,
            negative: negative.as_ref().map(|all| at(all, end)),
            positive: at(&positive, end),
        };
        // Evaluations that another model has taken are no turns of this one's.
        let before = order.program.before;
        let own = ends.into_iter().map(turn).filter(|turn| turn.until >= before);
        Ok(own.map(|turn| Turn { until: turn.until - before, ..turn }).collect())
    }

    /// Each picture's conditions: of the first prompt that it has, then of the second, and so on. A picture that has fewer of
    /// them than others, and takes nothing of the rest, is told its first again.
    async fn in_turns(&mut self, order: &Order, all: &[Together]) -> Result<Vec<Turns>> {
        let mut pictures = Vec::new();
        for together in all {
            let mut own = Vec::new();
            for spoken in together {
                own.push(self.one_in_turns(order, spoken).await?);
            }
            let rows = |(_, condition): &(usize, Condition)| condition.states.shape().rows();
            let tokens = own.iter().flatten().map(rows).max().unwrap_or(0);
            let padded =
                |turns: Turns| turns.into_iter().map(|(end, one)| (end, one.padded(tokens))).collect();
            pictures.push(own.into_iter().map(padded).collect::<Vec<Turns>>());
        }
        let prompts = pictures.iter().map(Vec::len).max().unwrap_or(0);
        let all_of = |k: usize| pictures.iter().map(move |own| own.get(k).unwrap_or(&own[0]).clone());
        Ok((0..prompts).flat_map(all_of).collect())
    }

    /// A prompt's conditions.
    async fn one_in_turns(&mut self, order: &Order, spoken: &Spoken) -> Result<Turns> {
        let length = self.model.of_two(order.refines).chunks(order, spoken)?;
        let mut encoders = Vec::new();
        for (role, part) in spoken {
            let is_said = *role != spoken[0].0 && part.turns == spoken[0].1.turns;
            encoders.push(self.texts(order, *role, &part.turns, (length, is_said)).await?);
        }
        let ends = ends(encoders.iter().flatten().map(|(end, _)| *end));
        let condition = |end: usize| {
            let each: Vec<TextOutput> = encoders.iter().map(|turns| at(turns, end).clone()).collect();
            (end, Condition::side_by_side(&each))
        };
        Ok(ends.into_iter().map(condition).collect())
    }

    /// What an encoder makes of the texts that a prompt is in turns, all of one length: shorter ones end in empty chunks.
    async fn texts(
        &mut self,
        order: &Order,
        role: Role,
        turns: &[(usize, String)],
        (length, is_said): (usize, bool),
    ) -> Result<Vec<(usize, TextOutput)>> {
        let (rules, skipped) = ((order.prompt_style, order.emphasis), order.skipped());
        let model = self.model.of_two(order.refines);
        let mut texts: BTreeMap<&str, (usize, Vec<Framed>)> = BTreeMap::new();
        for (_, text) in turns {
            match texts.get_mut(&**text) {
                Some((times, _)) => *times += 1,
                None => _ = texts.insert(text, (1, model.framed(role, text, rules)?)),
            }
        }
        let empty = model.whole(role, "")?;
        let mut found: BTreeMap<&str, (Vec<f32>, Vec<f32>)> = BTreeMap::new();
        for i in 0..length {
            let mut chunks: Vec<Chunk<'_>> = Vec::new();
            for (text, (times, framed)) in &texts {
                let framed = framed.get(i).unwrap_or(&empty);
                let TextOutput { states, pooled } =
                    self.encode((role, order.refines), skipped, framed, is_said).await?;
                chunks.push((text, *times, framed, states.to_f32()));
                // The first chunk speaks for all, and without weights.
                found.entry(text).or_insert((Vec::new(), pooled));
            }
            self.weigh(order, (role, &empty), &mut chunks).await?;
            for (text, _, _, states) in chunks {
                found.get_mut(text).expect("it was just there").0.extend(states);
            }
        }
        let tokens = length * empty.ids.len();
        let output = |text: &str| {
            let (states, pooled) = &found[text];
            let states = HostTensor::from_f32([1, tokens, states.len() / tokens], states);
            TextOutput { states, pooled: pooled.clone() }
        };
        Ok(turns.iter().map(|(end, text)| (*end, output(text))).collect())
    }

    /// Weights on the same chunk of all texts.
    async fn weigh(
        &mut self,
        order: &Order,
        (role, empty): (Role, &Framed),
        chunks: &mut [Chunk<'_>],
    ) -> Result<()> {
        match order.prompt_style {
            PromptStyle::Plain => {}
            PromptStyle::A1111 => {
                let each = chunks.iter_mut().map(|(_, times, framed, states)| Weighing {
                    states,
                    weights: &framed.weights,
                    times: *times,
                });
                emphasize(&mut each.collect::<Vec<_>>(), order.emphasis);
            }
            PromptStyle::Comfy => {
                let empty =
                    self.encode((role, order.refines), order.skipped(), empty, true).await?.states.to_f32();
                for (_, _, framed, states) in chunks {
                    from_empty(states, &framed.weights, &empty);
                }
            }
        }
        Ok(())
    }

    /// A turn's conditions of all images of a batch, one after another, as the ports of a denoiser take them that is guided or is
    /// not: states, and what joins the time.
    pub(crate) fn told(
        &self,
        order: &Order,
        (turn, prompts, guided): (&Turn, usize, bool),
        ports: &Ports,
    ) -> Result<Vec<(&'static str, HostTensor)>> {
        let (mut states, mut added) = (Vec::new(), Vec::new());
        let negative = turn.negative.iter().filter(|_| guided).map(|part| (&part[..], &order.negative_ids));
        let config = &self.model.of_two(order.refines).config;
        let each = (turn.positive.len() / order.prompts_an_image()).max(1);
        // What is kept away from is told as a negative prompt is.
        let away = |k: usize| k > 0 && matches!(order.guidance, Guidance::PerpNeg { .. });
        let own = |k: usize| if away(k) { &order.negative_ids } else { &order.ids };
        let positive = turn.positive.chunks(each).take(prompts).enumerate().map(|(k, part)| (part, own(k)));
        for (part, own) in positive.chain(negative) {
            let (has, batch) = (part.len(), order.batch_size);
            if has != 1 && has != batch {
                let why =
                    format!("{has} text states do not go with {batch} images: give one, or one an image");
                return Err(Error::request(Field::Prompts, why));
            }
            for i in 0..batch {
                let condition = &part[if has == 1 { 0 } else { i }];
                states.extend(condition.repeated(order.tokens));
                let ids = if condition.ids.is_empty() { own } else { &condition.ids };
                added.extend(unet::added(&config.unet, &condition.pooled, ids));
            }
        }
        let mut told = Vec::new();
        let guidance = order.embedded_guidance.map(|width| unet::guidance(width, order.cfg_scale));
        for (name, values) in
            [("states", states), ("added", added), ("guidance", guidance.unwrap_or_default())]
        {
            let Some(port) = ports.get(name) else { continue };
            if values.len() != port.shape.numel() {
                let (has, takes, shape) = (values.len(), port.shape.numel(), port.shape);
                let images = order.batch_size;
                let why = format!(
                    "the text {name} hold {has} numbers, and {images} images of {shape} need {takes}"
                );
                return Err(Error::request(Field::Prompts, why));
            }
            told.push((name, HostTensor::from_f32(port.shape, &values).cast(port.dtype)));
        }
        Ok(told)
    }
}

/// Every evaluation up to which something stands, once.
fn ends(all: impl Iterator<Item = usize>) -> Vec<usize> {
    let mut ends: Vec<usize> = all.collect();
    ends.sort_unstable();
    ends.dedup();
    ends
}

/// What stands at an evaluation.
fn at<T>(turns: &[(usize, T)], evaluation: usize) -> &T {
    let found = turns.iter().find(|(until, _)| *until >= evaluation).or(turns.last());
    &found.expect("a prompt says something all the time").1
}
