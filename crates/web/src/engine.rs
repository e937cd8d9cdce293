use crate::fault::{Fault, Result};
use crate::files::Files;
use crate::remote::Remote;
use crate::{notes, preview, request};
use calotype_gpu::{AdapterReport, Choice, GpuExecutor};
use calotype_graph::{Executor, Precision};
use calotype_pipeline::{Error, Model, Pipeline, Progress, Request};
use js_sys::{Array, Function, JSON, Object, Reflect, Uint8Array, Uint8ClampedArray};
use serde_json::{Value, json};
use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_time::{Duration, Instant};

/// The files of a model folder that are read whole; not every model has all of them.
const SMALL: [&str; 10] = [
    "model_index.json",
    "scheduler/scheduler_config.json",
    "text_encoder/config.json",
    "unet/config.json",
    "vae/config.json",
    "tokenizer/tokenizer.json",
    "tokenizer/vocab.json",
    "tokenizer/merges.txt",
    "tokenizer/tokenizer_config.json",
    "tokenizer/special_tokens_map.json",
];

/// A GPU, and the model on it.
#[wasm_bindgen]
pub struct Engine {
    choice: Choice,
    gpu: Rc<GpuExecutor>,
    pipeline: Option<Pipeline>,
}

#[wasm_bindgen]
impl Engine {
    /// Opens the GPU that the browser means by `power_preference`: `low-power`, or anything else for the fastest.
    pub async fn create(power_preference: Option<String>) -> Result<Engine> {
        let low_power = power_preference.as_deref() == Some("low-power");
        let choice = Choice { low_power, ..Choice::default() };
        let gpu = Rc::new(GpuExecutor::new(&choice).await?);
        Ok(Self { choice, gpu, pipeline: None })
    }

    /// The adapter's features and limits, and which kernels they allow.
    pub fn adapter(&self) -> Result<JsValue> {
        object(&describe(self.gpu.report()))
    }

    /// Device memory, and WebAssembly's, in bytes.
    pub fn memory(&self) -> Result<JsValue> {
        let used = self.gpu.memory();
        object(&json!({
            "deviceBytes": used.bytes, "devicePeakBytes": used.peak, "heapBytes": crate::heap_bytes(),
        }))
    }

    /// Opens a model folder, uploads its weights and compiles its kernels for a picture of its own size. `dtype` is
    /// `f32`, `f16`, or nothing for what the GPU does best. The model before it goes only when this one can be read.
    pub async fn load(&mut self, name: String, files: Files, dtype: Option<String>) -> Result<JsValue> {
        notes::take();
        let files = Rc::new(files);
        let mut small = HashMap::new();
        for path in SMALL {
            if let Some(bytes) = files.whole(path).await? {
                small.insert(path, bytes);
            }
        }
        if !small.contains_key(SMALL[0]) {
            return Err(Fault::model(format!(
                "{name}: no model_index.json. A model is a folder in the diffusers layout: model_index.json beside \
                 text_encoder, tokenizer, unet, vae and scheduler"
            )));
        }
        let mut sources = Vec::with_capacity(3);
        for component in ["text_encoder", "unet", "vae"] {
            sources.push(Remote::open(&files, component).await?);
        }
        let sources = sources.try_into().unwrap_or_else(|_| unreachable!("three components"));
        let model = Model::from_sources(&name, |path| small.get(path).cloned().map(Cow::Owned), sources)?;
        drop(small);

        // Weights are kept by name for as long as a device lives: another model gets another device.
        if self.pipeline.take().is_some() || self.gpu.memory().bytes > 0 {
            self.gpu.destroy();
            self.gpu = Rc::new(GpuExecutor::new(&self.choice).await?);
        }
        let precision = match dtype.as_deref().filter(|d| !d.is_empty()) {
            None if self.gpu.caps().f16 => Precision::F16,
            None | Some("f32") => Precision::F32,
            Some("f16") if self.gpu.caps().f16 => Precision::F16,
            Some("f16") => {
                return Err(Fault::usage("this GPU does not compute with f16 in this browser: use f32"));
            }
            Some(other) => return Err(Fault::usage(format!("dtype {other} is neither f32 nor f16"))),
        };
        let executor: Rc<dyn Executor> = self.gpu.clone();
        let mut pipeline = Pipeline::new(executor, model, precision);
        let request = Request::new("");
        let plan = pipeline.plan(&request)?;
        let [height, width] = request.size(pipeline.model())?;
        let start = Instant::now();
        let states = [pipeline.encode_text("").await?];
        drop(pipeline.denoise(&request, Some(&states), &states).await?);
        let own = pipeline.model().scheduler.sampler.to_string();
        let parameters: u64 = pipeline.model().contents.iter().map(|c| c.parameters).sum();
        let told = json!({
            "name": name, "width": width, "height": height, "sampler": own, "parameters": parameters,
            "step": pipeline.model().config.vae.factor(),
            "dtype": if precision == Precision::F16 { "f16" } else { "f32" },
            "peakBytes": plan.peak_bytes, "seconds": start.elapsed().as_secs_f64(),
        });
        self.pipeline = Some(pipeline);
        object(&told)
    }

    /// What a request takes on this device, in bytes, before anything is allocated.
    pub fn plan(&self, words: &str) -> Result<f64> {
        let pipeline = self.pipeline.as_ref().ok_or_else(no_model)?;
        let request = request::parse(words, None, pipeline.model())?;
        Ok(pipeline.plan(&request)?.peak_bytes as f64)
    }

    /// Draws. `each_step` is called with the step, their number, the seconds since the first, and every `every` steps
    /// (0: never) with a preview `{width, height, pixels}`; where it returns true the run stops.
    pub async fn generate(
        &mut self,
        words: String,
        latents: Option<Vec<f32>>,
        every: usize,
        each_step: Function,
    ) -> Result<JsValue> {
        notes::take();
        let pipeline = self.pipeline.as_mut().ok_or_else(no_model)?;
        let request = request::parse(&words, latents, pipeline.model())?;

        // 1. Words to states.
        let start = Instant::now();
        let (mut positive, mut negative) = (Vec::new(), Vec::new());
        for prompt in &request.prompts {
            positive.push(pipeline.encode_text(prompt).await?);
        }
        for prompt in request.negative_prompts.iter().filter(|_| request.guided()) {
            negative.push(pipeline.encode_text(prompt).await?);
        }
        let text = start.elapsed();

        // 2. Noise to latents.
        let start = Instant::now();
        let mut run = pipeline.denoise(&request, request.guided().then_some(&negative), &positive).await?;
        while let Some(progress) = run.step().await? {
            let looks = every > 0 && progress.step % every == 0 && progress.step < progress.steps;
            let shown = if looks { preview::rgba(&run.latents().await?) } else { None };
            if told(&each_step, &progress, shown)? {
                let Progress { step, steps, .. } = progress;
                return Err(Error::Stopped { step, steps }.into());
            }
        }
        let latents = run.latents().await?;
        drop(run);
        let denoise = start.elapsed();
        if !latents.to_f32().iter().all(|v| v.is_finite()) {
            return Err(Fault::from(Error::Broken {
                stage: "the UNet".into(),
                what: "produced values that are not finite (NaN or infinity)".into(),
                hint: "use dtype f32, or fetch the model again".into(),
            }));
        }

        // 3. Latents to pixels.
        let start = Instant::now();
        let drawn = pipeline.decode_latents(&latents).await?;
        let decode = start.elapsed();
        let pictures = Array::new();
        for (i, picture) in drawn.iter().enumerate() {
            let settings = request.settings(pipeline.model(), i)?.to_string();
            let png = picture.png(Some(&settings))?;
            let told = object(&json!({
                "width": picture.width, "height": picture.height, "seed": request.seeds()[i].to_string(),
                "settings": settings,
            }))?;
            set(&told, "pixels", &Uint8ClampedArray::from(picture.pixels.as_slice()));
            set(&told, "png", &Uint8Array::from(png.as_slice()));
            pictures.push(&told);
        }
        let ms = |d: Duration| d.as_secs_f64() * 1e3;
        let done = object(&json!({
            "timings": { "text": ms(text), "denoise": ms(denoise), "decode": ms(decode) },
            "notes": notes::take(),
        }))?;
        set(&done, "pictures", &pictures);
        Ok(done)
    }

    /// Gives the GPU back at once.
    pub fn dispose(mut self) {
        self.pipeline = None;
        self.gpu.destroy();
    }
}

fn no_model() -> Fault {
    Fault::usage("no model is loaded: call load first")
}

/// Tells JavaScript of a step; returns whether it wants the run to stop.
fn told(each_step: &Function, progress: &Progress, shown: Option<preview::Preview>) -> Result<bool> {
    let preview = match shown {
        None => JsValue::UNDEFINED,
        Some(p) => {
            let preview = object(&json!({ "width": p.width, "height": p.height }))?;
            set(&preview, "pixels", &Uint8ClampedArray::from(p.pixels.as_slice()));
            preview
        }
    };
    let arguments = Array::of4(
        &(progress.step as u32).into(),
        &(progress.steps as u32).into(),
        &progress.elapsed.as_secs_f64().into(),
        &preview,
    );
    let answer = each_step.apply(&JsValue::NULL, &arguments).map_err(Fault::thrown)?;
    Ok(answer.is_truthy())
}

fn describe(adapter: &AdapterReport) -> Value {
    // wgpu's web backend does not pass subgroups on, and browsers have no matrix instructions yet.
    let kernels = match adapter.f16 {
        true => "f16: halves in memory, sums in f32",
        false => "plain f32: what every WebGPU device runs; weights may still be halves",
    };
    json!({
        "name": adapter.name, "kind": adapter.kind, "driver": adapter.driver, "f16": adapter.f16,
        "timestamps": adapter.timestamps, "maxBuffer": adapter.max_buffer, "maxBinding": adapter.max_binding,
        "workgroupMemory": adapter.workgroup_memory, "kernels": kernels,
    })
}

fn object(value: &Value) -> Result<JsValue> {
    JSON::parse(&value.to_string()).map_err(Fault::thrown)
}

fn set(target: &JsValue, name: &str, value: &JsValue) {
    let set = Reflect::set(target.unchecked_ref::<Object>(), &name.into(), value);
    debug_assert!(set.is_ok(), "a plain object takes any field");
}
