//! `calotype plan`.

use crate::args::{BackendName, PlanArgs};
use crate::device;
use crate::text::{self, bytes, table};
use calotype::{Backend, Budget, Caps, Leaving, MemoryPlan, Model, OpenDevice, Order, Precision, Quant};
use serde_json::json;

/// What a plan is made for.
struct PlanTarget {
    caps: Caps,
    /// How activations and weights are stored there.
    precision: Precision,
    /// The device in words.
    name: String,
    budget: Budget,
    /// The device, where there is one here.
    opened: Option<OpenDevice>,
}

impl PlanTarget {
    /// Whether it is a GPU that is here.
    fn is_adapter(&self) -> bool {
        self.opened.as_ref().is_some_and(|o| o.adapter.is_some())
    }
}

/// Prints what a run takes; allocates nothing.
pub fn run(args: &PlanArgs) -> anyhow::Result<()> {
    let mut request = args.picture.request("");
    args.picture.init.apply(&mut request, None)?;
    request.check()?;
    let found = device::find_for(&args.picture, args.device.dtype, args.json)?;
    let guess = args.device.likely_precision();
    let mut model = device::model(&found, &args.device, guess, &args.picture.lora, &[])?;
    request.size(&model)?;
    if request.sampler.is_none() && model.scheduler.own().is_err() && request.sampler(&model).is_err() {
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
        model = device::model(&found, &args.device, target.precision, &args.picture.lora, &[])?;
    }
    let order = device::settle(&request, &mut model)?;
    let plan = calotype::plan_within(&target.budget, &model, &order, target.precision, &target.caps)?;
    if args.json { print_json(&plan, &target, &model, &order) } else { print(&plan, &target, &model, &order) }
}

/// The device that `generate` would take; without a GPU, one such as most people have.
fn target(args: &PlanArgs) -> anyhow::Result<PlanTarget> {
    let flags = &args.device;
    let budget =
        |room| Budget { room, max_vram: args.memory.max_vram, tiling: args.memory.vae_tiling.tiling() };
    let auto = flags.backend == BackendName::Auto && flags.adapter.is_none();
    let gpu_here = || pollster::block_on(calotype::adapters(Backend::Auto)).iter().any(|a| a.kind != "cpu");
    if auto && !gpu_here() {
        let buffers = 2 << 30;
        let caps = Caps { f16: true, max_buffer: buffers, max_binding: buffers, ..Caps::default() };
        let precision = flags.dtype.map_or(Precision::F16, |d| d.precision());
        let name = format!("a GPU with f16 and buffers of {} (there is none here)", bytes(buffers));
        return Ok(PlanTarget { caps, precision, name, budget: budget(None), opened: None });
    }
    let opened = flags.device()?.open()?;
    let mut precision = flags.precision(&opened);
    if opened.adapter.is_none() {
        // The CPU computes and stores in f32 whatever is asked for.
        precision = Precision::F32;
    }
    Ok(PlanTarget {
        caps: opened.executor.caps(),
        precision,
        name: opened.executor.describe(),
        budget: budget(opened.executor.room()),
        opened: Some(opened),
    })
}

fn print_json(plan: &MemoryPlan, target: &PlanTarget, model: &Model, order: &Order) -> anyhow::Result<()> {
    let mut object = serde_json::to_value(plan)?;
    let limit = target.budget.limit().map(|limit| limit.bytes);
    let more = json!({
        "limit_bytes": limit,
        "fits": limit.map(|limit| plan.peak_bytes <= limit),
        "adapter": target.is_adapter().then_some(&target.name),
        "adapter_memory": target.budget.room.as_ref().map(|room| room.bytes),
        "target": target.name,
        "model": order.model,
        "refiner": order.refiner.as_ref().map(|refining| &refining.order.model),
        "width": order.width,
        "height": order.height,
        "batch_size": order.batch_size,
        "steps": order.steps,
        "sampler": order.sampler.to_string(),
        "guided": order.guided(),
        "distilled": model.recipe(),
        "dtype": device::name(target.precision),
    });
    if let (Some(object), serde_json::Value::Object(more)) = (object.as_object_mut(), more) {
        object.extend(more);
    }
    text::json(&object)
}

fn print(plan: &MemoryPlan, target: &PlanTarget, model: &Model, order: &Order) -> anyhow::Result<()> {
    let (Order { width, height, .. }, sampler) = (order, order.sampler);
    text::result(&format!(
        "{}: {width}x{height}, batch {}, {} guidance, {} steps of {sampler}, {}\non {}\n",
        order.model,
        order.batch_size,
        if order.guided() { "with" } else { "without" },
        order.steps,
        device::name(target.precision),
        target.name
    ))?;
    if let Some(recipe) = model.recipe() {
        text::result(&format!("{recipe}\n"))?;
    }
    let mut rows =
        vec![["stage", "weights", "activations", "dispatches", "GFLOP"].map(String::from).to_vec()];
    for stage in &plan.stages {
        rows.push(vec![
            format!("{}{}", if stage.refines { "refiner's " } else { "" }, stage.stage),
            bytes(stage.weight_bytes),
            bytes(stage.activation_bytes),
            stage.dispatches.to_string(),
            format!("{:.1}", stage.flops as f64 / 1e9),
        ]);
    }
    text::result(&table(&rows, &[1, 2, 3, 4]))?;
    let on_cpu = target.opened.as_ref().is_some_and(|o| o.adapter.is_none());
    let states = match on_cpu {
        true => "latents, text states, tables, readback; what threads and the loading of weights take",
        false => "latents, text states, tables, readback",
    };
    let types: Vec<String> =
        plan.weight_types.iter().map(|(name, n)| format!("{name} {}", bytes(*n))).collect();
    let mut types = types.join(", ");
    if plan.weight_types.len() > 1 && model.quant == Quant::Kept {
        let blocks = model.contents().flat_map(|c| c.blocks.iter().copied());
        types.extend(text::turned(blocks).map(|turned| format!("; {turned}")));
    }
    if plan.strategy.leaving != Leaving::Nothing {
        types.push_str("; those that are there when most is held");
    }
    let kept = plan.strategy.to_string();
    let total = [
        ("weights", plan.weight_bytes, &*types),
        ("activations", plan.activation_bytes, "one set for all stages that are there"),
        ("states", plan.state_bytes, states),
        ("peak", plan.peak_bytes, &kept),
    ];
    let rows: Vec<Vec<String>> =
        total.map(|(what, n, note)| vec![what.to_string(), bytes(n), note.to_string()]).to_vec();
    text::result(&format!("\n{}", table(&rows, &[1])))?;
    let fits = calotype::fits(plan, &target.budget, (model, order), target.precision, &target.caps);
    text::result(&match (target.budget.limit(), fits) {
        (None, _) => "whether it fits is not known: no device here tells its memory".to_string(),
        (Some(limit), Ok(())) => format!("fits: {} is {}", limit.owner, bytes(limit.bytes)),
        (Some(_), Err(why)) => format!("does not fit: {why}"),
    })
}
