//! Guidance and the sampler's update.

use super::step;
use calotype_graph::ValueId;
use calotype_graph::ops::{BASIS, Guide, REGISTERS, SamplerStep, Shapes};
use calotype_testkit::Case;
use std::collections::HashMap;

pub(super) fn sampler_step(
    case: &Case,
    op: &SamplerStep,
    values: &mut HashMap<ValueId, Vec<f64>>,
) -> Vec<f64> {
    let step = step(case, case.row);
    let output = &values[&op.output];
    let mut registers = values[&op.registers].clone();
    let [kept, images, image] = case.graph.shape(op.registers).dims()[..] else { panic!("no registers") };
    let count = images * image;
    let (weights, parts) = (&values[&op.weights], output.len() / count);
    let prompts = parts - usize::from(op.guided);
    let without = &output[if op.guided { prompts * count } else { 0 }..][..count];
    // The unconditional output, and of each prompt its weight's share of what it says otherwise.
    let otherwise: Vec<f64> = (0..count)
        .map(|i| {
            let share = |k: usize| weights[k * images + i / image] * (output[k * count + i] - without[i]);
            (0..prompts).map(share).sum()
        })
        .collect();
    let g = f64::from(step.guidance);
    let m = added(without, &otherwise, g);
    let with = added(without, &otherwise, 1.0);
    let memory: Vec<f64> = match kept > REGISTERS {
        true => added(&otherwise, &registers[REGISTERS * count..], f64::from(step.momentum)),
        false => otherwise.clone(),
    };
    let said = |k: usize| -> Vec<f64> { added(&output[k * count..][..count], without, -1.0) };
    let mut m = m;
    let mut own = Vec::new();
    for i in 0..images {
        let at = i * image..(i + 1) * image;
        let (u, d, c, r) =
            (&without[at.clone()], &otherwise[at.clone()], &with[at.clone()], &memory[at.clone()]);
        let first = &said(0)[at.clone()];
        let [a, b, e, f] = match op.guides() {
            None => continue,
            Some(Guide::Sum | Guide::Rescaled) => {
                let ratio = spread(c) / spread(&m[at.clone()]);
                let scale = f64::from(step.rescale) * ratio + 1.0 - f64::from(step.rescale);
                [scale, scale * g, 0.0, 0.0]
            }
            Some(Guide::Projected) => {
                let held = (f64::from(step.norm) / dot(r, r).sqrt()).min(1.0);
                let turned = g * held * (f64::from(step.along) - 1.0) * dot(c, r) / dot(c, c);
                [1.0 + turned, turned, g * held, 0.0]
            }
            Some(Guide::Perpendicular) => {
                let along = dot(first, &said(1)[at.clone()]) / dot(first, first);
                [1.0, g, 0.0, g * f64::from(step.along) * along]
            }
            Some(Guide::Scaled) => {
                let along = dot(u, c) / dot(u, u);
                [along * (1.0 - g) + g, g, 0.0, 0.0]
            }
        };
        own.push(vec![a, b, e, f]);
        for n in 0..image {
            m[at.start + n] = a * u[n] + b * d[n] + e * r[n] + f * first[n];
        }
    }
    if kept > REGISTERS {
        registers[REGISTERS * count..].copy_from_slice(&memory);
    }
    let noise = |tensor: u32, i: usize| values[&op.noise][tensor as usize * count + i];
    let by = step.kept_by.map(f64::from);
    let keep = |bit: u32, i: usize, value: f64, own: f64| match step.keeps & bit {
        0 => value,
        _ => (1.0 - noise(step.kept, i)) * value + noise(step.kept, i) * own,
    };
    let picture = |i: usize| if step.keeps == 0 { 0.0 } else { noise(step.kept + 1, i) };
    let basis = |i: usize| -> [f64; BASIS] {
        let mut basis = [0.0; BASIS];
        (0..REGISTERS).for_each(|r| basis[r] = registers[r * count + i]);
        basis[REGISTERS] = keep(1, i, m[i], by[0] * registers[i] + by[1] * picture(i));
        basis[REGISTERS + 3] = without[i];
        if step.uses_noise == 1 {
            basis[REGISTERS + 2] = noise(step.noise, i);
        }
        basis
    };
    let row = |row: &[f32; 12], basis: &[f64]| (0..BASIS).map(|j| f64::from(row[j]) * basis[j]).sum::<f64>();
    let range = f64::from(step.clamp_range);
    let magnitudes: Vec<f64> = (0..count).map(|i| row(&step.clamp, &basis(i)).abs()).collect();
    let bound = |i: usize| {
        let mut sorted = magnitudes[i * image..(i + 1) * image].to_vec();
        sorted.sort_by(f64::total_cmp);
        let place = f64::from(step.quantile) * (image - 1) as f64;
        let [low, high] = [place.floor(), place.ceil()].map(|place| sorted[place as usize]);
        (low + (high - low) * place.fract()).clamp(1.0, range)
    };
    let bounds: Vec<f64> = (0..images).filter(|_| op.bounded).map(bound).collect();
    let mut next = registers.clone();
    let mut input = vec![0.0; count];
    for i in 0..count {
        let mut basis = basis(i);
        if range > 0.0 {
            let c = row(&step.clamp, &basis);
            let bound = bounds.get(i / image);
            basis[REGISTERS + 1] = bound.map_or_else(|| c.clamp(-range, range), |b| c.clamp(-b, *b) / b);
        }
        (0..REGISTERS).for_each(|r| next[r * count + i] = row(&step.rows[r], &basis));
        let added = if step.keeps == 0 { 0.0 } else { noise(step.kept + 2, i) };
        next[i] = keep(2, i, next[i], by[2] * picture(i) + by[3] * added);
        input[i] = keep(4, i, next[i] * f64::from(step.input_scale), picture(i));
    }
    values.insert(op.input, input.repeat(parts));
    values.insert(op.registers, next);
    let numbers =
        |i: usize| own.get(i).cloned().unwrap_or_default().into_iter().chain(bounds.get(i).copied());
    let mut all: Vec<f64> = (0..images).flat_map(numbers).collect();
    all.extend(magnitudes.into_iter().filter(|_| op.bounded));
    all
}

fn added(a: &[f64], b: &[f64], scale: f64) -> Vec<f64> {
    a.iter().zip(b).map(|(a, b)| a + scale * b).collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn spread(x: &[f64]) -> f64 {
    let mean = x.iter().sum::<f64>() / x.len() as f64;
    x.iter().map(|x| (x - mean).powi(2)).sum::<f64>().sqrt()
}
