use crate::budget::Budget;
use crate::condition::{Condition, TextOutput, Turn};
use crate::denoise::{Begun, Denoising, Drawn, Progress};
use crate::error::{Cure, Error, Result};
use crate::image::{Mask, Picture};
use crate::init::Beginning;
use crate::model::{LORA, Model};
use crate::order::Order;
use crate::parts::{Canvas, Key, MemoryPlan, Part, Strategy, plan_parts, run};
use crate::preview::Colours;
use crate::room::fits;
use crate::session::{Ready, Session};
use crate::tiles::VaeTiling;
use calotype_graph::{Executor, MemoryUse, Precision};
use calotype_models::Role;
use calotype_tensor::HostTensor;
use std::cell::RefCell;
use std::collections::HashMap;
use std::ops::ControlFlow;
use std::rc::Rc;
use std::sync::Arc;
use web_time::{Duration, Instant};

/// A text encoder, and whether it is the refiner's; how many of its last layers are passed over, and a chunk's ids.
type Chunk = ((Role, bool), usize, Vec<u32>);

/// A picture to begin from, with the mask that a model is told.
type Source = (Arc<Picture>, Option<Mask>);

/// A model on a device, ready to draw.
///
/// The way of a prompt: [`encode_text`](Self::encode_text), [`denoise`](Self::denoise),
/// [`decode_latents`](Self::decode_latents); [`text_to_image`](Self::text_to_image) is all three.
pub struct Pipeline {
    pub(crate) model: Model,
    pub(crate) session: Session,
    pub(crate) precision: Precision,
    /// How the encoder's activations are stored, in the same way.
    pub(crate) encoder: Precision,
    /// The picture that the last run began from, with the mask that its model was told, and the means of their latents.
    pub(crate) begun_from: Option<(Source, Beginning)>,
    /// How the decoder's activations are stored: as all are, until f16 does not hold them.
    pub(crate) decoder: Precision,
    /// Whether values of pictures are cut to 8 bits, not rounded.
    pub(crate) truncate: bool,
    /// What text encoders made of the ids met last, so many layers left out, so that a series of pictures encodes each prompt
    /// once.
    pub(crate) states: RefCell<HashMap<Chunk, TextOutput>>,
    /// What previews are made with.
    pub(crate) colours: Option<Rc<Colours>>,
    /// The most device memory that may be held.
    max_vram: Option<u64>,
    tiling: VaeTiling,
    /// The parts that were found to fit last, and how.
    checked: RefCell<(Vec<Key>, Strategy)>,
}

/// Where the time went.
#[derive(Clone, Copy, Debug, Default)]
pub struct Timings {
    /// Reading, repacking and uploading weights, compiling kernels.
    pub load: Duration,
    /// Prompts to states.
    pub text: Duration,
    /// All steps.
    pub denoise: Duration,
    /// Latents to pixels.
    pub decode: Duration,
}

/// What [`Pipeline::text_to_image`] returns.
#[derive(Clone, Debug)]
pub struct Output {
    /// One a batch image, RGBA; of a picture of which a part was drawn, all of it, in RGB.
    pub pictures: Vec<Picture>,
    /// The seed that gives each picture in a batch of its own.
    pub seeds: Vec<u64>,
    /// The final latents before the VAE, `[B, C, H/f, W/f]` f32, still multiplied by the scaling factor.
    pub latents: HostTensor,
    /// Where the time went.
    pub timings: Timings,
    /// Device memory held, and its peak.
    pub memory: MemoryUse,
}

impl Pipeline {
    /// A pipeline that runs `model` on `exec`, storing activations as `precision` says. Weights are brought to the
    /// device when they are first needed.
    pub fn new(exec: Rc<dyn Executor>, model: Model, precision: Precision) -> Self {
        Self {
            encoder: model.decoder_precision(precision),
            begun_from: None,
            decoder: model.decoder_precision(precision),
            truncate: false,
            model,
            session: Session::new(exec),
            precision,
            states: RefCell::default(),
            colours: None,
            max_vram: None,
            tiling: VaeTiling::Auto,
            checked: RefCell::default(),
        }
    }

    /// Has `told` called with the number of products before the device tries how they are best cut up: a matter of
    /// seconds, and of the first start, since what was found is remembered.
    pub fn on_tuning(&mut self, told: impl Fn(usize) + 'static) {
        self.session.on_tuning = Some(Rc::new(told));
    }

    /// Has values of pictures cut to 8 bits, as the first programs did, not rounded.
    pub fn truncate(&mut self) {
        self.truncate = true;
    }

    /// Lets pictures of other sizes than the last stay prepared, those drawn last, as far as they hold no more than these
    /// bytes on the device, which come on top of what [`plan`](Self::plan) says. None does if nothing is said.
    pub fn keep(&mut self, bytes: u64) {
        self.session.keep = bytes;
    }

    /// The model.
    pub fn model(&self) -> &Model {
        &self.model
    }

    /// The device.
    pub fn executor(&self) -> &dyn Executor {
        &*self.session.exec
    }

    /// How activations are stored.
    pub fn precision(&self) -> Precision {
        self.precision
    }

    /// Has runs hold no more than so many bytes of the device's memory, whatever it has, and decode in tiles or not.
    pub fn limit(&mut self, max_vram: Option<u64>, tiling: VaeTiling) {
        (self.max_vram, self.tiling) = (max_vram, tiling);
        self.checked.take();
    }

    /// What there is, and what of it may be taken.
    pub fn budget(&self) -> Budget {
        Budget { room: self.session.exec.room(), max_vram: self.max_vram, tiling: self.tiling }
    }

    /// What an order takes on this device, before anything is allocated.
    pub fn plan(&self, order: &Order) -> Result<MemoryPlan> {
        plan_parts(&self.budget(), &self.model, &self.parts(order), &self.session.exec.caps())
    }

    /// The same; fails where that is more memory than there is, as far as the executor knows, or than may be taken.
    pub fn check(&self, order: &Order) -> Result<MemoryPlan> {
        let plan = self.plan(order)?;
        fits(&plan, &self.budget(), (&self.model, order), self.precision, &self.session.exec.caps())?;
        *self.checked.borrow_mut() = (self.parts(order), plan.strategy.clone());
        Ok(plan)
    }

    /// Has the model in the form that an order asks for, and the device kept to what the plan says of it; fails where that is
    /// more than there is. What another form left on the device goes.
    pub(crate) fn take_on(&mut self, order: &Order) -> Result<()> {
        if self.model.take_form(order.few_steps.is_some())? {
            self.session.forget(&LORA);
            self.states.borrow_mut().clear();
        }
        if self.checked.borrow().0 != self.parts(order) {
            self.check(order)?;
        }
        self.session.keep_to(&self.checked.borrow().1);
        Ok(())
    }

    /// How a decoder does its work: as was planned, or now, beside the other parts of the last run.
    pub(crate) fn strategy_of(&mut self, decoder: Key) -> Result<Strategy> {
        let mut keys = self.checked.borrow().0.clone();
        if !keys.contains(&decoder) {
            keys.retain(|key| !matches!(key.part, Part::Decoder { .. }));
            keys.push(decoder);
            let caps = self.session.exec.caps();
            let strategy = plan_parts(&self.budget(), &self.model, &keys, &caps)?.strategy;
            self.session.keep_to(&strategy);
            *self.checked.borrow_mut() = (keys, strategy);
        }
        Ok(self.checked.borrow().1.clone())
    }

    /// Brings to the device what an order takes first, weights and kernels, as its run would otherwise do: all of it where
    /// nothing is to leave on the way. Kernels may still be compiling when this is done.
    pub async fn prepare_for(&mut self, order: &Order) -> Result<()> {
        self.take_on(order)?;
        let parts = self.parts(order);
        self.prepare_beside(&parts, parts[0]).await
    }

    /// Makes those of a run's parts ready that are on the device at the same time as one of them.
    async fn prepare_beside(&mut self, parts: &[Key], one: Key) -> Result<()> {
        let strategy = self.checked.borrow().1.clone();
        let as_run = |key: Key| key.by(&strategy, &self.model)[0];
        let beside: Vec<Key> = self.session.beside(parts, one).into_iter().map(as_run).collect();
        self.session.prepare(&self.model, &beside).await
    }

    /// The parts that an order's run takes.
    pub(crate) fn parts(&self, order: &Order) -> Vec<Key> {
        let mut parts = run(&self.model, order, self.precision);
        for key in &mut parts {
            match &mut key.part {
                Part::Decoder { truncate, .. } => (*truncate, key.precision) = (self.truncate, self.decoder),
                Part::Encoder { .. } => key.precision = self.encoder,
                _ => {}
            }
        }
        parts
    }

    /// Begins a run: the steps are taken by [`Denoising::step`], those of a refiner not among them. Conditions are one for all
    /// images or one for each, those of the negative prompts too where the request is guided ([`turns`](Self::turns)).
    pub async fn denoise(
        &mut self,
        order: &Order,
        negative: Option<&[Condition]>,
        positive: &[Condition],
    ) -> Result<Denoising<'_>> {
        let turn =
            Turn { until: usize::MAX, negative: negative.map(<[_]>::to_vec), positive: positive.to_vec() };
        let picture = self.begins_from(order).await?;
        self.denoise_in_turns(order, &[turn], picture.as_ref().into()).await
    }

    /// The same with states that change on the way, and from what another model has begun.
    async fn denoise_in_turns(
        &mut self,
        order: &Order,
        turns: &[Turn],
        begun: Begun<'_>,
    ) -> Result<Denoising<'_>> {
        if !order.refines {
            self.take_on(order)?;
        }
        let guided = turns.first().is_some_and(|turn| turn.negative.is_some());
        let refines = order.refines;
        let key = |canvas| Key { part: Part::Denoiser(canvas), precision: self.precision, refines };
        let canvases = Canvas::all_of(order, guided);
        let keys: Vec<Key> = canvases.iter().copied().map(key).collect();
        self.session.prepare(&self.model, &keys).await?;
        let exec = &*self.session.exec;
        let ready = |key: &Key| self.session.get(*key);
        let parts: Vec<(&Ready, Canvas)> = keys.iter().map(ready).zip(canvases).collect();
        let turns = turns.iter().map(|turn| {
            let told = |(part, canvas): &(&Ready, Canvas)| {
                self.told(order, (turn, canvas.prompts, canvas.guided), &part.ports)
            };
            Ok((turn.until, parts.iter().map(told).collect::<Result<Vec<_>>>()?))
        });
        let turns = turns.collect::<Result<Vec<_>>>()?;
        let mut run = Denoising::begin(exec, parts, order, (&self.model.config.vae, begun))?;
        run.colours.clone_from(&self.colours);
        run.listen(turns)?;
        Ok(run)
    }

    /// An order to its pictures. `each_step` is told of every step; it may read the latents and stop the run.
    pub async fn text_to_image(
        &mut self,
        order: &Order,
        mut each_step: impl AsyncFnMut(&Progress, &Denoising<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<Output> {
        self.take_on(order)?;
        let mut timings = Timings::default();
        let loading = self.session.spent.total();

        // 1. Words to conditions.
        let start = Instant::now();
        let turns = self.turns(order).await?;
        let refining = match &order.refiner {
            Some(refining) => Some((&refining.order, self.turns(&refining.order).await?)),
            None => None,
        };
        timings.text = start.elapsed().saturating_sub(self.session.spent.total() - loading);

        // 2. The picture that it begins from, and noise, to latents.
        let start = Instant::now();
        let loaded = self.session.spent.total();
        let picture = self.begins_from(order).await?;
        let part = Part::Denoiser(Canvas::of(order, order.guided()));
        let denoiser = Key { part, precision: self.precision, refines: false };
        self.prepare_beside(&self.parts(order), denoiser).await?;
        let mut drawn = self.draw(order, (&turns, picture.as_ref().into()), &mut each_step).await?;
        if let Some((order, turns)) = refining {
            drawn = self.draw(order, (&turns, Begun::Run(&drawn)), &mut each_step).await?;
        }
        let latents = drawn.latents;
        timings.denoise = start.elapsed().saturating_sub(self.session.spent.total() - loaded);

        // 3. Latents to pixels.
        let start = Instant::now();
        let mut pictures = self.decode_latents(&latents).await?;
        if let Some(inpaint) = order.inpaint() {
            pictures = pictures.into_iter().map(|picture| inpaint.paste(picture)).collect::<Result<_>>()?;
        }
        timings.decode = start.elapsed();
        timings.load = self.session.spent.total() - loading;
        Ok(Output { pictures, seeds: order.seeds(), latents, timings, memory: self.session.exec.memory() })
    }

    /// All steps of one model.
    async fn draw(
        &mut self,
        order: &Order,
        (turns, begun): (&[Turn], Begun<'_>),
        each_step: &mut impl AsyncFnMut(&Progress, &Denoising<'_>) -> Result<ControlFlow<()>>,
    ) -> Result<Drawn> {
        let mut run = self.denoise_in_turns(order, turns, begun).await?;
        let mut steps = 0;
        while let Some(progress) = run.step().await? {
            steps = progress.step;
            if each_step(&progress, &run).await?.is_break() {
                return Err(Error::Stopped { step: progress.step, steps: progress.steps });
            }
        }
        let latents = run.latents().await?;
        match not_finite(&latents.to_f32()) {
            None => Ok(Drawn { latents, steps }),
            Some(_) => Err(self.find_broken_step(order, (turns, begun)).await?),
        }
    }

    /// Runs again, looking at the latents after every step, to say where the numbers first went bad.
    async fn find_broken_step(
        &mut self,
        order: &Order,
        (turns, begun): (&[Turn], Begun<'_>),
    ) -> Result<Error> {
        let mut run = self.denoise_in_turns(order, turns, begun).await?;
        let mut at = (order.steps, "produced values that are not finite".to_string());
        while let Some(progress) = run.step().await? {
            if let Some(what) = not_finite(&run.latents().await?.to_f32()) {
                at = (progress.step, what);
                break;
            }
        }
        let whose = if order.refines { "the refiner's" } else { "the" };
        Ok(self.broken(format!("{whose} UNet, at step {} of {},", at.0, order.steps), at.1, self.precision))
    }

    pub(crate) fn broken(&self, stage: String, what: String, precision: Precision) -> Error {
        let loras: Vec<String> = self.model.loras.iter().map(|(name, _)| name.clone()).collect();
        let cure = match precision {
            Precision::F16 => Cure::F32,
            Precision::F32 if !loras.is_empty() => Cure::LessOfLoras(loras),
            Precision::F32 => Cure::FetchAgain,
        };
        Error::Broken { stage, what, cure }
    }
}

/// Says how many values are NaN or infinite, if any are.
pub(crate) fn not_finite(values: &[f32]) -> Option<String> {
    let bad = values.iter().filter(|v| !v.is_finite()).count();
    (bad > 0).then(|| format!("produced {bad} values that are not finite (NaN or infinity)"))
}
