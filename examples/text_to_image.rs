//! A picture from a prompt: `cargo run --release --example text_to_image MODEL "a red apple" apple.png`.

use calotype::{Pipeline, Request};
use std::ops::ControlFlow;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what: &str| arguments.next().ok_or(format!("missing {what}: MODEL PROMPT FILE"));
    let (model, prompt, file) = (next("the model folder")?, next("the prompt")?, next("the file to write")?);

    let mut pipeline = Pipeline::from_pretrained(&model)?;
    println!("{} on {}", pipeline.model().name, pipeline.executor().describe());

    let request = Request { seed: 42, ..Request::new(prompt) };
    let output = pipeline.text_to_image_with(&request, |progress, _| {
        println!("step {} of {}, {:.1?}", progress.step, progress.steps, progress.elapsed);
        ControlFlow::Continue(())
    })?;
    std::fs::write(&file, output.pictures[0].png(None)?)?;
    println!("{file}: {:?}, peak {} bytes on the device", output.timings, output.memory.peak);
    Ok(())
}
