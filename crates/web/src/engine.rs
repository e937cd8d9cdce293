use crate::fault::{Fault, Result};
use crate::files::{Files, LentFolder};
use crate::opened::Opened;
use crate::sorted::Sorted;
use crate::{notes, request};
use calotype_gpu::{AdapterReport, Choice, GpuExecutor};
use calotype_graph::{Error as GraphError, Executor, Precision, Quant};
use calotype_pipeline::{Denoising, Error, Hints, Order, Picture, Pipeline, Predicts, Progress, Request};
use js_sys::{Array, Float32Array, Function, JSON, Object, Reflect, Uint8Array, Uint8ClampedArray};
use serde::Deserialize;
use serde_json::{Value, json};
use std::ops::ControlFlow;
use std::rc::Rc;
use wasm_bindgen::prelude::*;
use web_time::{Duration, Instant};

/// A GPU, and the model on it.
#[wasm_bindgen]
pub struct Engine {
    choice: Choice,
    gpu: Rc<GpuExecutor>,
    model: Option<Loaded>,
}

struct Loaded {
    opened: Opened,
    pipeline: Pipeline,
    /// Whether it draws in its few-steps form, where it has one.
    few_steps: bool,
}

/// How a model is loaded.
#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LoadOptions {
    /// `f32`, `f16`, or what the GPU does best.
    dtype: Option<String>,
    /// Weight matrices in blocks: `q8_0`, `q4_0`, or `none`.
    quant: Option<String>,
    /// Whether a model that has a few-steps form draws in it; it does if nothing is said.
    few_steps: Option<bool>,
    /// What a model predicts whose files do not say it, or say it wrong: `eps`, `v` or `sample`.
    prediction: Option<String>,
    /// The size of the first picture, for which all is made ready; the model's own if nothing is said.
    width: Option<usize>,
    height: Option<usize>,
}

/// A LoRA of the model, as JavaScript names it.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LoraScale {
    name: String,
    scale: f32,
}

impl LoadOptions {
    /// Whether to fetch a model's halves where it has them too: they are half the download, and f32 may be made of them.
    fn halves(&self) -> bool {
        self.dtype.as_deref() != Some("f32")
    }

    fn hints(&self) -> Result<Hints> {
        let Some(name) = &self.prediction else { return Ok(Hints::default()) };
        let found = Predicts::ALL.iter().find(|(known, _)| known == name);
        let names = || Predicts::ALL.map(|(name, _)| name).join(", ");
        let wrong = || Fault::usage(format!("prediction {name} is none of {}", names()));
        Ok(Hints { prediction: Some(found.ok_or_else(wrong)?.1), ..Hints::default() })
    }
}

impl Loaded {
    /// What JavaScript is told of it; `order` is of a picture that says nothing, `added` whether the files that were opened
    /// last were added to the model before them.
    fn told(&self, (order, peak): (&Order, u64), added: bool, took: Duration) -> Result<JsValue> {
        let (model, f16) = (self.pipeline.model(), self.pipeline.precision() == Precision::F16);
        // Its digits, and not those of the nearest f64.
        let digits = |scale: &f32| scale.to_string().parse::<f64>().unwrap_or_default();
        let lora = |(name, scale): &(String, f32)| json!({ "name": name, "scale": digits(scale) });
        let loras: Vec<Value> = model.loras.iter().map(lora).collect();
        object(&json!({
            "name": model.name, "added": added, "replaced": self.opened.replaced(), "loras": loras,
            "embeddings": self.opened.embeddings.keys().collect::<Vec<_>>(),
            "width": order.width, "height": order.height, "sampler": order.sampler.to_string(),
            "parameters": model.contents().map(|c| c.parameters).sum::<u64>(),
            "step": model.config.vae.factor(), "dtype": if f16 { "f16" } else { "f32" },
            "steps": order.steps, "cfgScale": order.cfg_scale,
            "fewSteps": model.defaults.few_steps.as_ref().map(|_| self.few_steps),
            "peakBytes": peak, "seconds": took.as_secs_f64(),
            "notes": notes::take(),
        }))
    }
}

#[wasm_bindgen]
impl Engine {
    /// Opens the GPU that the browser means by `power_preference`: `low-power`, or anything else for the fastest.
    pub async fn create(power_preference: Option<String>) -> Result<Engine> {
        let low_power = power_preference.as_deref() == Some("low-power");
        let choice = Choice { low_power, ..Choice::default() };
        let gpu = Rc::new(GpuExecutor::new(&choice).await?);
        Ok(Self { choice, gpu, model: None })
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

    /// Whether there is a model to draw with.
    pub fn loaded(&self) -> bool {
        self.model.is_some()
    }

    /// Opens a model folder, uploads its weights and has the kernels for a picture of its own size compiled, which may go
    /// on after this. `options` are JSON: `dtype` (`f32` or `f16`), `quant` (`q8_0`, `q4_0` or `none`), `fewSteps` (whether to)
    /// and `prediction`. The model before it goes only when this one's files are found to fit together.
    pub async fn load(&mut self, name: String, files: Files, options: &str) -> Result<JsValue> {
        notes::take();
        let options: LoadOptions = serde_json::from_str(options)?;
        let mut opened = Opened::folder(name, files, options.halves()).await?;
        opened.hints = options.hints()?;
        self.start(opened, false, options).await
    }

    /// Opens files by themselves, `names` among `files`, each for what its tensors are called: a model, components in the
    /// place of the loaded model's, LoRAs over it. `name` is what pictures' settings call a model of their own.
    pub async fn open(
        &mut self,
        mut names: Vec<String>,
        name: Option<String>,
        files: Files,
        options: &str,
    ) -> Result<JsValue> {
        notes::take();
        let options: LoadOptions = serde_json::from_str(options)?;
        let files = Rc::new(files);
        names.sort();
        let sorted = Sorted::of(&LentFolder::new(files.clone(), ""), &names).await?;
        let only_loras = sorted.models.is_empty() && sorted.embeddings.is_empty();
        let loaded = self.model.as_ref().map(|model| &model.opened);
        let (mut opened, added) = Opened::of(sorted, loaded, &files).await?;
        if only_loras {
            return self.lay(opened).await;
        }
        if !added {
            opened.hints = options.hints()?;
            name.into_iter().for_each(|name| opened.call(name));
        }
        self.start(opened, added, options).await
    }

    /// Has these of the model's LoRAs, a JSON array of `{name, scale}`, in this order, and no others.
    #[wasm_bindgen(js_name = setLoras)]
    pub async fn set_loras(&mut self, loras: String) -> Result<JsValue> {
        notes::take();
        let wanted: Vec<LoraScale> = serde_json::from_str(&loras)?;
        let mut opened = self.model.as_ref().ok_or_else(no_model)?.opened.clone();
        let known = std::mem::take(&mut opened.loras);
        for LoraScale { name, scale } in wanted {
            let found = known.iter().find(|(own, ..)| *own == name);
            let (_, lora, _) = found.ok_or_else(|| Fault::usage(format!("the model has no LoRA {name}")))?;
            opened.loras.push((name, lora.clone(), scale));
        }
        self.lay(opened).await
    }

    /// Has the loaded model's LoRAs as `opened` has them.
    async fn lay(&mut self, opened: Opened) -> Result<JsValue> {
        let model = self.model.as_mut().ok_or_else(no_model)?;
        model.pipeline.set_loras(&opened.loras).await?;
        model.opened = opened;
        let request = Request { few_steps: Some(model.few_steps), ..Request::default() };
        let order = request.settle(model.pipeline.model())?;
        let peak = model.pipeline.plan(&order)?.peak_bytes;
        model.told((&order, peak), true, Duration::ZERO)
    }

    async fn start(&mut self, opened: Opened, added: bool, options: LoadOptions) -> Result<JsValue> {
        let mut model = opened.model().await?;
        let quant = options
            .quant
            .map(|text| text.parse::<Quant>().map_err(|why| Fault::usage(format!("quant {text}: {why}"))));
        model.quant = quant.transpose()?.unwrap_or_default();
        let precision = self.precision(options.dtype.as_deref().unwrap_or_default())?;
        let few_steps = options.few_steps != Some(false) && model.defaults.few_steps.is_some();
        let own = Request { few_steps: Some(few_steps), ..Request::default() };
        let first = Request { width: options.width, height: options.height, ..own.clone() }.settle(&model)?;
        let own = own.settle(&model)?;
        model.take_form(few_steps)?;
        let plan = |order| calotype_pipeline::plan(&model, order, precision, &self.gpu.caps());
        // Before the model that is there goes.
        let mut peak = plan(&first)?.peak_bytes;
        if (own.width, own.height) != (first.width, first.height) {
            peak = plan(&own)?.peak_bytes;
        }

        // Every model gets a device of its own: what the one before it broke or left is no concern of this one's.
        self.model = None;
        if self.gpu.memory().allocations > 0 {
            self.gpu.destroy();
            self.gpu = Rc::new(GpuExecutor::new(&self.choice).await?);
        }
        let executor: Rc<dyn Executor> = self.gpu.clone();
        let mut pipeline = Pipeline::new(executor, model, precision);
        let start = Instant::now();
        pipeline.prepare_for(&first).await?;
        let model = Loaded { opened, pipeline, few_steps };
        let told = model.told((&own, peak), added, start.elapsed());
        self.model = Some(model);
        told
    }

    fn precision(&self, dtype: &str) -> Result<Precision> {
        match (dtype, self.gpu.caps().f16) {
            ("" | "f16", true) => Ok(Precision::F16),
            ("" | "f32", _) => Ok(Precision::F32),
            ("f16", false) => {
                Err(Fault::usage("this GPU does not compute with f16 in this browser: use f32"))
            }
            _ => Err(Fault::usage(format!("dtype {dtype} is neither f32 nor f16"))),
        }
    }

    /// What a request takes on this device, in bytes, before anything is allocated.
    pub fn plan(&self, words: &str) -> Result<f64> {
        let Loaded { pipeline, few_steps, .. } = self.model.as_ref().ok_or_else(no_model)?;
        let order = request::parse(words, None, Some(*few_steps), pipeline.model())?;
        Ok(pipeline.plan(&order)?.peak_bytes as f64)
    }

    /// A prompt as the UNet attends to it: `[T, hidden]`, row by row.
    #[wasm_bindgen(js_name = encodeText)]
    pub async fn encode_text(&mut self, prompt: String) -> Result<Vec<f32>> {
        let Loaded { pipeline, .. } = self.model.as_mut().ok_or_else(no_model)?;
        Ok(pipeline.encode_text(&prompt).await?.states.to_f32())
    }

    /// Brings what a request takes to the device and has its kernels compiled, which may go on after this. A request that
    /// is refused is refused before anything is allocated for it.
    pub async fn prepare(&mut self, words: String, latents: Option<Vec<f32>>) -> Result<()> {
        let Loaded { pipeline, few_steps, .. } = self.model.as_mut().ok_or_else(no_model)?;
        let order = request::parse(&words, latents, Some(*few_steps), pipeline.model())?;
        pipeline.plan(&order)?;
        let prepared = pipeline.prepare_for(&order).await;
        Ok(self.after(prepared)?)
    }

    /// What came of using the device: nothing more comes from one that failed, and the next load opens another.
    fn after<T>(&mut self, used: calotype_pipeline::Result<T>) -> calotype_pipeline::Result<T> {
        if let Err(Error::Graph(GraphError::OutOfMemory { .. } | GraphError::Device(_))) = used {
            self.model = None;
        }
        used
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
        let Loaded { pipeline, few_steps, .. } = self.model.as_mut().ok_or_else(no_model)?;
        let order = request::parse(&words, latents, Some(*few_steps), pipeline.model())?;
        let (mut thrown, mut fitting) = (None, Duration::ZERO);
        let output = async {
            if every > 0 {
                let start = Instant::now();
                pipeline.prepare_previews(&order).await?;
                fitting = start.elapsed();
            }
            let each_step = async |at: &Progress, run: &Denoising<'_>| {
                let looks = every > 0 && at.step.is_multiple_of(every) && at.step < at.steps;
                let shown = if looks { run.preview().await? } else { None };
                let stops = told(&each_step, at, shown).unwrap_or_else(|fault| {
                    thrown = Some(fault);
                    true
                });
                Ok(if stops { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
            };
            pipeline.text_to_image(&order, each_step).await
        }
        .await;
        if let Some(fault) = thrown {
            return Err(fault);
        }
        let output = self.after(output)?;
        let pictures = Array::new();
        for (i, picture) in output.pictures.iter().enumerate() {
            let settings = order.settings(i).to_string();
            let png = picture.png(Some(&settings))?;
            let told = object(&json!({
                "width": picture.width, "height": picture.height, "seed": output.seeds[i].to_string(),
                "settings": settings,
            }))?;
            set(&told, "pixels", &Uint8ClampedArray::from(picture.pixels.as_slice()));
            set(&told, "png", &Uint8Array::from(png.as_slice()));
            pictures.push(&told);
        }
        let (ms, t) = (|d: Duration| d.as_secs_f64() * 1e3, output.timings);
        let done = object(&json!({
            "timings": {
                "load": ms(t.load + fitting), "text": ms(t.text), "denoise": ms(t.denoise), "decode": ms(t.decode),
            },
            "notes": notes::take(),
        }))?;
        set(&done, "pictures", &pictures);
        set(&done, "latents", &Float32Array::from(output.latents.to_f32().as_slice()));
        Ok(done)
    }

    /// Gives the GPU back at once.
    pub fn dispose(mut self) {
        self.model = None;
        self.gpu.destroy();
    }
}

fn no_model() -> Fault {
    Fault::usage("no model is loaded: call load first")
}

/// Tells JavaScript of a step; returns whether it wants the run to stop.
fn told(each_step: &Function, progress: &Progress, shown: Option<Picture>) -> Result<bool> {
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
