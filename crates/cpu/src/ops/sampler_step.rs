use crate::values::Values;
use calotype_graph::ops::{BASIS, REGISTERS, SamplerStep, Shapes, StepRow};

/// Guidance, the sampler's linear map of its registers, and the next evaluation's model input. `y` is the factor
/// by which each image's guided output was scaled back.
pub(super) fn run(op: &SamplerStep, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let step = values.step(op.table)?;
    let [output, registers, input, noise] =
        [op.output, op.registers, op.input, op.noise].map(|v| values.get(v));
    let count = values.shape(op.registers).numel() / REGISTERS;
    let outputs = output.read();
    let guided = guided(op, &step, &outputs, count);
    let image = count / y.len().max(1);
    y.fill(1.0);
    if op.rescale && op.guided {
        for (i, factor) in y.iter_mut().enumerate() {
            let own = i * image..(i + 1) * image;
            let ratio = deviation(&outputs[count..][own.clone()]) / deviation(&guided[own]);
            *factor = step.rescale * ratio as f32 + 1.0 - step.rescale;
        }
    }

    let noise = noise.read();
    let drawn = if step.uses_noise == 1 {
        let at = step.noise as usize * count;
        let missing = || format!("noise {} was asked for, which was not given", step.noise);
        Some(noise.get(at..at + count).ok_or_else(missing)?)
    } else {
        None
    };
    let (mut registers, mut input) = (registers.write(), input.write());
    for i in 0..count {
        // The basis: the registers, the guided output, the clamped value, noise, the unconditional output.
        let mut basis = [0.0; BASIS];
        for (r, v) in basis[..REGISTERS].iter_mut().enumerate() {
            *v = registers[r * count + i];
        }
        let m = guided[i] * y[i / image];
        let z = drawn.map_or(0.0, |z| z[i]);
        basis[REGISTERS] = m;
        basis[REGISTERS + 2] = z;
        basis[REGISTERS + 3] = outputs[i];
        if step.clamp_range > 0.0 {
            let c = dot(&step.clamp, &basis);
            basis[REGISTERS + 1] = c.clamp(-step.clamp_range, step.clamp_range);
        }
        for (r, row) in step.rows.iter().enumerate() {
            registers[r * count + i] = dot(row, &basis);
        }
        let next = registers[i] * step.input_scale;
        input.chunks_exact_mut(count).for_each(|half| half[i] = next);
    }
    Ok(())
}

fn dot(row: &[f32; 12], basis: &[f32; BASIS]) -> f32 {
    row.iter().zip(basis).map(|(w, v)| w * v).sum()
}

/// The unconditional output, moved towards the conditional one and past it (Ho and Salimans 2022,
/// arXiv:2207.12598).
fn guided(op: &SamplerStep, step: &StepRow, output: &[f32], count: usize) -> Vec<f32> {
    if !op.guided {
        return output.to_vec();
    }
    let (without, with) = output.split_at(count);
    without.iter().zip(with).map(|(u, c)| u + step.guidance * (c - u)).collect()
}

/// The standard deviation; with or without Bessel's correction is all one, since only ratios are taken.
fn deviation(x: &[f32]) -> f64 {
    let mean = x.iter().map(|&x| f64::from(x)).sum::<f64>() / x.len() as f64;
    (x.iter().map(|&x| (f64::from(x) - mean).powi(2)).sum::<f64>() / x.len() as f64).sqrt()
}
