//! Settings as other programs than A1111 write them, in A1111's words: ComfyUI's graphs (nodes.py), InvokeAI's metadata
//! (invokeai/app/invocations/metadata.py), NovelAI's comment.

use super::Infotext;
use serde_json::{Map, Value};

/// The settings in a file's texts, by their keywords: A1111's own (which stable-diffusion.cpp and Forge write too) before
/// others'.
pub fn settings(texts: &[(String, String)]) -> Option<(Infotext, Vec<String>)> {
    let of = |keyword: &str| texts.iter().find(|(key, _)| key == keyword).map(|(_, text)| text.as_str());
    let json = |keyword: &str| serde_json::from_str::<Map<String, Value>>(of(keyword)?).ok();
    if let Some(text) = of(super::KEYWORD) {
        return Some(Infotext::parse_all(text));
    }
    if let Some(meta) = json("invokeai_metadata") {
        return Some((invoke(&meta), Vec::new()));
    }
    if let Some(comment) = json("Comment").filter(|comment| comment.contains_key("uc")) {
        return Some((novel(of("Description"), &comment), Vec::new()));
    }
    json("prompt").map(|graph| comfy(&graph))
}

/// Text or number as it is written.
fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Copies values to A1111's names.
fn take(settings: &mut Infotext, from: &Map<String, Value>, names: &[(&str, &str)]) {
    for (theirs, name) in names {
        from.get(*theirs).and_then(plain).into_iter().for_each(|value| settings.push(name, value));
    }
}

fn invoke(meta: &Map<String, Value>) -> Infotext {
    let text = |name: &str| meta.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
    let mut settings = Infotext {
        prompt: text("positive_prompt"),
        negative_prompt: text("negative_prompt"),
        pairs: Vec::new(),
    };
    take(&mut settings, meta, &[("steps", "Steps")]);
    let scheduler = text("scheduler");
    let (sampler, karras) = scheduler.strip_suffix("_k").map_or((&*scheduler, false), |name| (name, true));
    let sampler = match sampler {
        "dpmpp_2s" => "dpmpp_2s_ancestral",
        "kdpm_2" => "dpm_2",
        "kdpm_2_a" => "dpm_2_ancestral",
        "euler_a" => "euler_ancestral",
        other => other,
    };
    settings.push("Sampler", sampler);
    if karras {
        settings.push("Schedule type", "Karras");
    }
    take(&mut settings, meta, &[("cfg_scale", "CFG scale"), ("seed", "Seed")]);
    if let (Some(width), Some(height)) =
        (meta.get("width").and_then(plain), meta.get("height").and_then(plain))
    {
        settings.push("Size", format!("{width}x{height}"));
    }
    let model = meta.get("model").and_then(|model| plain(model.get("name").or(model.get("model_name"))?));
    model.into_iter().for_each(|name| settings.push("Model", name));
    take(
        &mut settings,
        meta,
        &[("strength", "Denoising strength"), ("cfg_rescale_multiplier", "CFG rescale")],
    );
    // InvokeAI counts layers that are left out.
    if let Some(skipped) = meta.get("clip_skip").and_then(Value::as_u64).filter(|n| *n > 0) {
        settings.push("Clip skip", skipped.saturating_add(1));
    }
    settings.push("RNG", "CPU");
    let loras = meta.get("loras").and_then(Value::as_array).into_iter().flatten().filter_map(|lora| {
        let model = lora.get("model").or(lora.get("lora"))?;
        Some(format!(
            "{}:{}",
            plain(model.get("name").or(model.get("model_name"))?)?,
            plain(lora.get("weight")?)?
        ))
    });
    push_loras(&mut settings, loras.collect());
    settings.push("Sampler dialect", "diffusers");
    settings.push("Prompt style", "compel");
    settings.push("Version", "InvokeAI");
    settings
}

fn push_loras(settings: &mut Infotext, loras: Vec<String>) {
    if !loras.is_empty() {
        settings.push("Loras", loras.join(", "));
    }
}

/// As A1111 imports it (modules/images.py): clip skip 2, ENSD 31337.
fn novel(description: Option<&str>, comment: &Map<String, Value>) -> Infotext {
    let text = |name: &str| comment.get(name).and_then(Value::as_str).unwrap_or_default().to_string();
    let prompt = description.map_or_else(|| text("prompt"), String::from);
    let mut settings = Infotext { prompt, negative_prompt: text("uc"), pairs: Vec::new() };
    take(&mut settings, comment, &[("steps", "Steps")]);
    let sampler = text("sampler");
    settings.push("Sampler", sampler.strip_prefix("k_").unwrap_or(&sampler));
    take(
        &mut settings,
        comment,
        &[("noise_schedule", "Schedule type"), ("scale", "CFG scale"), ("seed", "Seed")],
    );
    if let (Some(width), Some(height)) =
        (comment.get("width").and_then(plain), comment.get("height").and_then(plain))
    {
        settings.push("Size", format!("{width}x{height}"));
    }
    take(&mut settings, comment, &[("strength", "Denoising strength")]);
    settings.push("Clip skip", 2);
    settings.push("ENSD", 31337);
    settings.push("Version", "NovelAI");
    settings
}

/// How many links are followed from a sampler: graphs may go in circles.
const LONGEST: usize = 64;

type Graph = Map<String, Value>;

/// A graph's first sampler, with what leads to it; and the classes of nodes on the way that change more than is told here.
fn comfy(graph: &Graph) -> (Infotext, Vec<String>) {
    let class = |node: &Value| node.get("class_type").and_then(Value::as_str).unwrap_or_default().to_string();
    let mut left = Vec::new();
    let mut settings = Infotext::default();
    let mut samplers = graph.values().filter(|node| class(node).starts_with("KSampler"));
    let Some(sampler) = samplers.next() else {
        return (settings, vec!["the graph has no KSampler node".into()]);
    };
    if samplers.next().is_some() {
        left.push("further KSampler nodes".into());
    }
    let inputs = sampler.get("inputs").and_then(Value::as_object).cloned().unwrap_or_default();
    settings.prompt = text(graph, inputs.get("positive"), &mut left);
    settings.negative_prompt = text(graph, inputs.get("negative"), &mut left);
    let inputs: Graph = inputs.into_iter().map(|(name, value)| (name, resolved(graph, value))).collect();
    take(
        &mut settings,
        &inputs,
        &[("steps", "Steps"), ("sampler_name", "Sampler"), ("scheduler", "Schedule type")],
    );
    take(&mut settings, &inputs, &[("cfg", "CFG scale"), ("seed", "Seed"), ("noise_seed", "Seed")]);
    let size = node(graph, inputs.get("latent_image")).and_then(|node| {
        let side = |name: &str| plain(&resolved(graph, node.get("inputs")?.get(name)?.clone()));
        Some(format!("{}x{}", side("width")?, side("height")?))
    });
    size.into_iter().for_each(|size| settings.push("Size", size));
    let (mut at, mut loras) = (node(graph, inputs.get("model")), Vec::new());
    for _ in 0..LONGEST {
        let Some(inputs) = at.and_then(|node| node.get("inputs")) else { break };
        if let Some(name) = inputs.get("ckpt_name").or(inputs.get("unet_name")).and_then(plain) {
            settings.push("Model", name);
            break;
        }
        match (inputs.get("lora_name").and_then(plain), inputs.get("strength_model").and_then(plain)) {
            (Some(name), Some(scale)) => loras.insert(0, format!("{}:{scale}", stem(&name))),
            _ => left.extend(at.map(|node| format!("the node {}", class(node)))),
        }
        at = node(graph, inputs.get("model"));
    }
    if inputs.get("denoise").and_then(Value::as_f64).is_some_and(|share| share < 1.0) {
        take(&mut settings, &inputs, &[("denoise", "Denoising strength")]);
    }
    settings.push("RNG", "CPU");
    push_loras(&mut settings, loras);
    settings.push("Sampler dialect", "comfy");
    settings.push("Prompt style", "comfy");
    settings.push("Version", "ComfyUI");
    (settings, left)
}

/// A file's name without its ending.
fn stem(name: &str) -> &str {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    name.rsplit_once('.').map_or(name, |(stem, _)| stem)
}

/// The node that a link `[id, output]` leads to.
fn node<'a>(graph: &'a Graph, link: Option<&Value>) -> Option<&'a Value> {
    graph.get(link?.as_array()?.first()?.as_str()?)
}

/// A value, or that of the node which gives it.
fn resolved(graph: &Graph, value: Value) -> Value {
    let given = node(graph, Some(&value)).and_then(|node| {
        let inputs = node.get("inputs")?;
        ["value", "seed", "int", "float", "string", "text"].iter().find_map(|name| inputs.get(*name)).cloned()
    });
    given.filter(|given| !given.is_array()).unwrap_or(value)
}

/// The text that a conditioning is made of, through nodes that pass it on.
fn text(graph: &Graph, link: Option<&Value>, left: &mut Vec<String>) -> String {
    let mut at = node(graph, link);
    for _ in 0..LONGEST {
        let Some(inputs) = at.and_then(|node| node.get("inputs")).and_then(Value::as_object) else { break };
        if let Some(text) = inputs.get("text").or(inputs.get("text_g")) {
            return plain(&resolved(graph, text.clone())).unwrap_or_default();
        }
        let class = at.and_then(|node| node.get("class_type")).and_then(Value::as_str);
        left.extend(class.map(|class| format!("the node {class}")));
        at = inputs.values().find_map(|value| node(graph, Some(value)));
    }
    String::new()
}
