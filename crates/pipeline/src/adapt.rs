//! Runs whose steps are as long as the error lets them be: between two attempts the host looks at what the one has left, and
//! writes the table of the next. What passes between them is little beside three evaluations.

use crate::error::{Error, Result};
use crate::session::Ready;
use crate::table::{Guided, table};
use calotype_field::Field;
use calotype_graph::Executor;
use calotype_sampling::noise::{Latents, nchw_to_nhwc};
use calotype_sampling::{Adaptive, Attempt, REGISTERS, Step};
use calotype_tensor::HostTensor;

/// What draws up a run's steps one after the other.
pub(crate) struct Adapting {
    pub(crate) adaptive: Adaptive,
    pub(crate) noises: Latents,
    /// Noise to use in the place of its.
    pub(crate) given: Option<Vec<HostTensor>>,
    pub(crate) guidance: Guided,
}

impl Adapting {
    /// Takes the step that was tried or puts the sample back, and tells the device of the next attempt: its evaluations, and
    /// the sample that they begin with; none where the run is done. `shape` is the latents'.
    pub(crate) async fn judge(
        &mut self,
        exec: &dyn Executor,
        part: &Ready,
        shape: [usize; 4],
    ) -> Result<Option<(Vec<Step>, Vec<f32>)>> {
        let port = &part.ports["registers"];
        let mut registers = exec.read(port).await?.to_f32();
        let numel: usize = shape.iter().product();
        if let Attempt::Taken { noise, draw } = self.adaptive.judge(&mut registers[..REGISTERS * numel]) {
            let values = self.noise(noise, draw, shape)?;
            registers.iter_mut().zip(values).for_each(|(x, z)| *x += noise as f32 * z);
        }
        exec.write(port, 0, bytemuck::cast_slice(&registers))?;
        let steps = self.adaptive.steps()?;
        if steps.is_empty() {
            return Ok(None);
        }
        let words = table(&steps, |_| self.guidance, None);
        exec.write(&part.ports["table"], 0, bytemuck::cast_slice(&words))?;
        // What the model is told of the time follows from the table.
        part.contexts().try_for_each(|program| exec.run(program, 0))?;
        registers.truncate(numel);
        Ok(Some((steps, registers)))
    }

    /// How many steps there will be if all go on as those so far, once one was taken.
    pub(crate) fn total(&self, steps: usize) -> Option<usize> {
        let share = self.adaptive.share();
        (share > 0.0).then(|| (steps as f64 / share).ceil() as usize)
    }

    /// The next noise, ordered as the device has it; none where a step adds none.
    fn noise(&mut self, weight: f64, draw: usize, shape: [usize; 4]) -> Result<Vec<f32>> {
        let [_, c, h, w] = shape;
        let ours = |values: Vec<f32>| nchw_to_nhwc(&values, [c, h, w]);
        let Some(given) = &self.given else { return Ok(ours(self.noises.fresh())) };
        let (field, has) = (Field::Latents, given.len());
        let why = match given.get(draw) {
            _ if weight == 0.0 => return Ok(Vec::new()),
            Some(noise) if noise.shape().dims() == shape => return Ok(ours(noise.to_f32())),
            Some(noise) => {
                format!("tensor noise.{draw} has shape {}, and this run takes {shape:?}", noise.shape())
            }
            None => format!("this sampler adds noise at every step, and there are {has} tensors of it"),
        };
        Err(Error::request(field, format!("{field}: {why}")))
    }
}
