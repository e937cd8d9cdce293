use crate::{
    Budget, Condition, Device, Error, HostTensor, MemoryPlan, Model, ModelPlace, OpenDevice, Order, Output,
    Picture, Precision, Progress, Quant, Request, Search, Turn, VaeTiling,
};
use calotype_graph::Executor;
use calotype_pipeline::measure::{Ceilings, LoadTimes, StageProfile, ceilings};
use calotype_pipeline::{Denoising, NamedLora};
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
    /// Which weight matrices the device holds in blocks.
    pub quant: Quant,
    /// What goes on with the pictures that the model has begun: SDXL's refiner, named as models are.
    pub refiner: Option<String>,
}

/// A run under way, as its steps see it.
pub struct Running<'a>(&'a Denoising<'a>);

impl Running<'_> {
    /// The latents as they are now, `[B, C, h, w]` f32. Waits for the device.
    pub fn latents(&self) -> Result<HostTensor, Error> {
        block_on(self.0.latents())
    }

    /// A rough picture of the batch's first image as it is now, a pixel for each place of the latents. Waits for the device.
    /// None where there are to be no previews ([`Pipeline::prepare_previews`]).
    pub fn preview(&self) -> Result<Option<Picture>, Error> {
        block_on(self.0.preview())
    }
}

/// A model on a device, ready to draw: the asynchronous [`calotype_pipeline::Pipeline`], waited for.
pub struct Pipeline {
    inner: calotype_pipeline::Pipeline,
}

impl Pipeline {
    /// Opens a file of weights, a folder in the diffusers layout, `owner/name` of the Hugging Face hub, `builtin`, or
    /// `synthetic:sd15`, on the best device there is.
    pub fn from_pretrained(place: &str) -> Result<Self, Error> {
        Self::open(place, &Options::default())
    }

    /// The same, with a say in the device and the precision.
    pub fn open(place: &str, options: &Options) -> Result<Self, Error> {
        let device = options.device.open()?;
        let precision = options.precision.unwrap_or(device.default_precision());
        let search =
            Search { full_precision: options.precision == Some(Precision::F32), ..Search::default() };
        let open = |place: &str| ModelPlace::find(Some(place), &search, &mut |_| ())?.open(precision);
        let mut model = open(place)?;
        model.quant = options.quant;
        if let Some(refiner) = &options.refiner {
            model.refine_with(open(refiner)?)?;
        }
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

    /// Has values of pictures cut to 8 bits, as the first programs did, not rounded.
    pub fn truncate(&mut self) {
        self.inner.truncate();
    }

    /// Has these LoRAs in the place of those before, each over those in front of it. Only the tensors that are changed otherwise
    /// than before are brought to the device anew.
    pub fn set_loras(&mut self, loras: &[NamedLora]) -> Result<(), Error> {
        block_on(self.inner.set_loras(loras))
    }

    /// Bytes of weights that were brought to the device since the start.
    pub fn uploaded(&self) -> u64 {
        self.inner.uploaded()
    }

    /// Has runs hold no more than so many bytes of the device's memory, whatever it has, and decode in tiles or not.
    pub fn limit(&mut self, max_vram: Option<u64>, tiling: VaeTiling) {
        self.inner.limit(max_vram, tiling);
    }

    /// What memory there is, and what of it may be taken.
    pub fn budget(&self) -> Budget {
        self.inner.budget()
    }

    /// The request as this model draws it.
    pub fn settle(&self, request: &Request) -> Result<Order, Error> {
        request.settle(self.model())
    }

    /// What a request takes on this device, before anything is allocated.
    pub fn plan(&self, request: &Request) -> Result<MemoryPlan, Error> {
        self.inner.plan(&self.settle(request)?)
    }

    /// What an order takes on this device; fails where that is more memory than there is, as far as that is known. Runs see
    /// to it themselves.
    pub fn check(&self, order: &Order) -> Result<MemoryPlan, Error> {
        self.inner.check(order)
    }

    /// Has runs show what they are at ([`Running::preview`]). Where the colours of the latents' channels are not known, they
    /// are learned from the model's own decoder, which takes one decoding of the request's size.
    pub fn prepare_previews(&mut self, request: &Request) -> Result<(), Error> {
        let order = self.settle(request)?;
        block_on(self.inner.prepare_previews(&order))
    }

    /// A request to its pictures, which may begin from another:
    ///
    /// ```no_run
    /// use calotype::{Picture, Pipeline, Request};
    /// use std::sync::Arc;
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let photo = Picture::read("photo.jpg", &std::fs::read("photo.jpg")?)?;
    /// let request = Request {
    ///     init_img: Some(Arc::new(photo)),
    ///     strength: Some(0.6),
    ///     ..Request::new("a watercolour of a harbour")
    /// };
    /// let output = Pipeline::from_pretrained("path/to/stable-diffusion-v1-5")?.text_to_image(&request)?;
    /// std::fs::write("harbour.png", output.pictures[0].png(None)?)?;
    /// # Ok(()) }
    /// ```
    pub fn text_to_image(&mut self, request: &Request) -> Result<Output, Error> {
        self.text_to_image_with(request, |_, _| ControlFlow::Continue(()))
    }

    /// The same, telling `each_step` of every step; it may look at the run, and stop it, which is then an error
    /// ([`Error::is_stopped`]).
    pub fn text_to_image_with(
        &mut self,
        request: &Request,
        each_step: impl FnMut(&Progress, &Running<'_>) -> ControlFlow<()>,
    ) -> Result<Output, Error> {
        let order = self.settle(request)?;
        self.draw(&order, each_step)
    }

    /// An order to its pictures, telling `each_step` of every step; it may look at the run and stop it.
    pub fn draw(
        &mut self,
        order: &Order,
        mut each_step: impl FnMut(&Progress, &Running<'_>) -> ControlFlow<()>,
    ) -> Result<Output, Error> {
        block_on(self.inner.text_to_image(order, async |at, run| Ok(each_step(at, &Running(run)))))
    }

    /// Brings a request's weights to the device and compiles its kernels: what the first run does otherwise.
    pub fn load(&mut self, request: &Request) -> Result<LoadTimes, Error> {
        let order = self.settle(request)?;
        block_on(self.inner.load(&order))
    }

    /// Forgets the prompts' states, so that the next run encodes them again, as the first did.
    pub fn forget_prompts(&mut self) {
        self.inner.forget_prompts();
    }

    /// Runs each stage of a request, which has been drawn before, `runs` times with every launch timed by itself.
    pub fn profile(&mut self, request: &Request, runs: usize) -> Result<Vec<StageProfile>, Error> {
        let order = self.settle(request)?;
        block_on(self.inner.profile(&order, runs))
    }

    /// The device's best rates at what this pipeline does, measured.
    pub fn ceilings(&self) -> Result<Ceilings, Error> {
        block_on(ceilings(self.executor(), self.precision()))
    }

    /// A prompt as the model is told of it.
    pub fn encode_text(&mut self, prompt: &str) -> Result<Condition, Error> {
        block_on(self.inner.encode_text(prompt))
    }

    /// What a request tells the model first: of the negative prompts where it is guided, and of the prompts.
    pub fn conditions(
        &mut self,
        request: &Request,
    ) -> Result<(Option<Vec<Condition>>, Vec<Condition>), Error> {
        let Turn { negative, positive, .. } = self.turns(request)?.remove(0);
        Ok((negative, positive))
    }

    /// What a request tells the model, turn by turn.
    pub fn turns(&mut self, request: &Request) -> Result<Vec<Turn>, Error> {
        let order = self.settle(request)?;
        block_on(self.inner.turns(&order))
    }

    /// Noise to latents, `[B, C, H/f, W/f]` f32, from conditions (one, or one an image), the negative prompts' where the
    /// request is guided. `each_step` is told of every step, and may look at the run and stop it, whose
    /// latents are then returned as they are.
    pub fn denoise(
        &mut self,
        request: &Request,
        negative: Option<&[Condition]>,
        positive: &[Condition],
        mut each_step: impl FnMut(&Progress, &Running<'_>) -> ControlFlow<()>,
    ) -> Result<HostTensor, Error> {
        let order = self.settle(request)?;
        block_on(async {
            let mut run = self.inner.denoise(&order, negative, positive).await?;
            while let Some(progress) = run.step().await? {
                if each_step(&progress, &Running(&run)).is_break() {
                    break;
                }
            }
            run.latents().await
        })
    }

    /// A picture, whose sides are multiples of the VAE's factor, to latents, `[1, C, h, w]` f32 as the sampler leaves them: the
    /// encoder's mean, or with noise, as many numbers in that order, its sample.
    pub fn encode_picture(&mut self, picture: &Picture, noise: Option<&[f32]>) -> Result<HostTensor, Error> {
        block_on(self.inner.encode_picture(picture, noise))
    }

    /// Latents, `[B, C, h, w]` f32 as the sampler leaves them, to pictures.
    pub fn decode_latents(&mut self, latents: &HostTensor) -> Result<Vec<Picture>, Error> {
        block_on(self.inner.decode_latents(latents))
    }
}
