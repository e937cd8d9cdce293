//! `calotype plan`.

use crate::args::{BackendName, PlanArgs};
use crate::device;
use crate::memory::{self, Memory};
use crate::text::{self, bytes, table};
use calotype::{Backend, Caps, MemoryPlan, Model, Opened, Precision, Request};
use serde_json::json;

/// What a plan is made for.
struct Target {
    caps: Caps,
    /// How activations and weights are stored there.
    precision: Precision,
    /// The device in words.
    name: String,
    memory: Option<Memory>,
    /// The device, where there is one here.
    opened: Option<Opened>,
}

impl Target {
    /// Whether it is a GPU that is here.
    fn is_adapter(&self) -> bool {
        self.opened.as_ref().is_some_and(|o| o.adapter.is_some())
    }
}

/// Prints what a run takes; allocates nothing.
pub fn run(args: &PlanArgs) -> anyhow::Result<()> {
    let mut request = args.picture.request("");
    request.check().map_err(calotype::Error::from)?;
    let name = args.picture.model.as_deref();
    let place = device::find(name, &args.picture.hub, args.device.dtype, args.json)?;
    let wishes = args.picture.wishes("");
    let guess = args.device.likely_precision();
    let mut model = device::model(&place, guess, &args.picture, &wishes, &mut request)?;
    request.size(&model).map_err(calotype::Error::from)?;
    if request.scheduler(&model).is_err() && request.sampler.is_none() {
        // What a run takes is next to the same with any sampler.
        let nearest = model.scheduler.nearest().map_err(calotype::Error::from)?;
        let class = model.scheduler.class();
        text::note(&format!(
            "the model's own scheduler, {class}, is not implemented as it is: planned for --sampler {nearest}"
        ));
        request.sampler = Some(nearest);
    }
    let target = target(args)?;
    if target.precision != guess {
        model = device::model(&place, target.precision, &args.picture, &wishes, &mut request)?;
    }
    let plan = match &target.opened {
        Some(opened) => memory::plan(opened, &model, &request, target.precision)?,
        None => {
            calotype::plan(&model, &request, target.precision, &target.caps).map_err(calotype::Error::from)?
        }
    };
    if args.json {
        print_json(&plan, &target, &model, &request)
    } else {
        print(&plan, &target, &model, &request)
    }
}

/// The device that `generate` would take; without a GPU, one such as most people have.
fn target(args: &PlanArgs) -> anyhow::Result<Target> {
    let flags = &args.device;
    let auto = flags.backend == BackendName::Auto && flags.adapter.is_none();
    let gpu_here = || pollster::block_on(calotype::adapters(Backend::Auto)).iter().any(|a| a.kind != "cpu");
    if auto && !gpu_here() {
        let buffers = 2 << 30;
        let caps = Caps { f16: true, max_buffer: buffers, max_binding: buffers, ..Caps::default() };
        let precision = flags.dtype.map_or(Precision::F16, |d| d.precision());
        let name = format!("a GPU with f16 and buffers of {} (there is none here)", bytes(buffers));
        return Ok(Target { caps, precision, name, memory: None, opened: None });
    }
    let opened = flags.device()?.open()?;
    let mut precision = flags.precision(&opened);
    if opened.adapter.is_none() {
        // The CPU computes and stores in f32 whatever is asked for.
        precision = Precision::F32;
    }
    let mut name = opened.executor.describe();
    if opened.adapter.is_none() {
        name.push_str(": the least it can take, for it allocates as it goes");
    }
    Ok(Target {
        caps: opened.executor.caps(),
        precision,
        name,
        memory: Memory::of(opened.adapter.as_ref()),
        opened: Some(opened),
    })
}

fn print_json(plan: &MemoryPlan, target: &Target, model: &Model, request: &Request) -> anyhow::Result<()> {
    let mut object = serde_json::to_value(plan)?;
    let [height, width] = request.size(model).map_err(calotype::Error::from)?;
    let more = json!({
        "fits": target.memory.as_ref().map(|m| plan.peak_bytes <= m.bytes),
        "adapter": target.is_adapter().then_some(&target.name),
        "adapter_memory": target.memory.as_ref().map(|m| m.bytes),
        "target": target.name,
        "model": model.name,
        "width": width,
        "height": height,
        "batch_size": request.batch_size,
        "steps": request.steps,
        "sampler": request.scheduler(model).map_err(calotype::Error::from)?.sampler.to_string(),
        "guided": request.guided(),
        "dtype": device::name(target.precision),
    });
    if let (Some(object), serde_json::Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    text::json(&object)
}

fn print(plan: &MemoryPlan, target: &Target, model: &Model, request: &Request) -> anyhow::Result<()> {
    let [height, width] = request.size(model).map_err(calotype::Error::from)?;
    let sampler = request.scheduler(model).map_err(calotype::Error::from)?.sampler;
    text::result(&format!(
        "{}: {width}x{height}, batch {}, {} guidance, {} steps of {sampler}, {}\non {}\n",
        model.name,
        request.batch_size,
        if request.guided() { "with" } else { "without" },
        request.steps,
        device::name(target.precision),
        target.name
    ))?;
    let mut rows =
        vec![["stage", "weights", "activations", "dispatches", "GFLOP"].map(String::from).to_vec()];
    for stage in &plan.stages {
        rows.push(vec![
            stage.name.clone(),
            bytes(stage.weight_bytes),
            bytes(stage.activation_bytes),
            stage.dispatches.to_string(),
            format!("{:.1}", stage.flops as f64 / 1e9),
        ]);
    }
    text::result(&table(&rows, &[1, 2, 3, 4]))?;
    let total = [
        ("weights", plan.weight_bytes, ""),
        ("activations", plan.activation_bytes, "stages after the text encoder share theirs"),
        ("states", plan.state_bytes, "latents, text states, tables, readback"),
        ("peak", plan.peak_bytes, ""),
    ];
    let rows: Vec<Vec<String>> =
        total.map(|(what, n, note)| vec![what.to_string(), bytes(n), note.to_string()]).to_vec();
    text::result(&format!("\n{}", table(&rows, &[1])))?;
    text::result(&match &target.memory {
        None => "whether it fits is not known: no device here tells its memory".to_string(),
        Some(m) => {
            match memory::check(plan, Some(m), target.is_adapter() && target.precision == Precision::F32) {
                Ok(()) => format!("fits: {} is {}", m.owner, bytes(m.bytes)),
                Err(why) => format!("does not fit: {why}"),
            }
        }
    })
}
