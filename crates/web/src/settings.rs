//! What a page asks without a device: a picture's settings, the samplers' names, a file's checksum.

use crate::fault::Result;
use calotype_pipeline::image::{Infotext, parameters};
use calotype_pipeline::noise::Rng;
use calotype_pipeline::samplers::{Sampler, Schedule};
use serde_json::{Map, Value, json};
use sha2::Digest;
use wasm_bindgen::prelude::wasm_bindgen;

/// The settings in a PNG as JSON in the words of a request, with `text` as it stands in the file; nothing where it has
/// none.
#[wasm_bindgen]
pub fn settings(png: &[u8]) -> Result<Option<String>> {
    let Some(text) = parameters(png)? else { return Ok(None) };
    let settings = Infotext::parse(&text);
    let mut words = Map::new();
    let mut put = |name: &str, value: Option<Value>| value.map(|v| words.insert(name.into(), v));
    let number = |name: &str| settings.get(name).and_then(|v| v.parse::<f64>().ok()).map(Value::from);
    put("prompt", Some(settings.prompt.clone().into()));
    put("negativePrompt", Some(settings.negative_prompt.clone().into()));
    put("steps", number("Steps"));
    put("cfgScale", number("CFG scale"));
    put("cfgStart", number("CFG start"));
    put("cfgEnd", number("CFG end"));
    put("guidance", settings.get("Guidance").map(Value::from));
    put("freeu", settings.get("FreeU").map(Value::from));
    put("cache", settings.get("Cache").map(Value::from));
    put("sMinUncond", number("NGMS"));
    put("cfgRescale", number("CFG rescale"));
    put("eta", number("Eta"));
    put("seed", settings.seed().map(|seed| seed.to_string().into()));
    put("width", settings.size().map(|(width, _)| width.into()));
    put("height", settings.size().map(|(_, height)| height.into()));
    // A1111 writes `Euler a` and `DPM++ 2M`.
    let sampler = settings.get("Sampler").and_then(|n| n.parse::<Sampler>().ok());
    put("sampler", sampler.map(|s| s.to_string().into()));
    let schedule = settings.get("Schedule type").and_then(|n| n.parse::<Schedule>().ok());
    put("scheduler", schedule.map(|s| s.to_string().into()));
    put("samplerDialect", settings.get("Sampler dialect").map(Value::from));
    let rng = settings.get("RNG").and_then(|name| name.parse::<Rng>().ok());
    put("rng", rng.map(|rng| rng.to_string().into()));
    let list = |name: &str| {
        let numbers = settings.get(name)?.split(' ').map(str::parse::<f64>);
        numbers.collect::<std::result::Result<Vec<_>, _>>().ok().map(Value::from)
    };
    put("sigmas", list("Sigmas"));
    put("timesteps", list("Timesteps"));
    let size = settings.get("Seed resize from").and_then(|size| size.split_once('x'));
    let size = size.and_then(|(width, height)| Some([width.parse::<u32>().ok()?, height.parse().ok()?]));
    put("seedResizeFrom", size.map(|size| Value::from(size.to_vec())));
    put("sNoise", number("Sigma noise"));
    put("sChurn", number("Sigma churn"));
    put("sTmin", number("Sigma tmin"));
    put("sTmax", number("Sigma tmax"));
    put("variationSeed", settings.get("Variation seed").map(Value::from));
    put("variationStrength", number("Variation seed strength"));
    put("promptStyle", settings.get("Prompt style").map(Value::from));
    put("emphasis", settings.get("Emphasis").map(Value::from));
    put("clipSkip", number("Clip skip"));
    put("model", settings.get("Model").map(Value::from));
    put("text", Some(text.into()));
    // Noise levels one by one say how many steps there are.
    if words.contains_key("sigmas") || words.contains_key("timesteps") {
        words.remove("steps");
    }
    Ok(Some(Value::Object(words).to_string()))
}

/// The names that `sampler` takes, as a JSON array.
#[wasm_bindgen]
pub fn samplers() -> String {
    json!(Sampler::ALL.iter().map(|s| s.name()).collect::<Vec<_>>()).to_string()
}

/// The names that `scheduler` takes, as a JSON array.
#[wasm_bindgen]
pub fn schedules() -> String {
    json!(Schedule::names()).to_string()
}

/// SHA-256 of a file that comes in pieces.
#[wasm_bindgen]
#[derive(Default)]
pub struct Sha256(sha2::Sha256);

#[wasm_bindgen]
impl Sha256 {
    /// Of nothing yet.
    #[wasm_bindgen(constructor)]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a piece.
    pub fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    /// The checksum in lower-case hexadecimal. It ends here.
    pub fn finish(self) -> String {
        self.0.finalize().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
