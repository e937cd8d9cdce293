use crate::cache::Cache;
use crate::control::Control;
use crate::guidance::Guidance;
use crate::init::InitPicture;
use crate::inpaint::Inpaint;
use crate::request::GivenNoise;
use crate::words::{Emphasis, PromptStyle};
use calotype_models::changes::FreeU;
use calotype_sampling::noise::Origin;
use calotype_sampling::{Adaptive, Dialect, Program, Sampler, SamplerChoice, Schedule, Step};

/// A request as one model draws it ([`Request::settle`](crate::Request::settle)): nothing is open any more, and it can be
/// done. Everything that draws takes it.
#[derive(Clone, Debug)]
pub struct Order {
    /// One for all images of the batch, or one for each.
    pub prompts: Vec<String>,
    /// What to keep away from: one for all images, or one for each.
    pub negative_prompts: Vec<String>,
    /// What the second text encoder reads instead, where there is something.
    pub prompts_2: Vec<String>,
    /// What it keeps away from instead, where there is something.
    pub negative_prompts_2: Vec<String>,
    /// Whether the model is told zeros in the place of a negative prompt.
    pub negative_is_zero: bool,
    /// By whose rules prompts are read.
    pub prompt_style: PromptStyle,
    /// What A1111's rules do with weights.
    pub emphasis: Emphasis,
    /// Which of the text encoder's layers is taken, counted from the last.
    pub clip_skip: Option<usize>,
    /// How much of each prompt goes into a picture (A1111's `AND`), one list for all images or one for each: 1 unless the
    /// prompt ends in another number, as A1111 reads it.
    pub shares: Vec<Vec<f64>>,
    /// Places of the text that the UNet attends to.
    pub tokens: usize,
    /// Width of the sinusoids by which the UNet itself is told the guidance, where it is.
    pub embedded_guidance: Option<usize>,
    /// Numbers that tell the model of the picture, where it takes some.
    pub ids: Vec<f32>,
    /// The same with the negative prompts.
    pub negative_ids: Vec<f32>,
    /// Pixels.
    pub width: usize,
    /// Pixels.
    pub height: usize,
    /// Images made at once.
    pub batch_size: usize,
    /// Denoising steps.
    pub steps: usize,
    /// How far to follow the prompt.
    pub cfg_scale: f32,
    /// What guidance makes of the model's outputs.
    pub guidance: Guidance,
    /// How the UNet takes its skip connections, where not as they are.
    pub free_u: Option<FreeU>,
    /// What of an evaluation later ones take again.
    pub cache: Cache,
    /// The sigma below which every other evaluation is not guided.
    pub s_min_uncond: f64,
    /// The shares of the steps from which on, and up to which, they are guided.
    pub guided_from_to: [f64; 2],
    /// How far to pull the guided output's spread back to the conditional one's, 0 to 1.
    pub cfg_rescale: f32,
    /// Where noise comes from; sizes in it are latents'.
    pub origin: Origin,
    /// The size in pixels that the seed is drawn at, where it is another.
    pub seed_resize_from: Option<[usize; 2]>,
    /// The LoRA of the model's few-steps form, where that is what draws.
    pub few_steps: Option<String>,
    /// What the model is called.
    pub model: String,
    /// LoRAs that were added to it, with their scale, in order.
    pub loras: Vec<(String, f32)>,
    /// Whether a tiny decoder makes the picture.
    pub tiny: bool,
    /// Words with vectors of their own that the prompts name, by their names.
    pub embeddings: Vec<String>,
    /// What the files are known by, where that is to be told.
    pub hashes: Hashes,
    /// The sampler.
    pub sampler: Sampler,
    /// The noise schedule, where the sampler does not choose its levels itself.
    pub schedule: Option<Schedule>,
    /// Whose rules they follow.
    pub dialect: Dialect,
    /// How that was asked for.
    pub choice: SamplerChoice,
    /// What the sampler does, evaluation by evaluation.
    pub program: Program,
    /// What draws up its steps one after the other, where they are as long as the error lets them be.
    pub adaptive: Option<Adaptive>,
    /// Noise to use in place of the seed's.
    pub noise: Option<GivenNoise>,
    /// The picture that it begins from, where it does not from noise alone.
    pub init: Option<InitPicture>,
    /// By what the model's nets steer it, one after another.
    pub controls: Vec<Control>,
    /// What those are called.
    pub control_nets: Vec<String>,
    /// What the model's refiner does with what this order leaves.
    pub refiner: Option<Box<Refining>>,
    /// Whether it is the refiner's own.
    pub refines: bool,
}

/// The second part of an order, which a refiner draws.
#[derive(Clone, Debug)]
pub struct Refining {
    /// From which share of the training timesteps on, counted from the noise.
    pub switch: f64,
    /// What it draws.
    pub order: Order,
}

/// What files that a picture was drawn with are known by, as A1111 writes them: a name and a short hash each. Whoever opened
/// the files knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hashes {
    /// The model's, where it is one file.
    pub model: Option<String>,
    /// LoRAs'.
    pub loras: Vec<(String, String)>,
    /// Embeddings', also of those that the prompts do not name.
    pub embeddings: Vec<(String, String)>,
}

impl Order {
    /// Whether the model sees the unconditional batch too: at more than 1, and in dialects that say so below it as well.
    pub fn guided(&self) -> bool {
        let below = self.dialect.is_fixed() && self.cfg_scale != 1.0 && self.edits().is_none();
        let shared = self.shares.iter().flatten().any(|share| *share != 1.0) || self.prompts_an_image() > 1;
        let by_scale = self.cfg_scale > 1.0 || below || shared;
        // Where the UNet is told the guidance it is not guided besides.
        let is =
            by_scale && self.embedded_guidance.is_none() || self.sampler.descriptor().needs_unconditional;
        is && self.guides().contains(&true)
    }

    /// Which of its evaluations are guided, where it is at all: those of step k of n with `int(start n) <= k < int(end n)`
    /// (diffusers' guiders), of those that are taken; below a sigma every other one (A1111's negative guidance minimum sigma,
    /// modules/sd_samplers_cfg_denoiser.py).
    pub(crate) fn guides(&self) -> Vec<bool> {
        let passed_over = |i: usize, evaluation: &Step| {
            let sigma = evaluation.level.map_or(f64::INFINITY, |[kept, added]| f64::from(added / kept));
            (self.program.before + i) % 2 == 1 && sigma < self.s_min_uncond
        };
        let steps = self.program.steps.iter().enumerate();
        let between = self.between(self.guided_from_to, 0);
        steps.zip(between).map(|((i, step), is_between)| is_between && !passed_over(i, step)).collect()
    }

    /// Which of them are led away from what the model makes where it is made worse, where guidance does that: all with PAG
    /// alone (diffusers' pipelines), else those of step k of n with `int(start n) < k < int(end n)` (its guiders:
    /// `_is_slg_enabled`).
    pub(crate) fn leads_away(&self) -> Vec<bool> {
        match self.guidance {
            Guidance::Pag { start: 0.0, end: 1.0, .. } => vec![true; self.program.steps.len()],
            kind => match kind.away_from() {
                // The number that was written, not the f32 beside it: of 10 steps 0.7 is 7.
                Some((.., shares)) => {
                    self.between(shares.map(|share| (f64::from(share) * 1e6).round() / 1e6), 1)
                }
                None => vec![false; self.program.steps.len()],
            },
        }
    }

    /// Which evaluations are of steps k of n with `int(start n) + later <= k < int(end n)`.
    fn between(&self, [start, end]: [f64; 2], later: usize) -> Vec<bool> {
        let parted = self.refines || self.program.rest > 0;
        let steps = if parted { self.steps } else { self.program.count() };
        let until = end;
        let [start, end] = [start, end].map(|share| (share * steps as f64) as usize);
        // Some samplers take more steps than were asked for.
        let (start, end) = (start + later, if until < 1.0 { end } else { usize::MAX });
        // A refiner's steps are the last.
        let mut step = if self.refines { self.steps.saturating_sub(self.program.count()) } else { 0 };
        let of = |evaluation: &Step| {
            let is_between = (start..end).contains(&step);
            step += usize::from(evaluation.ends_step);
            is_between
        };
        self.program.steps.iter().map(of).collect()
    }

    /// By which nets each of its evaluations is steered, a bit each.
    pub(crate) fn nets(&self) -> Vec<u32> {
        let count = self.program.steps.len();
        let bit = |(n, control): (usize, &Control), i| u32::from(control.steers(i, count)) << n;
        (0..count).map(|i| self.controls.iter().enumerate().map(|net| bit(net, i)).sum()).collect()
    }

    /// How many prompts an image has: as many as the one that has most.
    pub fn prompts_an_image(&self) -> usize {
        self.shares.iter().map(Vec::len).max().unwrap_or(1).max(1)
    }

    /// The weights of so many of them, `[prompts, B]`; an image that has fewer takes nothing of the rest.
    pub(crate) fn weights(&self, prompts: usize) -> Vec<f32> {
        let of = |image: usize| self.shares.get(image).or(self.shares.first());
        let share = |k: usize, image: usize| of(image).and_then(|shares| shares.get(k)).copied();
        // What a prompt is led away by is not its own.
        let is_alone = prompts < self.prompts_an_image() && self.guidance.away_from().is_some();
        let away = |image: usize| if is_alone { share(1, image).unwrap_or(0.0) } else { 0.0 };
        let weight = |k: usize, image: usize| (share(k, image).unwrap_or(0.0) + away(image)) as f32;
        (0..prompts).flat_map(|k| (0..self.batch_size).map(move |image| weight(k, image))).collect()
    }

    /// How many tensors say what is kept of a picture.
    pub(crate) fn kept_tensors(&self) -> usize {
        self.inpaint().map_or(0, |_| Inpaint::TENSORS)
    }

    /// How far a picture is followed that the model is told and changes.
    pub(crate) fn edits(&self) -> Option<f32> {
        self.init.as_ref()?.edits
    }

    /// What is drawn anew of a picture, where that is not all.
    pub(crate) fn inpaint(&self) -> Option<&Inpaint> {
        self.init.as_ref()?.inpaint.as_ref()
    }

    /// Layers at the text encoder's end that are left out.
    pub(crate) fn skipped(&self) -> usize {
        self.clip_skip.map_or(0, |layer| layer - 1)
    }

    /// The seed that gives each picture in a batch of its own. With one generator for the whole batch there is none
    /// but the first's.
    pub fn seeds(&self) -> Vec<u64> {
        (0..self.batch_size).map(|i| self.origin.seed_of(i)).collect()
    }
}
