//! A model's stages and a picture, on a device and on the CPU.

use calotype::{
    Condition, Device, HostTensor, Model, ModelPlace, OpenDevice, Picture, Pipeline, Precision, Quant,
    Request,
};
use calotype_testkit::check::Compared;
use calotype_testkit::error;
use std::ops::ControlFlow;

/// What is drawn.
const PROMPT: &str = "a red apple";

/// Steps of the whole picture.
const STEPS: usize = 2;

/// What the CPU found: the reference.
struct Expected {
    states: Condition,
    step: HostTensor,
    decoded: Vec<Picture>,
    latents: HostTensor,
}

/// A model, to be compared on several devices.
pub struct Stages {
    place: ModelPlace,
    quant: Quant,
    expected: Option<Expected>,
}

impl Stages {
    pub fn new(place: ModelPlace, quant: Quant) -> Self {
        Self { place, quant, expected: None }
    }

    fn open(&self, precision: Precision) -> Result<Model, calotype::Error> {
        let mut model = self.place.open(precision)?;
        model.quant = self.quant;
        Ok(model)
    }

    /// Each stage, given what the CPU put into it, and then a whole picture from the prompt on.
    pub fn hold(&mut self, opened: &OpenDevice, precision: Precision) -> anyhow::Result<Vec<Compared>> {
        if self.expected.is_none() {
            self.expected = Some(expect(self.open(Precision::F32)?)?);
        }
        let expected = self.expected.as_ref().expect("just made");
        let mut pipeline = Pipeline::new(opened, self.open(precision)?, precision);
        let [stage, whole] = match precision {
            // Stages are held to this against diffusers' goldens too, and trajectories of latents.
            Precision::F32 => [1e-4, 1e-3],
            // Two unguided steps, each of a stage's bound.
            Precision::F16 => [1e-2, 2e-2],
        };
        let states = [expected.states.clone()];
        let held = |name: &str, shape: String, bound: f64, error: Result<f64, calotype::Error>| {
            let problem = error.as_ref().err().map(ToString::to_string);
            let error = error.unwrap_or(f64::NAN);
            Compared { name: name.into(), shape, precision, error, bound, problem }
        };
        let of = |t: &HostTensor| t.shape().to_string();
        let text = pipeline.encode_text(PROMPT).map(|found| error(&found.states, &expected.states.states));
        let step = denoise(&mut pipeline, 1, &states).map(|found| error(&found, &expected.step));
        let decoded = pipeline.decode_latents(&expected.step).map(|found| apart(&found, &expected.decoded));
        let whole_picture = pipeline
            .encode_text(PROMPT)
            .and_then(|states| denoise(&mut pipeline, STEPS, &[states]))
            .map(|found| error(&found, &expected.latents));
        let pixels =
            expected.decoded.first().map_or(String::new(), |p| format!("[{}, {}, 3]", p.height, p.width));
        Ok(vec![
            held("stage: text encoder", of(&expected.states.states), stage, text),
            held("stage: UNet, one step", of(&expected.step), stage, step),
            // Of a byte's range, which is twice the largest magnitude; and rounded to a byte on both sides.
            held("stage: VAE decoder", pixels, stage / 2.0 + 1.0 / 255.0, decoded),
            held("picture: latents from the prompt on", of(&expected.latents), whole, whole_picture),
        ])
    }
}

fn expect(model: Model) -> anyhow::Result<Expected> {
    let mut pipeline = Pipeline::new(&Device::Cpu.open()?, model, Precision::F32);
    let states = pipeline.encode_text(PROMPT)?;
    let step = denoise(&mut pipeline, 1, std::slice::from_ref(&states))?;
    let decoded = pipeline.decode_latents(&step)?;
    let latents = denoise(&mut pipeline, STEPS, std::slice::from_ref(&states))?;
    Ok(Expected { states, step, decoded, latents })
}

/// Unguided: guidance would multiply what two predictions are apart.
fn denoise(
    pipeline: &mut Pipeline,
    steps: usize,
    states: &[Condition],
) -> Result<HostTensor, calotype::Error> {
    let request = Request { steps: Some(steps), cfg_scale: Some(1.0), seed: 7, ..Request::new(PROMPT) };
    pipeline.denoise(&request, None, states, |_, _| ControlFlow::Continue(()))
}

/// The largest difference of two bytes, of 255.
fn apart(found: &[Picture], expected: &[Picture]) -> f64 {
    let bytes =
        |pictures: &[Picture]| -> Vec<u8> { pictures.iter().flat_map(|p| p.rgb().into_owned()).collect() };
    let (found, expected) = (bytes(found), bytes(expected));
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    f64::from(found.iter().zip(&expected).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)) / 255.0
}
