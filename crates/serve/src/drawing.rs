//! From a request to its pictures.

use crate::problem::Problem;
use crate::{Served, Shared};
use axum::http::StatusCode;
use calotype::Request;
use calotype::words::networks;
use calotype_worker::{Job, JobId, LoraFile, Outcome};
use tokio::sync::oneshot;

/// The longest prompt, in bytes.
const PROMPT: usize = 64 << 10;

impl Served {
    /// A job for a request, once it is sure that it keeps to the limits; LoRAs are those that its prompt asks for.
    pub fn job(&self, request: Request, batches: u32, model: Option<&str>) -> Result<Job, Problem> {
        let limits = &self.config.limits;
        let pictures = (request.batch_size as u64).saturating_mul(batches.into());
        if pictures == 0 || pictures > limits.pictures as u64 {
            let why = format!("{pictures} pictures: ask for 1 to {} at once", limits.pictures);
            return Err(Problem::field("batch_size", why));
        }
        if let Some(steps) = request.steps.filter(|steps| *steps > limits.steps) {
            let why = format!("steps {steps}: at most {} are taken here", limits.steps);
            return Err(Problem::field("steps", why));
        }
        for (side, field) in [(request.width, "width"), (request.height, "height")] {
            if let Some(pixels) = side.filter(|pixels| *pixels > limits.side) {
                let why = format!("{field} {pixels}: at most {} pixels a side are drawn here", limits.side);
                return Err(Problem::field(field, why));
            }
        }
        let texts = [&request.prompts, &request.negative_prompts];
        if texts.into_iter().flatten().any(|text| text.len() > PROMPT) {
            return Err(Problem::field("prompt", format!("the prompt is longer than {PROMPT} bytes")));
        }
        request.check().map_err(|e| Problem::bad(e.to_string()))?;
        let model = model.map(|name| self.model(name).map(|model| model.name.clone())).transpose()?;
        let loras = self.loras(&request)?;
        Ok(Job { request, batches, model, loras })
    }

    /// A model by its name or A1111's title, `name [hash]`; only those that the server has.
    pub fn model(&self, name: &str) -> Result<&crate::ModelEntry, Problem> {
        let bare = name.split_once(" [").map_or(name, |(bare, _)| bare);
        let stem = |file: &str| file.rsplit_once('.').map_or(file.to_owned(), |(stem, _)| stem.to_owned());
        let found = self.config.models.iter().find(|model| model.name == bare);
        let found = found.or_else(|| self.config.models.iter().find(|model| stem(&model.name) == stem(bare)));
        found.ok_or_else(|| {
            let names: Vec<&str> = self.config.models.iter().map(|model| &*model.name).collect();
            Problem::field("model", format!("there is no model {bare:?} here: ask for {}", names.join(", ")))
        })
    }

    fn loras(&self, request: &Request) -> Result<Vec<LoraFile>, Problem> {
        let mut loras: Vec<LoraFile> = Vec::new();
        let (_, networks) = networks(&request.prompts[0]);
        for network in networks.iter().filter(|network| ["lora", "lyco"].contains(&&*network.kind)) {
            let name = network.name();
            let Some(found) = self.config.loras.iter().find(|lora| lora.name == name) else {
                let why =
                    format!("<lora:{name}>: there is no such LoRA here: GET /sdapi/v1/loras lists them");
                return Err(Problem::field("prompt", why));
            };
            let Some(scale) = network.scales().filter(|[text, unet]| text == unet).map(|[scale, _]| scale)
            else {
                let why = format!("<lora:{name}>: give one number, for the text encoder and the UNet");
                return Err(Problem::field("prompt", why));
            };
            loras.push(LoraFile { name: name.into(), file: found.file.clone(), scale });
        }
        Ok(loras)
    }
}

/// Has a job drawn and waits for it. Who goes away meanwhile wants it no more.
pub async fn draw(served: &Shared, job: Job) -> Result<Outcome, Problem> {
    let (told, outcome) = oneshot::channel();
    let done = move |outcome| drop(told.send(outcome));
    let id = served.worker.submit(job, served.config.limits.waiting, done);
    let id = id.map_err(|full| Problem::full(full.waiting))?;
    let watch = Watch { served, id: Some(id) };
    let outcome = outcome.await;
    watch.done();
    let gone = |_| Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "the worker has ended");
    let outcome = outcome.map_err(gone)?;
    match outcome.failure {
        // What is done is worth more than what is not.
        Some(failure) if outcome.pictures.is_empty() => Err(failure.into()),
        _ => Ok(outcome),
    }
}

/// Takes a job back where nobody waits for it any more.
struct Watch<'a> {
    served: &'a Shared,
    id: Option<JobId>,
}

impl Watch<'_> {
    fn done(mut self) {
        self.id = None;
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.served.worker.cancel(id);
        }
    }
}
