use crate::adapt::Adapting;
use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::image::Picture;
use crate::init::{Beginning, InitPicture};
use crate::kept::Kept;
use crate::order::Order;
use crate::parts::{Canvas, Stage};
use crate::preview::Colours;
use crate::session::Ready;
use crate::steering::steer;
use crate::table::{Guided, table};
use calotype_field::Field;
use calotype_graph::Executor;
use calotype_graph::ops::{self, StepRow};
use calotype_models::config::VaeConfig;
use calotype_sampling::noise::{Latents, nchw_to_nhwc, nhwc_to_nchw};
use calotype_sampling::{BASIS, Dialect, Draw, REGISTERS};
use calotype_tensor::HostTensor;
use std::collections::VecDeque;
use std::rc::Rc;
use web_time::{Duration, Instant};

// The kernel and the samplers count on the same vectors.
const _: () = assert!(REGISTERS == ops::REGISTERS && BASIS == ops::BASIS);

/// Ports and what is written into them, of each part.
type Told = Vec<Vec<(&'static str, HostTensor)>>;

/// A run under way.
pub struct Denoising<'a> {
    exec: &'a dyn Executor,
    /// What evaluations run on ([`Canvas::all_of`]).
    parts: Vec<(&'a Ready, Canvas)>,
    /// Which of them each takes.
    takes: Vec<usize>,
    /// Which of them has the sample.
    at: usize,
    /// What of an evaluation later ones take again.
    cache: Cache,
    /// Whether the part that has the sample has what its deep layers yielded.
    has_deep: bool,
    steps: Vec<calotype_sampling::Step>,
    /// Evaluations that were taken before those.
    before: usize,
    /// What draws up the steps that follow, where they follow from these.
    adapting: Option<Box<Adapting>>,
    evaluation: usize,
    step: usize,
    total: usize,
    channels: usize,
    factor: usize,
    started: Instant,
    /// What the model is told, each with the evaluation up to which it stands.
    turns: VecDeque<(usize, Told)>,
    /// What is kept of a picture.
    kept: Option<Kept>,
    /// What previews are made with, where that is known.
    pub(crate) colours: Option<Rc<Colours>>,
}

/// How far a run is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Progress {
    /// Steps done.
    pub step: usize,
    /// Steps asked for.
    pub steps: usize,
    /// Since the first step began.
    pub elapsed: Duration,
    /// What it took to hand the step to the device, and on the CPU, which has no other time, to compute it.
    pub submit: Duration,
}

/// What a run leaves.
pub(crate) struct Drawn {
    /// `[B, C, h, w]` f32, as a run leaves them.
    pub latents: HostTensor,
    /// Steps that were taken for them.
    pub steps: usize,
}

/// What a run begins from.
#[derive(Clone, Copy)]
pub(crate) enum Begun<'a> {
    /// Noise alone.
    Noise,
    /// A picture, to which noise is added.
    Picture(&'a Beginning),
    /// What another model's run has left.
    Run(&'a Drawn),
}

impl<'a> From<Option<&'a Beginning>> for Begun<'a> {
    fn from(picture: Option<&'a Beginning>) -> Self {
        picture.map_or(Self::Noise, Self::Picture)
    }
}

impl<'a> Denoising<'a> {
    /// Uploads all that the run needs: noise, the step table, the first input. Nothing is uploaded, allocated or
    /// compiled after this.
    pub(crate) fn begin(
        exec: &'a dyn Executor,
        parts: Vec<(&'a Ready, Canvas)>,
        order: &Order,
        (vae, begun): (&VaeConfig, Begun<'_>),
    ) -> Result<Self> {
        let (size, sampler) = (parts[0].1, &order.program);
        let taken = |canvas: &Canvas| parts.iter().position(|(_, own)| own == canvas).unwrap_or(0);
        let takes: Vec<usize> = Canvas::each(order, size.guided).iter().map(taken).collect();
        let at = takes.first().copied().unwrap_or(0);
        let factor = vae.factor();
        let [c, h, w] = [vae.latent_channels, size.height / factor, size.width / factor];
        let numel = size.batch * c * h * w;

        // 1. The starting sample: unit noise times the sampler's first sigma, or a picture with so much of it as the first step
        // takes.
        let fits = |t: &HostTensor, name: &str| match t.shape().dims() == [size.batch, c, h, w] {
            true => Ok(t.to_f32()),
            false => Err(Error::request(
                Field::Latents,
                format!(
                    "{}: tensor {name} has shape {}, and this run takes [{}, {c}, {h}, {w}]",
                    Field::Latents,
                    t.shape(),
                    size.batch
                ),
            )),
        };
        let ours = |values: Vec<f32>| nchw_to_nhwc(&values, [c, h, w]);
        let mut drawn = Latents::new(order.origin, size.batch, [c, h, w]);
        let given = order.noise.as_ref();
        let start = given.map_or_else(|| Ok(drawn.first()), |given| fits(&given.latents, "latents"))?;
        let mut sample = ours(start);
        let mut kept = None;
        match begun {
            Begun::Noise => sample.iter_mut().for_each(|v| *v *= sampler.init_noise_sigma),
            Begun::Picture(begun) => {
                let picture = ours(begun.picture.to_f32());
                kept = Kept::of(order, (&picture, &sample), [c, h, w])?;
                let picture = kept.as_ref().map_or(&picture, |kept| &kept.tensors[1]);
                let [mut own_share, mut added] = level(order)?;
                // ComfyUI's begins with the most noise there is a little above it.
                added = if order.dialect == Dialect::Comfy { sampler.init_noise_sigma } else { added };
                // diffusers draws all of what a mask names, or of what the model is told, from noise alone.
                if order.init.as_ref().is_some_and(InitPicture::is_noise) {
                    [own_share, added] = [0.0, sampler.init_noise_sigma];
                }
                let own = picture.iter().cycle();
                sample.iter_mut().zip(own).for_each(|(v, own)| *v = *v * added + own * own_share);
            }
            Begun::Run(run) => sample = ours(run.latents.to_f32()),
        }
        if order.dialect == Dialect::Comfy {
            drawn = drawn.restarted();
        }

        // 2. What the sampler adds on the way, and some at the start.
        let mut slot = 0;
        let first = |i: usize| i == sampler.drawn && sampler.first_noise != 0.0;
        // What is drawn and not used moves a generator on for what comes after, if anything does; a path stays where it is.
        let needed = sampler.draws.iter().enumerate().rposition(|(i, noise)| noise.used || first(i));
        for (i, noise) in sampler.draws.iter().enumerate().take(needed.map_or(0, |last| last + 1)) {
            let first = first(i);
            if !noise.used && !first && noise.draw != Draw::Fresh {
                continue;
            }
            let values = match given {
                None => drawn.draw(noise.draw, sampler.span),
                Some(_) if !noise.used && !first => continue,
                Some(given) => {
                    let added = given.added.get(i).ok_or_else(|| {
                        let (has, needs) = (given.added.len(), sampler.draws.len());
                        let field = Field::Latents;
                        let why = format!(
                            "{field}: this sampler adds noise {needs} times, and there are {has} tensors of it (noise.0 …)"
                        );
                        Error::request(field, why)
                    })?;
                    fits(added, &format!("noise.{i}"))?
                }
            };
            if first {
                let added = ours(values).into_iter().map(|v| v * sampler.first_noise);
                sample.iter_mut().zip(added).for_each(|(v, added)| *v += added);
            } else if noise.used {
                let values = ours(values);
                for (part, _) in &parts {
                    let begin = (slot * numel * 4) as u64;
                    exec.write(&part.ports["noise"], begin, bytemuck::cast_slice(&values))?;
                }
                slot += 1;
            }
        }
        if let Some(kept) = &kept {
            for (i, values) in kept.tensors.iter().enumerate() {
                let begin = ((kept.first + i) * numel * 4) as u64;
                for (part, _) in &parts {
                    exec.write(&part.ports["noise"], begin, bytemuck::cast_slice(values))?;
                }
            }
        }
        if let (Begun::Picture(Beginning { told: Some(told), .. }), Some(init)) = (begun, &order.init) {
            let told = ours(told.to_f32());
            for (part, canvas) in &parts {
                let port = &part.ports["joined"];
                let joined = init.joined(&told, [size.batch, c * h * w], [c, factor]);
                // Guidance is held against what knows neither the prompt nor a picture that is changed.
                let knowing = if init.edits.is_some() { canvas.prompts } else { canvas.parts() };
                let mut joined = joined.repeat(knowing);
                joined.resize(port.shape.numel(), 0.0);
                let joined = HostTensor::from_f32(port.shape, &joined).cast(port.dtype);
                exec.write(port, 0, joined.bytes())?;
            }
        }
        for (part, canvas) in &parts {
            steer(exec, (part, canvas), order)?;
        }
        let mut registers = sample.clone();
        registers.resize(parts[at].0.ports["registers"].shape.numel(), 0.0);
        exec.write(&parts[at].0.ports["registers"], 0, bytemuck::cast_slice(&registers))?;

        // 3. The step table.
        let guidance = Guided::of(order);
        let words = table(&sampler.steps, |i| guidance.unless(!parts[takes[i]].1.guided), kept.as_ref());
        debug_assert!(words.len() <= size.rows * StepRow::WORDS);
        for (part, canvas) in &parts {
            exec.write(&part.ports["table"], 0, bytemuck::cast_slice(&words))?;
            let weights = order.weights(canvas.prompts);
            exec.write(&part.ports["weights"], 0, bytemuck::cast_slice(&weights))?;
        }

        let taken = if let Begun::Run(run) = begun { run.steps } else { 0 };
        let rest = order.refiner.as_ref().map_or(0, |refining| refining.order.program.count());
        let total = taken + sampler.count() + rest;
        let (steps, started) = (sampler.steps.clone(), Instant::now());
        let run = Self {
            exec,
            parts,
            takes,
            at,
            cache: order.cache,
            has_deep: false,
            steps,
            before: 0,
            adapting: order.adaptive.clone().map(|adaptive| {
                let given = order.noise.as_ref().map(|given| given.added.clone());
                Box::new(Adapting { adaptive, noises: drawn, given, guidance: guidance.unless(!size.guided) })
            }),
            evaluation: 0,
            step: taken,
            total,
            channels: c,
            factor,
            started,
            turns: VecDeque::new(),
            kept,
            colours: None,
        };
        run.show(&sample)?;
        Ok(run)
    }

    /// Shows the model the sample that the next evaluation begins with, once for each prompt of an image, and for guidance.
    fn show(&self, sample: &[f32]) -> Result<()> {
        let (part, canvas) = self.parts[self.at];
        let scale = self.steps.get(self.evaluation).map_or(1.0, |step| step.input_scale);
        let input = &part.ports["latents"];
        let mut first: Vec<f32> = sample.iter().map(|v| v * scale).collect();
        if let Some(kept) = &self.kept {
            kept.show(self.evaluation, &mut first);
        }
        let first = HostTensor::from_f32(input.shape, &first.repeat(canvas.parts())).cast(input.dtype);
        Ok(self.exec.write(input, 0, first.bytes())?)
    }

    /// Goes on where the next evaluation runs, with all that the one before has left. Waits for the device.
    async fn change(&mut self) -> Result<()> {
        let registers = self.exec.read(&self.parts[self.at].0.ports["registers"]).await?.to_f32();
        self.at = self.takes[self.evaluation];
        self.has_deep = false;
        self.exec.write(&self.parts[self.at].0.ports["registers"], 0, bytemuck::cast_slice(&registers))?;
        self.show(&registers[..self.image().iter().product()])
    }

    /// Has the run listen to what it is told in turns; the first is there from now on, with all that follows from them alone.
    pub(crate) fn listen(&mut self, turns: Vec<(usize, Told)>) -> Result<()> {
        self.turns = turns.into();
        self.hear()
    }

    fn hear(&self) -> Result<()> {
        let (_, told) = self.turns.front().expect("there is something for every evaluation");
        for ((part, _), told) in self.parts.iter().zip(told) {
            for (port, values) in told {
                self.exec.write(&part.ports[*port], 0, values.bytes())?;
            }
            part.contexts().try_for_each(|program| self.exec.run(program, 0))?;
        }
        Ok(())
    }

    /// Takes one step; none is left where it returns none. The device may still be at work on it: only the step
    /// before is sure to be done.
    pub async fn step(&mut self) -> Result<Option<Progress>> {
        if self.evaluation >= self.steps.len() {
            return Ok(None);
        }
        let mut submit = Duration::ZERO;
        loop {
            let start = Instant::now();
            if self.turns.front().is_some_and(|(until, _)| *until < self.before + self.evaluation)
                && self.turns.len() > 1
            {
                self.turns.pop_front();
                self.hear()?;
            }
            if self.takes[self.evaluation] != self.at {
                self.change().await?;
            }
            let is_fresh = !self.has_deep || self.cache.is_fresh(self.before + self.evaluation);
            let stage = if is_fresh { Stage::Step } else { Stage::Reusing };
            self.exec.run(self.parts[self.at].0.program(stage), self.evaluation)?;
            self.has_deep = true;
            submit += start.elapsed();
            // One evaluation is encoded while the one before runs: the device never waits for the host.
            self.exec.pace(1).await?;
            self.evaluation += 1;
            if self.steps[self.evaluation - 1].ends_step || self.evaluation == self.steps.len() {
                break;
            }
        }
        self.step += 1;
        if self.evaluation == self.steps.len() {
            self.exec.pace(0).await?;
            self.adapt().await?;
        }
        Ok(Some(Progress {
            step: self.step,
            steps: self.total.max(self.step),
            elapsed: self.started.elapsed(),
            submit,
        }))
    }

    /// Where steps are as long as the error lets them be, judges the attempt at one, and goes on with the next.
    async fn adapt(&mut self) -> Result<()> {
        let image = self.image();
        let Some(adapting) = &mut self.adapting else { return Ok(()) };
        let next = adapting.judge(self.exec, self.parts[0].0, image).await?;
        self.total = adapting.total(self.step).unwrap_or(self.total);
        let Some((steps, sample)) = next else { return Ok(()) };
        self.before += std::mem::replace(&mut self.steps, steps).len();
        self.evaluation = 0;
        self.show(&sample)
    }

    /// The shape of the latents.
    fn image(&self) -> [usize; 4] {
        let size = self.parts[self.at].1;
        [size.batch, self.channels, size.height / self.factor, size.width / self.factor]
    }

    /// The latents as they are now, `[B, C, h, w]` f32. Waits for the device.
    pub async fn latents(&self) -> Result<HostTensor> {
        let (part, shape) = (self.parts[self.at].0, self.image());
        let registers = self.exec.read(&part.ports["registers"]).await?.to_f32();
        let [_, c, h, w] = shape;
        let values = nhwc_to_nchw(&registers[..shape.iter().product()], [c, h, w]);
        Ok(HostTensor::from_f32(shape, &values))
    }

    /// A rough picture of the batch's first image as it is now, a pixel for each place of the latents. Waits for the device.
    /// None where the pipeline was not told to make previews
    /// ([`Pipeline::prepare_previews`](crate::Pipeline::prepare_previews)).
    pub async fn preview(&self) -> Result<Option<Picture>> {
        match &self.colours {
            Some(colours) => Ok(colours.paint(&self.latents().await?)),
            None => Ok(None),
        }
    }
}

/// What multiplies a picture and unit noise to give what an order's first step takes.
fn level(order: &Order) -> Result<[f32; 2]> {
    order.program.steps.first().and_then(|step| step.level).ok_or_else(|| {
        let (field, sampler) = (Field::Sampler, order.sampler);
        Error::request(field, format!("{field} {sampler} cannot begin from a picture: give another"))
    })
}
