use crate::values::Values;
use calotype_graph::ops::{
    BASIS, KEEPS_INPUT, KEEPS_OUTPUT, KEEPS_SAMPLE, REGISTERS, SamplerStep, Shapes, StepRow,
};

/// Guidance, the sampler's linear map of its registers, and the next evaluation's model input. `y` is the factor
/// by which each image's guided output was scaled back.
pub(super) fn run(op: &SamplerStep, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let step = values.step(op.table)?;
    let [output, registers, input, noise, weights] =
        [op.output, op.registers, op.input, op.noise, op.weights].map(|v| values.get(v));
    let count = values.shape(op.registers).numel() / REGISTERS;
    let outputs = output.read();
    let image = count / y.len().max(1);
    let without = if op.guided { &outputs[outputs.len() - count..] } else { &outputs[..count] };
    let weights = weights.read();
    let prompts = Prompts { outputs: &outputs, without, weights: &weights, image };
    let guided = match op.guided || weights.len() > y.len() {
        true => prompts.guided(step.guidance),
        false => without.to_vec(),
    };
    y.fill(1.0);
    if op.rescale && op.guided {
        let with = prompts.guided(1.0);
        for (i, factor) in y.iter_mut().enumerate() {
            let own = i * image..(i + 1) * image;
            let ratio = deviation(&with[own.clone()]) / deviation(&guided[own]);
            *factor = step.rescale * ratio as f32 + 1.0 - step.rescale;
        }
    }

    let noise = noise.read();
    let tensor = |i: u32| {
        let at = i as usize * count;
        let missing = || format!("noise {i} was asked for, which was not given");
        noise.get(at..at + count).ok_or_else(missing)
    };
    let drawn = if step.uses_noise == 1 { Some(tensor(step.noise)?) } else { None };
    let kept = match step.keeps {
        0 => None,
        _ => Some([tensor(step.kept)?, tensor(step.kept + 1)?, tensor(step.kept + 2)?]),
    };
    let (mut registers, mut input) = (registers.write(), input.write());
    for i in 0..count {
        // The basis: the registers, the guided output, the clamped value, noise, the unconditional output.
        let mut basis = [0.0; BASIS];
        for (r, v) in basis[..REGISTERS].iter_mut().enumerate() {
            *v = registers[r * count + i];
        }
        let kept = kept.map(|kept| Kept { step: &step, values: kept.map(|tensor| tensor[i]) });
        let blend = |value, what| kept.as_ref().map_or(value, |kept| kept.blend(value, registers[i], what));
        let m = blend(guided[i] * y[i / image], KEEPS_OUTPUT);
        let z = drawn.map_or(0.0, |z| z[i]);
        basis[REGISTERS] = m;
        basis[REGISTERS + 2] = z;
        basis[REGISTERS + 3] = without[i];
        if step.clamp_range > 0.0 {
            let c = dot(&step.clamp, &basis);
            basis[REGISTERS + 1] = c.clamp(-step.clamp_range, step.clamp_range);
        }
        let mut new = step.rows.map(|row| dot(&row, &basis));
        new[0] = blend(new[0], KEEPS_SAMPLE);
        let next = blend(new[0] * step.input_scale, KEEPS_INPUT);
        for (r, value) in new.into_iter().enumerate() {
            registers[r * count + i] = value;
        }
        input.chunks_exact_mut(count).for_each(|part| part[i] = next);
    }
    Ok(())
}

/// What a step keeps of a picture at one place: how much, the picture, its noise.
struct Kept<'a> {
    step: &'a StepRow,
    values: [f32; 3],
}

impl Kept<'_> {
    /// A value that keeps to the picture as far as the mask says, if such values do.
    fn blend(&self, value: f32, sample: f32, what: u32) -> f32 {
        let ([share, picture, noise], [a, b, c, d]) = (self.values, self.step.kept_by);
        let own = match what {
            KEEPS_OUTPUT => a * sample + b * picture,
            KEEPS_SAMPLE => c * picture + d * noise,
            _ => picture,
        };
        if self.step.keeps & what == 0 { value } else { value * (1.0 - share) + own * share }
    }
}

fn dot(row: &[f32; 12], basis: &[f32; BASIS]) -> f32 {
    row.iter().zip(basis).map(|(w, v)| w * v).sum()
}

/// What the model says of some prompts an image, and what it says without; each prompt's weight, and values an image.
struct Prompts<'a> {
    outputs: &'a [f32],
    without: &'a [f32],
    weights: &'a [f32],
    image: usize,
}

impl Prompts<'_> {
    /// The unconditional output, moved towards each conditional one and past it (Ho and Salimans 2022,
    /// arXiv:2207.12598; Liu et al. 2022, arXiv:2206.01714).
    fn guided(&self, guidance: f32) -> Vec<f32> {
        let (count, images) = (self.without.len(), self.without.len() / self.image);
        let mut m = self.without.to_vec();
        for (with, weights) in self.outputs.chunks_exact(count).zip(self.weights.chunks_exact(images)) {
            for (i, (m, c)) in m.iter_mut().zip(with).enumerate() {
                *m += guidance * weights[i / self.image] * (c - self.without[i]);
            }
        }
        m
    }
}

/// The standard deviation; with or without Bessel's correction is all one, since only ratios are taken.
fn deviation(x: &[f32]) -> f64 {
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
    (x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt()
}
