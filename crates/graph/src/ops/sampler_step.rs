use super::{Operation, Shapes, ensure};
use crate::{Elem, ValueId};
use calotype_tensor::Shape;

/// Registers of latent size that a sampler works on. Register 0 is the sample.
pub const REGISTERS: usize = 8;

/// What a register's new value is a linear map of: the registers, the guided model output `m`, the clamped value
/// `c` and fresh noise `n`.
pub const BASIS: usize = REGISTERS + 3;

/// One model evaluation as the device sees it: a row of the step table, the twin of `shaders/shared/step.wgsl`.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]
pub struct StepRow {
    /// New registers over the basis (the twelfth column is unused).
    pub rows: [[f32; 12]; REGISTERS],
    /// `c` before it is clamped.
    pub clamp: [f32; 12],
    /// `c` is held within ± this; 0 for no clamp.
    pub clamp_range: f32,
    /// `m = u + guidance (c − u)` of the unconditional and conditional outputs.
    pub guidance: f32,
    /// How far the guided output's spread is pulled to the conditional one's, 0 to 1.
    pub rescale: f32,
    /// Multiplies the sample to give the *next* evaluation's input.
    pub input_scale: f32,
    /// What the model is told of the time at *this* evaluation.
    pub timestep: f32,
    /// Which of the run's noise tensors this step takes.
    pub noise: u32,
    /// 1 where it takes one.
    pub uses_noise: u32,
    /// Which row of the table this is.
    pub row: u32,
}

impl StepRow {
    /// Words of a row of the step table: [`StepRow`] padded to 512 bytes, since a device may ask that dynamic
    /// offsets be multiples of 256.
    pub const WORDS: usize = 128;

    /// Which word of a row holds the time.
    pub const TIMESTEP: usize = std::mem::offset_of!(Self, timestep) / 4;

    /// The row as the table holds it.
    pub fn words(&self) -> [u32; Self::WORDS] {
        let mut words = [0; Self::WORDS];
        let own: &[u32] = bytemuck::cast_slice(std::slice::from_ref(self));
        words[..own.len()].copy_from_slice(own);
        words
    }
}

/// Guidance, the sampler's update of its registers in place, and the next evaluation's model input.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerStep {
    /// The model's output: `[B, H, W, C]`, or `[2 B, H, W, C]` (unconditional first) where guided.
    pub output: ValueId,
    /// `[REGISTERS, B, H·W·C]` f32, updated.
    pub registers: ValueId,
    /// The model's input, shaped as its output: updated.
    pub input: ValueId,
    /// `[noises, B·H·W·C]` f32.
    pub noise: ValueId,
    /// The step table, `[steps, 128]`.
    pub table: ValueId,
    /// Whether the output holds an unconditional half.
    pub guided: bool,
    /// Whether the guided output's spread is rescaled.
    pub rescale: bool,
}

impl Operation for SamplerStep {
    const NAME: &'static str = "sampler_step";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.output);
        visit(&mut self.registers);
        visit(&mut self.input);
        visit(&mut self.noise);
        visit(&mut self.table);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (output, registers) = (shapes.shape(self.output), shapes.shape(self.registers));
        let input = shapes.shape(self.input);
        let halves = if self.guided { 2 } else { 1 };
        let fits = registers.rank() == 3 && registers.dims()[0] == REGISTERS;
        ensure(fits, || format!("takes registers [{REGISTERS}, B, H·W·C], not {registers}"))?;
        let fits = output.numel().checked_mul(REGISTERS) == registers.numel().checked_mul(halves);
        ensure(fits, || format!("an output {output} does not go with registers {registers}"))?;
        ensure(input == output, || format!("an input {input} does not go with an output {output}"))?;
        let noise = shapes.shape(self.noise);
        let fits = noise.channels() == output.numel() / halves;
        ensure(fits, || format!("noise {noise} does not go with an output {output}"))?;
        let table = shapes.shape(self.table);
        ensure(table.channels() == StepRow::WORDS, || format!("takes a step table, not {table}"))?;
        // What it yields is the factor by which each image's guided output was scaled back.
        Ok((Shape::new(&[registers.dims()[1]]), Elem::F32))
    }

    fn updates(&self) -> Vec<ValueId> {
        vec![self.registers, self.input]
    }
}
