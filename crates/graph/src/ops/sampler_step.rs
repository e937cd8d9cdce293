use super::{Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, flag, vector};
use crate::value::{Elem, ValueId};
pub use calotype_shaders::{KEEPS_INPUT, KEEPS_OUTPUT, KEEPS_SAMPLE, Step as StepRow};
use calotype_shaders::{guidance_spread, sampler_step};
use calotype_tensor::Shape;

/// Registers of latent size that a sampler works on. Register 0 is the sample.
pub const REGISTERS: usize = calotype_shaders::REGISTERS as usize;

/// What a register's new value is a linear map of: the registers, the guided model output `m`, the clamped value
/// `c`, noise `n` and the unconditional output `u`, which without guidance is `m`.
pub const BASIS: usize = REGISTERS + 4;

/// Guidance, the sampler's update of its registers in place, and the next evaluation's model input.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerStep {
    /// The model's output, `[P B, H, W, C]` for P prompts an image, one after another; `[(P + 1) B, H, W, C]` where guided,
    /// the unconditional one last.
    pub output: ValueId,
    /// `[REGISTERS, B, H·W·C]` f32, updated.
    pub registers: ValueId,
    /// The model's input, shaped as its output: updated.
    pub input: ValueId,
    /// `[noises, B·H·W·C]` f32. Where steps keep a picture three of them are what [`StepRow`] says: how much of it is kept, from
    /// 0 to 1, the picture's latents, and noise.
    pub noise: ValueId,
    /// The step table, `[steps, 128]`.
    pub table: ValueId,
    /// `[P, B]` f32: how much of each prompt goes into its image.
    pub weights: ValueId,
    /// Whether the output holds an unconditional half.
    pub guided: bool,
    /// Whether the guided output's spread is rescaled.
    pub rescale: bool,
}

impl SamplerStep {
    /// How many batches the model sees at once.
    pub fn parts(&self, weights: Shape) -> usize {
        weights.dims()[0] + usize::from(self.guided)
    }
}

impl Operation for SamplerStep {
    const NAME: &'static str = "sampler_step";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.output);
        visit(&mut self.registers);
        visit(&mut self.input);
        visit(&mut self.noise);
        visit(&mut self.table);
        visit(&mut self.weights);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (output, registers) = (shapes.shape(self.output), shapes.shape(self.registers));
        let input = shapes.shape(self.input);
        let fits = registers.rank() == 3 && registers.dims()[0] == REGISTERS;
        ensure(fits, || format!("takes registers [{REGISTERS}, B, H·W·C], not {registers}"))?;
        let weights = shapes.shape(self.weights);
        let fits = weights.rank() == 2 && weights.dims()[1] == registers.dims()[1] && weights.numel() > 0;
        ensure(fits, || format!("weights {weights} do not go with registers {registers}"))?;
        let parts = self.parts(weights);
        let fits = output.numel().checked_mul(REGISTERS) == registers.numel().checked_mul(parts);
        ensure(fits, || format!("an output {output} does not go with registers {registers}"))?;
        ensure(input == output, || format!("an input {input} does not go with an output {output}"))?;
        let noise = shapes.shape(self.noise);
        let fits = noise.channels() == output.numel() / parts;
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

impl Lower for SamplerStep {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let output = cx.shape(self.output);
        let images = cx.shape(out).numel();
        let weights = cx.shape(self.weights);
        let prompts = weights.dims()[0] as f64;
        let vector = vector(&[output.channels()]);
        let count = output.numel() / self.parts(weights) / vector;
        let (count32, image) = (count as u32, (count / images) as u32);
        let (model, table, factor) = (cx.bind(self.output)?, cx.table(self.table), cx.bind(out)?);
        if self.guided && self.rescale {
            let storage = [cx.a(), if vector == 4 { "VEC4" } else { "VEC1" }];
            let variant = cx.variant("guidance_spread", &[&storage, cx.caps.sums()].concat())?;
            let params = guidance_spread::Params { count: count32, image };
            let bindings = vec![table.clone(), model.clone(), factor.clone(), cx.bind(self.weights)?];
            cx.dispatch(variant, &[("PROMPTS", prompts)], params, bindings, [images as u32, 1, 1]);
        }
        let variant = cx.vectored("sampler_step", vector)?;
        let rescale = flag(self.guided && self.rescale);
        let overrides = [("GUIDED", flag(self.guided)), ("RESCALE", rescale), ("PROMPTS", prompts)];
        let params = sampler_step::Params { count: count32, image };
        let [noise, registers] = [cx.bind(self.noise)?, cx.bind(self.registers)?];
        let bindings =
            vec![table, model, noise, factor, registers, cx.bind(self.input)?, cx.bind(self.weights)?];
        let groups = cx.flat(count);
        cx.dispatch(variant, &overrides, params, bindings, groups);
        Ok(())
    }
}
