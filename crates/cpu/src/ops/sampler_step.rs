use crate::values::Values;
use calotype_graph::ops::{
    BASIS, Guide, KEEPS_INPUT, KEEPS_OUTPUT, KEEPS_SAMPLE, REGISTERS, SHARES, SamplerStep, Shapes, StepRow,
};

/// Guidance, the sampler's linear map of its registers, and the next evaluation's model input. `y` is each image's own numbers
/// (`SamplerStep::own`), and where clean samples are bounded their magnitudes.
pub(super) fn run(op: &SamplerStep, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let step = values.step(op.table)?;
    let [output, registers, input, noise, weights] =
        [op.output, op.registers, op.input, op.noise, op.weights].map(|v| values.get(v));
    let &[held, images, image] = values.shape(op.registers).dims() else { return Err("no registers".into()) };
    let count = images * image;
    let outputs = output.read();
    let without = if op.guided { &outputs[outputs.len() - count..] } else { &outputs[..count] };
    let weights = weights.read();
    let prompts = Prompts { outputs: &outputs, without, weights: &weights, image };
    let (mut registers, mut input) = (registers.write(), input.write());

    y.fill(1.0);
    let shares = y.len().min(images * op.own());
    let (own, magnitudes) = y.split_at_mut(shares);
    let mut guided = match op.guided || weights.len() > images {
        true => prompts.guided(step.guidance),
        false => without.to_vec(),
    };
    if let Some(guide) = op.guides() {
        let otherwise = prompts.otherwise(1.0);
        let mut remembered = otherwise.clone();
        if held > REGISTERS {
            let before = &mut registers[REGISTERS * count..];
            remembered.iter_mut().zip(&*before).for_each(|(r, before)| *r += step.momentum * before);
            before.copy_from_slice(&remembered);
        }
        for (i, own) in own.chunks_exact_mut(op.own()).enumerate() {
            let at = i * image..(i + 1) * image;
            let first: Vec<f32> = at.clone().map(|n| outputs[n] - without[n]).collect();
            let second = outputs.get(count + at.start..count + at.end);
            let of = Of {
                without: &without[at.clone()],
                otherwise: &otherwise[at.clone()],
                remembered: &remembered[at.clone()],
                first: &first,
                second,
            };
            own[..SHARES].copy_from_slice(&of.shares(guide, &step));
            for (n, m) in guided[at].iter_mut().enumerate() {
                let [u, d, r, c] = own[..SHARES] else { unreachable!("its shares") };
                *m = u * of.without[n] + d * of.otherwise[n] + r * of.remembered[n] + c * first[n];
            }
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
    let blend = |registers: &[f32], i: usize, value: f32, what: u32| {
        let kept = kept.map(|kept| Kept { step: &step, values: kept.map(|tensor| tensor[i]) });
        kept.map_or(value, |kept| kept.blend(value, registers[i], what))
    };
    // The basis: the registers, the guided output, the clamped value, noise, the unconditional output.
    let basis = |registers: &[f32], i: usize| -> [f32; BASIS] {
        let mut basis = [0.0; BASIS];
        for (r, v) in basis[..REGISTERS].iter_mut().enumerate() {
            *v = registers[r * count + i];
        }
        basis[REGISTERS] = blend(registers, i, guided[i], KEEPS_OUTPUT);
        basis[REGISTERS + 2] = drawn.map_or(0.0, |z| z[i]);
        basis[REGISTERS + 3] = without[i];
        basis
    };
    if op.bounded {
        for (i, magnitude) in magnitudes.iter_mut().enumerate() {
            *magnitude = dot(&step.clamp, &basis(&registers, i)).abs();
        }
        for (own, magnitudes) in own.chunks_exact_mut(op.own()).zip(magnitudes.chunks_exact(image)) {
            own[op.own() - 1] = quantile(magnitudes, step.quantile).clamp(1.0, step.clamp_range.max(1.0));
        }
    }
    for i in 0..count {
        let mut basis = basis(&registers, i);
        if step.clamp_range > 0.0 {
            let c = dot(&step.clamp, &basis);
            basis[REGISTERS + 1] = match op.bounded {
                true => {
                    let bound = own[(i / image + 1) * op.own() - 1];
                    c.clamp(-bound, bound) / bound
                }
                false => c.clamp(-step.clamp_range, step.clamp_range),
            };
        }
        let mut new = step.rows.map(|row| dot(&row, &basis));
        new[0] = blend(&registers, i, new[0], KEEPS_SAMPLE);
        let next = blend(&registers, i, new[0] * step.input_scale, KEEPS_INPUT);
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

/// Linearly between the two that lie next to it in order (`torch.quantile`).
fn quantile(values: &[f32], share: f32) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f32::total_cmp);
    let place = share * (sorted.len() - 1) as f32;
    let low = sorted[place as usize];
    let high = sorted[(place as usize + 1).min(sorted.len() - 1)];
    low + (high - low) * place.fract()
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
        let mut m = self.otherwise(guidance);
        m.iter_mut().zip(self.without).for_each(|(m, u)| *m += u);
        m
    }

    /// What the prompts say otherwise, each by its weight.
    fn otherwise(&self, guidance: f32) -> Vec<f32> {
        let (count, images) = (self.without.len(), self.without.len() / self.image);
        let mut d = vec![0.0; count];
        for (with, weights) in self.outputs.chunks_exact(count).zip(self.weights.chunks_exact(images)) {
            for (i, (d, c)) in d.iter_mut().zip(with).enumerate() {
                *d += guidance * weights[i / self.image] * (c - self.without[i]);
            }
        }
        d
    }
}

/// One image's: the unconditional output, what the prompts say otherwise, the same with what is remembered, what the first
/// prompt says otherwise, and the second prompt's output.
struct Of<'a> {
    without: &'a [f32],
    otherwise: &'a [f32],
    remembered: &'a [f32],
    first: &'a [f32],
    second: Option<&'a [f32]>,
}

impl Of<'_> {
    /// The image's shares (shaders/guidance_spread.wgsl and guidance_products.wgsl).
    fn shares(&self, guide: Guide, step: &StepRow) -> [f32; SHARES] {
        let with = |scale: f32| -> Vec<f32> {
            self.without.iter().zip(self.otherwise).map(|(u, d)| u + scale * d).collect()
        };
        let g = step.guidance;
        let ratio = |a: f64, b: f64| if b > 0.0 { (a / b) as f32 } else { 0.0 };
        match guide {
            Guide::Sum | Guide::Rescaled => {
                let factor = deviation(&with(1.0)) / deviation(&with(g));
                let factor = step.rescale * factor as f32 + 1.0 - step.rescale;
                [factor, factor * g, 0.0, 0.0]
            }
            Guide::Projected => {
                let (c, r) = (with(1.0), self.remembered);
                let length = product(r, r).sqrt() as f32;
                let held = if step.norm > 0.0 { (step.norm / length.max(1e-12)).min(1.0) } else { 1.0 };
                let turned = g * held * (step.along - 1.0) * ratio(product(&c, r), product(&c, &c));
                [1.0 + turned, turned, g * held, 0.0]
            }
            Guide::Perpendicular => {
                let second = self.second.unwrap_or(self.without);
                let second: Vec<f32> = second.iter().zip(self.without).map(|(n, u)| n - u).collect();
                let along = ratio(product(self.first, &second), product(self.first, self.first));
                [1.0, g, 0.0, g * step.along * along]
            }
            Guide::Scaled => {
                let along = ratio(product(self.without, &with(1.0)), product(self.without, self.without));
                [along * (1.0 - g) + g, g, 0.0, 0.0]
            }
        }
    }
}

fn product(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

/// The standard deviation; with or without Bessel's correction is all one, since only ratios are taken.
fn deviation(x: &[f32]) -> f64 {
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
    (x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt()
}
