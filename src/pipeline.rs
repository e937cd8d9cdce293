use crate::{
    Device, Error, HostTensor, MemoryPlan, Model, ModelPlace, OpenDevice, Order, Output, Picture, Precision,
    Progress, Request, Search,
};
use calotype_graph::Executor;
use calotype_pipeline::measure::{Ceilings, LoadTimes, StageProfile, ceilings};
use pollster::block_on;
use std::ops::ControlFlow;
use std::rc::Rc;

/// How a pipeline is opened.
#[derive(Clone, Debug, Default)]
pub struct Options {
    /// What to run on.
    pub device: Device,
    /// How activations are stored; f16 where the device computes with it, if nothing is said.
    pub precision: Option<Precision>,
}

/// A model on a device, ready to draw: the asynchronous [`calotype_pipeline::Pipeline`], waited for.
pub struct Pipeline {
    inner: calotype_pipeline::Pipeline,
}

impl Pipeline {
    /// Opens a folder in the diffusers layout, `owner/name` of the Hugging Face hub, `builtin`, or `synthetic:sd15`, on the
    /// best device there is.
    pub fn from_pretrained(place: &str) -> Result<Self, Error> {
        Self::open(place, &Options::default())
    }

    /// The same, with a say in the device and the precision.
    pub fn open(place: &str, options: &Options) -> Result<Self, Error> {
        let device = options.device.open()?;
        let precision = options.precision.unwrap_or(device.default_precision());
        let search =
            Search { full_precision: options.precision == Some(Precision::F32), ..Search::default() };
        let model = ModelPlace::find(Some(place), &search, &mut |_| ())?.open(precision)?;
        Ok(Self::new(&device, model, precision))
    }

    /// A pipeline from its parts.
    pub fn new(device: &OpenDevice, model: Model, precision: Precision) -> Self {
        Self { inner: calotype_pipeline::Pipeline::new(Rc::clone(&device.executor), model, precision) }
    }

    /// The model.
    pub fn model(&self) -> &Model {
        self.inner.model()
    }

    /// The device.
    pub fn executor(&self) -> &dyn Executor {
        self.inner.executor()
    }

    /// How activations are stored.
    pub fn precision(&self) -> Precision {
        self.inner.precision()
    }

    /// Has `told` called with the number of products before the device tries how they are best cut up: a matter of
    /// seconds, and of the first start, since what was found is remembered.
    pub fn on_tuning(&mut self, told: impl Fn(usize) + 'static) {
        self.inner.on_tuning(told);
    }

    /// The request as this model draws it.
    pub fn settle(&self, request: &Request) -> Result<Order, Error> {
        Ok(request.settle(self.model())?)
    }

    /// What a request takes on this device, before anything is allocated.
    pub fn plan(&self, request: &Request) -> Result<MemoryPlan, Error> {
        Ok(self.inner.plan(&self.settle(request)?)?)
    }

    /// A request to its pictures.
    pub fn text_to_image(&mut self, request: &Request) -> Result<Output, Error> {
        self.text_to_image_with(request, |_| ControlFlow::Continue(()))
    }

    /// The same, telling `each_step` of every step; it may stop the run, which is then
    /// [`calotype_pipeline::Error::Stopped`]. To read latents on the way, use [`denoise`](Self::denoise).
    pub fn text_to_image_with(
        &mut self,
        request: &Request,
        each_step: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Output, Error> {
        let order = self.settle(request)?;
        self.draw(&order, each_step)
    }

    /// An order to its pictures, telling `each_step` of every step; it may stop the run.
    pub fn draw(
        &mut self,
        order: &Order,
        mut each_step: impl FnMut(&Progress) -> ControlFlow<()>,
    ) -> Result<Output, Error> {
        Ok(block_on(self.inner.text_to_image(order, async |at, _| Ok(each_step(at))))?)
    }

    /// Brings a request's weights to the device and compiles its kernels: what the first run does otherwise.
    pub fn load(&mut self, request: &Request) -> Result<LoadTimes, Error> {
        let order = self.settle(request)?;
        Ok(block_on(self.inner.load(&order))?)
    }

    /// Forgets the prompts' states, so that the next run encodes them again, as the first did.
    pub fn forget_prompts(&mut self) {
        self.inner.forget_prompts();
    }

    /// Runs each stage of a request, which has been drawn before, `runs` times with every launch timed by itself.
    pub fn profile(&mut self, request: &Request, runs: usize) -> Result<Vec<StageProfile>, Error> {
        let order = self.settle(request)?;
        Ok(block_on(self.inner.profile(&order, runs))?)
    }

    /// The device's best rates at what this pipeline does, measured.
    pub fn ceilings(&self) -> Result<Ceilings, Error> {
        Ok(block_on(ceilings(self.executor(), self.precision()))?)
    }

    /// A prompt as the UNet attends to it: `[1, T, hidden]` f32.
    pub fn encode_text(&mut self, prompt: &str) -> Result<HostTensor, Error> {
        Ok(block_on(self.inner.encode_text(prompt))?)
    }

    /// Noise to latents, `[B, C, H/f, W/f]` f32, from text states `[1, T, hidden]` (one, or one an image), the negative
    /// prompts' where the request is guided. `each_step` is told of every step, may read the latents through the
    /// closure that it is given, and may stop the run, whose latents are then returned as they are.
    pub fn denoise(
        &mut self,
        request: &Request,
        negative: Option<&[HostTensor]>,
        positive: &[HostTensor],
        mut each_step: impl FnMut(&Progress, &dyn Fn() -> Result<HostTensor, Error>) -> ControlFlow<()>,
    ) -> Result<HostTensor, Error> {
        let order = self.settle(request)?;
        block_on(async {
            let mut run = self.inner.denoise(&order, negative, positive).await?;
            while let Some(progress) = run.step().await? {
                let latents = || Ok(block_on(run.latents())?);
                if each_step(&progress, &latents).is_break() {
                    break;
                }
            }
            Ok(run.latents().await?)
        })
    }

    /// Latents, `[B, C, h, w]` f32 as the sampler leaves them, to pictures.
    pub fn decode_latents(&mut self, latents: &HostTensor) -> Result<Vec<Picture>, Error> {
        Ok(block_on(self.inner.decode_latents(latents))?)
    }
}
