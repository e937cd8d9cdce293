//! Texts as the text encoders read them.

use crate::error::{Error, Result};
use crate::guidance::Guidance;
use crate::model::Model;
use crate::order::Order;
use crate::tokenizer::Tokenizer;
use crate::words::{
    ChunkRules, Emphasis, PromptPart, PromptStyle, Timeline, Token, Weighted, attention, by_pieces,
    by_tokens, comfy_weights, networks,
};
use calotype_field::Field;
use calotype_models::Role;

/// What a text encoder reads at once: ids, start and padding among them, each with its weight.
#[derive(Clone, Debug, PartialEq)]
pub struct Framed {
    /// As many as the encoder takes.
    pub ids: Vec<u32>,
    /// 1 where nothing is said.
    pub weights: Vec<f32>,
    /// Ids that are words.
    pub words: usize,
    /// The part of the text that did not fit, in quotation marks.
    pub dropped: Option<String>,
}

/// What one picture is told by one prompt: each encoder's text, in the model's order of encoders.
pub(crate) type Spoken = Vec<(Role, PromptPart)>;

/// The same by all prompts that it has at once.
pub(crate) type Together = Vec<Spoken>;

/// The most chunks that are attended to.
const MOST_CHUNKS: usize = 64;

impl Order {
    /// How turns of prompts are counted: A1111 counts evaluations, of which samplers of second order have two a step.
    pub fn passing(&self) -> Timeline {
        let evaluations = self.program.before + self.program.steps.len() + self.program.rest;
        let second = self.steps > 1 && evaluations + 1 >= 2 * self.steps;
        Timeline::of(if second { 2 * self.steps } else { self.steps })
    }

    /// What the prompts say, one for all images or one for each; of the negative prompts only where they count.
    pub(crate) fn spoken(&self, roles: &[Role]) -> Result<(Option<Vec<Together>>, Vec<Together>)> {
        let positive = self.all(roles, [&self.prompts, &self.prompts_2], false)?;
        let counts = self.guided() && !self.negative_is_zero;
        let texts = [&self.negative_prompts, &self.negative_prompts_2];
        let negative = counts.then(|| self.all(roles, texts, true)).transpose()?;
        let both = |negative: &[Together]| {
            let images = 0..positive.len().max(negative.len());
            let of = |all: &[Together], i: usize| all.get(i).unwrap_or(&all[0]).clone();
            images.map(|i| [of(&positive, i), of(negative, i)].concat()).collect()
        };
        match (self.guidance, negative) {
            // What a picture keeps away from is a prompt more, and the empty one what both are held against.
            (Guidance::PerpNeg { .. }, Some(negative)) => {
                let empty = self.all(roles, [&vec![String::new()], &Vec::new()], true)?;
                Ok((Some(empty), both(&negative)))
            }
            // What a picture is held against is the negative prompt, of it and of none (diffusers:
            // `StableDiffusionInstructPix2PixPipeline.encode_prompt`).
            (_, Some(negative)) if self.edits().is_some() => Ok((Some(negative.clone()), both(&negative))),
            // What the model makes of the prompt where it is made worse is a prompt more.
            (kind, negative) if kind.away_from().is_some() => {
                Ok((negative, positive.into_iter().map(|own| [&own[..], &own].concat()).collect()))
            }
            (_, negative) => Ok((negative, positive)),
        }
    }

    fn all(&self, roles: &[Role], texts: [&Vec<String>; 2], is_negative: bool) -> Result<Vec<Together>> {
        let of = |texts: &Vec<String>, i: usize| texts.get(i).or(texts.first()).cloned();
        let one = |i: usize| {
            let first = of(texts[0], i).unwrap_or_default();
            let text = |role: Role| match role {
                Role::Text2 => of(texts[1], i).unwrap_or_else(|| first.clone()),
                _ => first.clone(),
            };
            let said =
                |role: Role| PromptPart::of(&text(role), self.prompt_style, is_negative, self.passing());
            let mut together = vec![Spoken::new(); said(roles[0]).len()];
            for role in roles {
                let parts = said(*role);
                if parts.len() != together.len() {
                    return Err(unlike(together.len(), parts.len()));
                }
                together.iter_mut().zip(parts).for_each(|(spoken, part)| spoken.push((*role, part)));
            }
            Ok(together)
        };
        (0..texts[0].len().max(texts[1].len())).map(one).collect()
    }

    /// Refuses prompts that ask for LoRAs which the model has not.
    pub(crate) fn check_loras(&self) -> Result<()> {
        let prompts = self.prompts.iter().filter(|_| self.prompt_style == PromptStyle::A1111);
        for network in prompts.flat_map(|text| networks(text).1) {
            let name = network.name();
            let is_lora = ["lora", "lyco"].contains(&&*network.kind);
            if is_lora && !self.loras.iter().any(|(known, _)| known == name) {
                return Err(Error::request(
                    Field::Prompts,
                    format!(
                        "the prompt asks for the LoRA {name}, which the model does not have: give it with {}, or take \
                         <lora:…> for text with {} plain",
                        Field::Loras,
                        Field::PromptStyle
                    ),
                ));
            }
        }
        Ok(())
    }

    /// Has pictures follow the one that they change, where that is another prompt: for guidances s by the text and i by the
    /// picture, `u + s (c - n) + i (n - u)` is `u + s ((c - u) + (i / s - 1) (n - u))`.
    pub(crate) fn follow_picture(&mut self) -> Result<()> {
        let Some(scale) = self.edits().filter(|_| self.guided()) else { return Ok(()) };
        if self.prompts_an_image() > 1 {
            let (field, model) = (Field::Prompts, &self.model);
            let why = format!(
                "{field}: {model} changes a picture by one prompt, and several (AND) are given: give one"
            );
            return Err(Error::request(field, why));
        }
        let share = f64::from(scale) / f64::from(self.cfg_scale);
        self.shares.iter_mut().for_each(|shares| shares.push(share - shares[0]));
        Ok(())
    }

    /// Has pictures keep away from what guidance asks the model besides their prompts: what the negative prompt says, where
    /// it is a prompt of their own, or what the model makes of theirs where it is made worse.
    pub(crate) fn keep_away(&mut self) -> Result<()> {
        let perpendicular = matches!(self.guidance, Guidance::PerpNeg { .. });
        if self.guidance.prompts() == 0 || perpendicular && !self.guided() {
            return Ok(());
        }
        let field = Field::Guidance;
        let bad = |why: &str| Err(Error::request(field, format!("{field} {} {why}", self.guidance.name())));
        if self.prompts_an_image() > 1 {
            return bad("does not go with several prompts in one picture (AND): leave one out");
        }
        if let Some((_, scale, _)) = self.guidance.away_from() {
            if self.embedded_guidance.is_some() {
                return bad("is not for models that are told the guidance: leave it out");
            }
            if self.cfg_scale == 0.0 {
                return bad(&format!("does not go with {} 0: give another", Field::CfgScale));
            }
            // All of it is multiplied by the scale later.
            let away = f64::from(scale) / (f64::from(self.cfg_scale) * self.program.guidance);
            for shares in &mut self.shares {
                shares[0] += away;
                shares.push(-away);
            }
            return Ok(());
        }
        let Guidance::PerpNeg { scale } = self.guidance else { return Ok(()) };
        if self.negative_is_zero {
            return bad("keeps away from a negative prompt: give one");
        }
        self.shares.iter_mut().for_each(|shares| shares.push(-f64::from(scale)));
        Ok(())
    }

    /// How much of each prompt goes into a picture, as the first text encoder's says it.
    pub(crate) fn own_shares(&self, roles: &[Role]) -> Result<Vec<Vec<f64>>> {
        let share = |spoken: &Spoken| spoken[0].1.weight;
        let all = self.all(roles, [&self.prompts, &self.prompts_2], false)?;
        Ok(all.iter().map(|together| together.iter().map(share).collect()).collect())
    }
}

fn unlike(first: usize, second: usize) -> Error {
    let (one, two) = (Field::Prompts, Field::Prompts2);
    let why = format!("{one} is {first} in one (AND), and {two} {second}: give both as many");
    Error::request(two, why)
}

impl Model {
    /// A text as a text encoder reads it: what its style makes of weights and length.
    pub fn framed(
        &self,
        role: Role,
        text: &str,
        (style, emphasis): (PromptStyle, Emphasis),
    ) -> Result<Vec<Framed>> {
        let tokenizer = self.text(role)?.1;
        let size = tokenizer.max_len() - 2;
        let (ids, added) = (|text: &str| tokenizer.ids(text), self.spoken(role));
        let chunks = match style {
            PromptStyle::Plain => return Ok(vec![self.whole(role, text)?]),
            PromptStyle::Comfy => by_pieces(&comfy_weights(text), size, &added, ids)?,
            PromptStyle::A1111 => {
                let pieces = match emphasis {
                    Emphasis::None => vec![Weighted::new(text, 1.0)],
                    _ => attention(text),
                };
                by_tokens(&pieces, ChunkRules::new(size, tokenizer.comma()), &added, ids)?
            }
        };
        chunks.iter().map(|chunk| self.frame(role, tokenizer, chunk)).collect()
    }

    /// A text as it stands, cut where it is too long.
    pub(crate) fn whole(&self, role: Role, text: &str) -> Result<Framed> {
        let encoded = self.encode(role, text)?;
        let dropped = encoded.quote();
        Ok(Framed {
            weights: vec![1.0; encoded.ids.len()],
            words: encoded.len - 2,
            ids: encoded.ids,
            dropped,
        })
    }

    fn frame(&self, role: Role, tokenizer: &Tokenizer, chunk: &[Token]) -> Result<Framed> {
        let words: Vec<u32> = chunk.iter().map(|token| token.id).collect();
        let (ids, first) = tokenizer.framed(&words);
        self.check_ids(role, &ids)?;
        let mut weights = vec![1.0; ids.len()];
        for (weight, token) in weights[first..].iter_mut().zip(chunk) {
            *weight = token.weight;
        }
        Ok(Framed { ids, weights, words: words.len(), dropped: None })
    }

    /// How many chunks a picture is told by a prompt: as many as the longest of its texts, in every turn and to every encoder.
    pub(crate) fn chunks(&self, order: &Order, spoken: &Spoken) -> Result<usize> {
        let mut most = 1;
        for (role, part) in spoken {
            for (_, text) in &part.turns {
                most = most.max(self.framed(*role, text, (order.prompt_style, order.emphasis))?.len());
            }
        }
        Ok(most)
    }

    /// How many tokens the UNet attends to: each image, and each half of guidance, to its own prompt, whose states stand
    /// as often as all come to the same number.
    pub(crate) fn tokens(&self, order: &Order) -> Result<usize> {
        let (negative, positive) = order.spoken(self.config.index.texts)?;
        let mut chunks = 1;
        for together in positive.iter().chain(negative.iter().flatten()) {
            let each = together.iter().map(|spoken| self.chunks(order, spoken));
            let longest = each.collect::<Result<Vec<_>>>()?.into_iter().max();
            chunks = common(chunks, longest.unwrap_or(1));
        }
        match chunks <= MOST_CHUNKS {
            true => Ok(chunks * self.config.tokens()),
            false => {
                let why = "the prompts are too long, or of too different lengths, to be drawn together: shorten them";
                Err(Error::request(Field::Prompts, why.to_string()))
            }
        }
    }
}

/// The least common multiple.
fn common(a: usize, b: usize) -> usize {
    let (mut x, mut y) = (a, b);
    while y != 0 {
        (x, y) = (y, x % y);
    }
    a / x * b
}
