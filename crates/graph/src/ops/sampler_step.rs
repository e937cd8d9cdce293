use super::{Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, flag, vector};
use crate::value::{Elem, ValueId};
pub use calotype_shaders::{KEEPS_INPUT, KEEPS_OUTPUT, KEEPS_SAMPLE, Step as StepRow};
use calotype_shaders::{guidance_products, guidance_spread, sampler_bound, sampler_step};
use calotype_tensor::Shape;

/// Registers of latent size that a sampler works on. Register 0 is the sample.
pub const REGISTERS: usize = calotype_shaders::REGISTERS as usize;

/// What a register's new value is a linear map of: the registers, the guided model output `m`, the clamped value
/// `c`, noise `n` and the unconditional output `u`, which without guidance is `m`.
pub const BASIS: usize = REGISTERS + 4;

/// What becomes of the guided output beyond a weighted sum; each is a sum of outputs whose shares are an image's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Guide {
    /// Nothing.
    #[default]
    Sum,
    /// Its spread is pulled to the conditional output's (Lin et al. 2023, arXiv:2305.08891).
    Rescaled,
    /// Of what runs along the conditional output a share is taken, and no more than so long (APG: Sadat et al. 2024,
    /// arXiv:2410.02416).
    Projected,
    /// Of what the second prompt says otherwise only what is perpendicular to the first is kept away from (Armandpour et al.
    /// 2023, arXiv:2304.04968).
    Perpendicular,
    /// The unconditional output is scaled to the conditional one (CFG-Zero*: Fan et al. 2025, arXiv:2503.18886).
    Scaled,
}

/// Numbers of an image by which its guided output is put together: the shares of the unconditional output, of what the prompts
/// say otherwise, of the same with what is remembered, and of what the first prompt says otherwise.
pub const SHARES: usize = 4;

/// Guidance, the sampler's update of its registers in place, and the next evaluation's model input.
#[derive(Clone, Debug, PartialEq)]
pub struct SamplerStep {
    /// The model's output, `[P B, H, W, C]` for P prompts an image, one after another; `[(P + 1) B, H, W, C]` where guided,
    /// the unconditional one last.
    pub output: ValueId,
    /// `[REGISTERS, B, H·W·C]` f32, updated; one register more where guidance remembers what it took.
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
    /// What becomes of the guided output.
    pub guide: Guide,
    /// Whether what a step clamps is held within a quantile of its magnitudes, and divided by that (Saharia et al. 2022,
    /// arXiv:2205.11487).
    pub bounded: bool,
}

impl SamplerStep {
    /// What the guided output is put together by; nothing where it is not guided.
    pub fn guides(&self) -> Option<Guide> {
        Some(self.guide).filter(|guide| self.guided && *guide != Guide::Sum)
    }

    /// How many numbers of each image the op yields: its shares, then how far its clean sample may reach.
    pub fn own(&self) -> usize {
        self.guides().map_or(0, |_| SHARES) + usize::from(self.bounded)
    }

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
        let fits = registers.rank() == 3 && (REGISTERS..=REGISTERS + 1).contains(&registers.dims()[0]);
        ensure(fits, || format!("takes registers [{REGISTERS}, B, H·W·C], not {registers}"))?;
        let weights = shapes.shape(self.weights);
        let fits = weights.rank() == 2 && weights.dims()[1] == registers.dims()[1] && weights.numel() > 0;
        ensure(fits, || format!("weights {weights} do not go with registers {registers}"))?;
        let parts = self.parts(weights);
        let several = parts > 1 + usize::from(self.guided);
        ensure(self.guide != Guide::Perpendicular || several, || "takes two prompts an image".into())?;
        let fits = output.numel().checked_mul(registers.dims()[0]) == registers.numel().checked_mul(parts);
        ensure(fits, || format!("an output {output} does not go with registers {registers}"))?;
        ensure(input == output, || format!("an input {input} does not go with an output {output}"))?;
        let noise = shapes.shape(self.noise);
        let fits = noise.channels() == output.numel() / parts;
        ensure(fits, || format!("noise {noise} does not go with an output {output}"))?;
        let table = shapes.shape(self.table);
        ensure(table.channels() == StepRow::WORDS, || format!("takes a step table, not {table}"))?;
        // What it yields is each image's own numbers, and where samples are bounded, their magnitudes.
        let [images, image] = [registers.dims()[1], registers.dims()[2]];
        let magnitudes = if self.bounded { image } else { 0 };
        Ok((Shape::new(&[images, (self.own() + magnitudes).max(1)]), Elem::F32))
    }

    fn updates(&self) -> Vec<ValueId> {
        vec![self.registers, self.input]
    }
}

impl Lower for SamplerStep {
    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let output = cx.shape(self.output);
        let [images, _] = cx.shape(out).dims()[..] else { unreachable!("it yields two dimensions") };
        let weights = cx.shape(self.weights);
        let prompts = weights.dims()[0] as f64;
        let vector = vector(&[output.channels()]);
        let count = output.numel() / self.parts(weights) / vector;
        let (count32, image) = (count as u32, (count / images) as u32);
        let (model, table, factor) = (cx.bind(self.output)?, cx.table(self.table), cx.bind(out)?);
        let [noise, registers] = [cx.bind(self.noise)?, cx.bind(self.registers)?];
        let weights = cx.bind(self.weights)?;
        let storage = [cx.a(), if vector == 4 { "VEC4" } else { "VEC1" }];
        let sums = [&storage, cx.caps.sums()].concat();
        let guides = self.guides();
        // Where nothing is guided nothing is remembered, nor forgotten.
        let remembers = guides.is_some() && cx.shape(self.registers).dims()[0] > REGISTERS;
        let memory = flag(remembers);
        let groups = [images as u32, 1, 1];
        let own = ("OWN", self.own() as f64);
        let kind = match guides {
            None => None,
            Some(Guide::Sum | Guide::Rescaled) => {
                let variant = cx.variant("guidance_spread", &sums)?;
                let params = guidance_spread::Params { count: count32, image };
                let bindings = vec![table.clone(), model.clone(), factor.clone(), weights.clone()];
                cx.dispatch(variant, &[("PROMPTS", prompts), own], params, bindings, groups);
                None
            }
            Some(Guide::Projected) => Some(0.0),
            Some(Guide::Perpendicular) => Some(1.0),
            Some(Guide::Scaled) => Some(2.0),
        };
        if let Some(kind) = kind {
            let variant = cx.variant("guidance_products", &sums)?;
            let params = guidance_products::Params { count: count32, image };
            let bindings =
                vec![table.clone(), model.clone(), factor.clone(), registers.clone(), weights.clone()];
            let overrides = [("PROMPTS", prompts), ("MEMORY", memory), ("KIND", kind), own];
            cx.dispatch(variant, &overrides, params, bindings, groups);
        }
        let overrides = [
            ("GUIDED", flag(self.guided)),
            ("PROMPTS", prompts),
            ("GUIDE", flag(guides.is_some())),
            ("MEMORY", memory),
            ("BOUNDED", flag(self.bounded)),
        ];
        if self.bounded {
            let variant = cx.variant("sampler_bound", &sums)?;
            let numbers = (images * self.own()) as u32;
            let params = sampler_bound::Params { count: count32, image, numbers };
            let bindings = [&table, &model, &noise, &factor, &registers, &weights];
            cx.dispatch(variant, &overrides, params, bindings.map(Clone::clone).to_vec(), groups);
        }
        let variant = cx.vectored("sampler_step", vector)?;
        let params = sampler_step::Params { count: count32, image };
        let bindings = vec![table, model, noise, factor, registers, cx.bind(self.input)?, weights];
        let groups = cx.flat(count);
        cx.dispatch(variant, &overrides, params, bindings, groups);
        Ok(())
    }
}
