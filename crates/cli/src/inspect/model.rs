//! A model: its components, and how it is drawn.

use super::count;
use crate::text::{self, bytes, table};
use calotype::samplers::SchedulerFile;
use calotype::{Contents, Model};
use serde_json::json;

/// Prints what a model holds.
pub fn print(model: &Model, license: Option<&str>, json: bool) -> anyhow::Result<()> {
    if json { print_json(model, license) } else { print_text(model, license) }
}

/// The classes of the components, the only ones that a model can be opened with.
fn class(component: &str) -> &'static str {
    match component {
        "text_encoder" => "CLIPTextModel",
        "text_encoder_2" => "CLIPTextModelWithProjection",
        "unet" => "UNet2DConditionModel",
        _ => "AutoencoderKL",
    }
}

/// The model's own scheduler, with the sampler that draws it, or with why none does.
fn scheduler(scheduler: &SchedulerFile) -> String {
    let class = scheduler.class();
    match (scheduler.own(), scheduler.nearest()) {
        (Ok(own), _) => format!("{class} (--sampler {})", own.sampler),
        (Err(_), Ok(nearest)) => {
            format!("{class} (not implemented as it is: --sampler {nearest} comes nearest)")
        }
        (Err(_), Err(_)) => format!("{class} (not implemented, nor any that could stand in for it)"),
    }
}

fn sum(model: &Model, of: impl Fn(&Contents) -> u64) -> u64 {
    model.contents().map(of).sum()
}

fn print_json(model: &Model, license: Option<&str>) -> anyhow::Result<()> {
    let (config, (own, scheduler)) = (&model.config, model.drawn_with());
    let components = model.contents().map(|c| {
        json!({
            "name": c.component,
            "class": class(c.component),
            "tensors": c.tensors,
            "parameters": c.parameters,
            "bytes": c.bytes,
            "dtypes": c.dtypes,
        })
    });
    text::json(&json!({
        "name": model.name,
        "class": config.index.class,
        "license": license,
        "components": components.collect::<Vec<_>>(),
        "parameters": sum(model, |c| c.parameters),
        "bytes": sum(model, |c| c.bytes),
        "prediction_type": scheduler.prediction_type(),
        "scheduler": scheduler.class(),
        // None where it is not implemented.
        "sampler": scheduler.own().ok().map(|own| own.sampler.to_string()),
        "width": config.default_size().map(|s| s[1]),
        "height": config.default_size().map(|s| s[0]),
        "size_multiple": config.vae.factor(),
        "vocabulary": config.texts[0].clip.vocab_size,
        "prompt_tokens": config.tokens(),
        "text_hidden_size": config.states_width(),
        "latent_channels": config.vae.latent_channels,
        "steps": own.steps,
        "cfg_scale": own.cfg_scale,
        "distilled": model.recipe(),
        "few_steps": own.few_steps.as_ref().map(|few| {
            json!({ "lora": few.lora, "scale": few.scale, "steps": few.steps, "cfg_scale": few.cfg_scale })
        }),
    }))
}

fn print_text(model: &Model, license: Option<&str>) -> anyhow::Result<()> {
    let config = &model.config;
    let head = ["component", "class", "parameters", "bytes", "tensors"];
    let mut rows = vec![head.map(String::from).to_vec()];
    for c in model.contents() {
        let dtypes: Vec<String> = c.dtypes.iter().map(|(dtype, n)| format!("{n} {dtype}")).collect();
        rows.push(vec![
            c.component.to_string(),
            class(c.component).to_string(),
            count(c.parameters),
            bytes(c.bytes),
            dtypes.join(", "),
        ]);
    }
    let (all, size) = (sum(model, |c| c.parameters), sum(model, |c| c.bytes));
    rows.push(vec!["all".into(), String::new(), count(all), bytes(size), String::new()]);
    text::result(&format!("{}: {}\n\n{}\n", model.name, config.index.class, table(&rows, &[2, 3])))?;

    let native = config.default_size().map_or("not said".into(), |[h, w]| format!("{w}x{h}"));
    let (own, own_scheduler) = model.drawn_with();
    let mut drawn = format!("{} steps, cfg scale {}", own.steps, own.cfg_scale);
    if let Some(few) = &own.few_steps {
        drawn = format!("{} steps, cfg scale {} ({}); else {drawn}", few.steps, few.cfg_scale, few.lora);
    }
    let facts = [
        ("prediction type", own_scheduler.prediction_type().to_string()),
        ("scheduler", scheduler(&own_scheduler)),
        ("drawn in", drawn),
        ("native size", format!("{native}, in multiples of {}", config.vae.factor())),
        ("vocabulary", format!("{} tokens, {} a prompt", config.texts[0].clip.vocab_size, config.tokens())),
    ];
    let mut facts: Vec<_> = facts.map(|(name, value)| vec![name.to_string(), value]).into();
    facts.extend(model.recipe().map(|recipe| vec!["few steps".into(), recipe.to_string()]));
    let turned = text::turned(model.contents().flat_map(|c| c.blocks.iter().copied()));
    facts.extend(turned.map(|turned| vec!["on a GPU".into(), turned]));
    facts.extend(license.map(|license| vec!["licence".into(), license.into()]));
    text::result(&table(&facts, &[]))
}
