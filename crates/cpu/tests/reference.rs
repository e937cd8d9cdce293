//! Every small op case against the op's definition, written out in f64 with one loop an index.

use calotype_cpu::CpuExecutor;
use calotype_graph::ops::{Attention, Conv2d, Op, Operation, Range, Shapes, StepRow};
use calotype_graph::{Activation, Precision, Source, ValueId};
use calotype_tensor::{DType, HostTensor};
use calotype_testkit::{Case, cases, error, max_error_relative_to_largest, run_case, tensor_of};
use sampling::sampler_step;
use std::collections::HashMap;
use weights::{blocks_of, in_blocks, seen};

#[path = "reference/changes.rs"]
mod changes;
#[path = "reference/sampling.rs"]
mod sampling;
#[path = "reference/weights.rs"]
mod weights;

/// Beyond this a case would take these loops too long.
const FLOPS: u64 = 40_000_000;

#[test]
fn every_small_case_agrees_with_its_definition() {
    let cpu = CpuExecutor::new();
    let mut failures = Vec::new();
    let mut seen = 0;
    for case in cases().iter().filter(|c| c.flops() < FLOPS) {
        let found = run_case(&cpu, case, Precision::F32).unwrap_or_else(|e| panic!("{}: {e}", case.name));
        for (found, expected) in found.into_iter().zip(reference(case)) {
            let off = if found.dtype() == DType::U32 {
                let words: Vec<u32> = expected.iter().map(|&v| v as u32).collect();
                error(&found, &HostTensor::from_u32(found.shape(), &words))
            } else {
                let expected: Vec<f32> = expected.iter().map(|&v| v as f32).collect();
                max_error_relative_to_largest(&found.to_f32(), &expected)
            };
            if off > case.tolerance.f32 {
                failures.push(format!("{}: {off:.1e} > {:.1e}", case.name, case.tolerance.f32));
            }
        }
        seen += 1;
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(seen > 150, "only {seen} cases are small");
}

#[test]
fn names_of_cases_differ_and_every_op_has_some() {
    let mut names: Vec<String> = cases().iter().map(|c| c.name.clone()).collect();
    names.sort();
    let count = names.len();
    names.dedup();
    assert_eq!(names.len(), count, "two cases have one name");
    macro_rules! stems {
        ($($stem:ident $name:ident,)*) => { [$(stringify!($stem)),*] };
    }
    for op in calotype_graph::each_op!(stems) {
        assert!(cases().iter().any(|c| c.stem() == op), "no case for {op}");
    }
}

/// A case's outputs and updated inputs.
fn reference(case: &Case) -> Vec<Vec<f64>> {
    let graph = &case.graph;
    let mut values: HashMap<ValueId, Vec<f64>> = HashMap::new();
    for node in graph.nodes() {
        for v in node.op.operands().into_iter().flat_map(|v| [graph.root(v), v]) {
            let source = &graph.value(v).source;
            let read = |name: &str| tensor_of(case, name).to_f32().into_iter().map(f64::from).collect();
            let value = match source {
                Source::Input { name, .. } => read(name),
                Source::Weight(id) => {
                    let weight = &graph.weights()[id.index()];
                    let own: Vec<f64> = match &weight.constant {
                        Some(constant) => constant.to_f32().into_iter().map(f64::from).collect(),
                        None => weight.tensors.iter().flat_map(|t| read(&t.names[0])).collect(),
                    };
                    let mut from = weight.tensors[0].shape.dims().to_vec();
                    from[0] = weight.tensors.iter().map(|t| t.shape.dims()[0]).sum();
                    let mut held = seen(&own, &from, weight, graph.shape(v).dims());
                    if let Some(kind) = blocks_of(case.quant) {
                        in_blocks(&mut held, kind, weight, (&from, graph.shape(v).channels()));
                    }
                    held
                }
                Source::Columns { of, from } => {
                    let (all, width) = (graph.shape(*of).channels(), graph.shape(v).channels());
                    values[of].chunks(all).flat_map(|row| row[*from..][..width].to_vec()).collect()
                }
                Source::Node(_) => continue,
            };
            values.entry(v).or_insert(value);
        }
        let y = compute(case, &node.op, &mut values);
        values.insert(node.output, y);
    }
    let outputs = graph.outputs().iter().map(|(_, v)| *v);
    outputs.chain(case.updated().into_iter().map(|(_, v)| v)).map(|v| values[&v].clone()).collect()
}

fn compute(case: &Case, op: &Op, values: &mut HashMap<ValueId, Vec<f64>>) -> Vec<f64> {
    let shape = |v: ValueId| case.graph.shape(v);
    let get = |v: ValueId| &values[&v][..];
    match op {
        Op::Matmul(op) => {
            let mut x = joined(get(op.x), op.beside.map(get), shape(op.x).channels());
            if let Some(norm) = &op.norm {
                let c = shape(op.x).channels();
                x = normalise(&x, shape(op.x).rows(), |i| i / c, norm.eps);
                let affine =
                    |(i, v): (usize, &mut f64)| *v = *v * get(norm.gamma)[i % c] + get(norm.beta)[i % c];
                x.iter_mut().enumerate().for_each(affine);
            }
            let w = get(op.weight);
            let (rows, k, n) = (shape(op.x).rows(), shape(op.weight).dims()[0], shape(op.weight).dims()[1]);
            let sum = |i: usize| (0..k).map(|j| x[i / n * k + j] * w[j * n + i % n]).sum::<f64>();
            let bias = |i: usize| op.bias.map_or(0.0, |b| get(b)[i % n]);
            let residual = |i: usize| op.residual.map_or(0.0, |r| get(r)[i]);
            if !op.gated {
                return (0..rows * n)
                    .map(|i| activate(op.activation, sum(i) + bias(i)) + residual(i))
                    .collect();
            }
            let width = n / 2;
            let value = |i: usize| i / width * n + i % width / 4 * 8 + i % 4;
            let product = |i: usize| sum(i) + bias(i);
            let y = |i: usize| product(value(i)) * activate(op.activation, product(value(i) + 4));
            (0..rows * width).map(|i| y(i) + residual(i)).collect()
        }
        Op::Conv2d(op) => conv2d(case, op, values),
        Op::Attention(op) => attention(case, op, values),
        Op::GroupNorm(op) => {
            let (images, c) = (shape(op.x).dims()[0], shape(op.gamma).channels());
            let x = joined(get(op.x), op.beside.map(get), shape(op.x).channels());
            let size = c / op.groups;
            let key = |i: usize| (i / (x.len() / images)) * op.groups + i % c / size;
            let y = normalise(&x, images * op.groups, key, op.eps);
            let affine = |(i, v): (usize, &f64)| {
                activate(op.activation, v * get(op.gamma)[i % c] + get(op.beta)[i % c])
            };
            y.iter().enumerate().map(affine).collect()
        }
        Op::LayerNorm(op) => {
            let c = shape(op.x).channels();
            let y = normalise(get(op.x), shape(op.x).rows(), |i| i / c, op.eps);
            y.iter().enumerate().map(|(i, v)| v * get(op.gamma)[i % c] + get(op.beta)[i % c]).collect()
        }
        Op::Activate(op) => get(op.x).iter().map(|&x| activate(op.activation, x)).collect(),
        Op::Geglu(op) => {
            let (x, n) = (get(op.x), shape(op.x).channels() / 2);
            let y =
                |i: usize| x[i / n * 2 * n + i % n] * activate(op.activation, x[(i / n * 2 + 1) * n + i % n]);
            (0..x.len() / 2).map(y).collect()
        }
        Op::Add(op) => {
            let (a, b, c) = (get(op.a), get(op.b), shape(op.a).channels());
            let image = a.len() / shape(op.a).dims()[0];
            let rows = shape(op.b).rows();
            let at = |i: usize| match () {
                () if a.len() == b.len() => i,
                () if rows == 1 => i % c,
                () => i / image * c + i % c,
            };
            (0..a.len()).map(|i| a[i] + b[at(i)]).collect()
        }
        Op::Affine(op) => {
            let (x, terms, c) = (get(op.x), get(op.terms), shape(op.x).channels());
            let image = x.len() / shape(op.x).dims()[0];
            let term = |i: usize, of: usize| terms[(i / image * 2 + of) * c + i % c];
            let y = |(i, x): (usize, &f64)| activate(op.activation, x * term(i, 0) + term(i, 1));
            x.iter().enumerate().map(y).collect()
        }
        Op::FreeConcat(op) => changes::free_u(case, op, [get(op.h), get(op.skip)]),
        Op::Splice(op) => changes::splice(case, op, [get(op.x), get(op.other)]),
        Op::Scale(op) => get(op.x).iter().map(|x| x * f64::from(op.scale) + f64::from(op.shift)).collect(),
        Op::Concat(op) => {
            let (a, b) = (shape(op.a).channels(), shape(op.b).channels());
            let rows = get(op.a).chunks(a).zip(get(op.b).chunks(b));
            rows.flat_map(|(a, b)| a.iter().chain(b).copied()).collect()
        }
        Op::Upsample(op) => {
            let x = shape(op.x);
            let &[images, h, w, c] = x.dims() else { unreachable!() };
            let [oh, ow] = op.size;
            let at = |i: usize| {
                let (ch, ox, oy, image) = (i % c, i / c % ow, i / c / ow % oh, i / c / ow / oh);
                ((image * h + oy * h / oh) * w + ox * w / ow) * c + ch
            };
            (0..images * oh * ow * c).map(|i| get(op.x)[at(i)]).collect()
        }
        Op::Embedding(op) => {
            let (tokens, c) = (shape(op.ids).channels(), shape(op.table).channels());
            let known = get(op.table).len();
            // Ids past the table are rows of what is added to it.
            let of = |i: usize| if i < known { get(op.table)[i] } else { get(op.added.unwrap())[i - known] };
            let id = |row: usize| get(op.ids)[row] as usize;
            let position = |i: usize| op.positions.map_or(0.0, |p| get(p)[i / c % tokens * c + i % c]);
            (0..get(op.ids).len() * c).map(|i| of(id(i / c) * c + i % c) + position(i)).collect()
        }
        Op::TimestepEmbedding(op) => {
            let embed = |row: usize| {
                let time = step(case, row).timestep;
                let angle = |f: &f64| f64::from(time * *f as f32);
                let sines = get(op.frequencies).iter().map(|f| angle(f).sin());
                let cosines = get(op.frequencies).iter().map(|f| angle(f).cos());
                let both: Vec<f64> = if op.cosine_first {
                    cosines.chain(sines).collect()
                } else {
                    sines.chain(cosines).collect()
                };
                both
            };
            (0..shape(op.table).rows()).flat_map(embed).collect()
        }
        Op::Row(op) => {
            let c = shape(op.x).channels();
            get(op.x)[step(case, case.row).row as usize * c..][..c].to_vec()
        }
        Op::FromLatents(op) => {
            let x = &get(op.latents)[op.from..][..op.shape.numel()];
            let one: Vec<f64> = x.iter().map(|x| x * f64::from(op.scale) + f64::from(op.shift)).collect();
            one.repeat(op.copies)
        }
        Op::ToRgba8(op) => {
            let byte = |v: f64| {
                let v = (v * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0;
                (if op.truncate { v.floor() } else { v.round_ties_even() }) as u8
            };
            let pixel = |x: &[f64]| u32::from_le_bytes([byte(x[0]), byte(x[1]), byte(x[2]), 255]);
            get(op.x).chunks(4).map(|x| f64::from(pixel(x))).collect()
        }
        Op::Range(op) => {
            let finite: Vec<f32> = get(op.x).iter().map(|&x| x as f32).filter(|x| x.is_finite()).collect();
            let bad = (get(op.x).len() - finite.len()) as u32;
            let least = Range::ordered(finite.iter().copied().fold(f32::INFINITY, f32::min));
            let greatest = Range::ordered(finite.iter().copied().fold(f32::NEG_INFINITY, f32::max));
            let row = [bad, least, greatest].map(f64::from);
            values.get_mut(&op.found).unwrap()[4 * op.slot..][..3].copy_from_slice(&row);
            Vec::new()
        }
        Op::SamplerStep(op) => sampler_step(case, op, values),
    }
}

/// Rows of `width` with another's beside them.
fn joined(x: &[f64], beside: Option<&[f64]>, width: usize) -> Vec<f64> {
    let Some(beside) = beside else { return x.to_vec() };
    let other = beside.len() / (x.len() / width);
    x.chunks(width).zip(beside.chunks(other)).flat_map(|(a, b)| [a, b].concat()).collect()
}

/// Each element less its part's mean, over its part's deviation.
fn normalise(x: &[f64], parts: usize, part: impl Fn(usize) -> usize, eps: f32) -> Vec<f64> {
    let mut sums = vec![[0.0, 0.0]; parts];
    x.iter().enumerate().for_each(|(i, x)| sums[part(i)] = [sums[part(i)][0] + x, sums[part(i)][1] + 1.0]);
    let mut squares = vec![0.0; parts];
    let off = |i: usize| x[i] - sums[part(i)][0] / sums[part(i)][1];
    (0..x.len()).for_each(|i| squares[part(i)] += off(i) * off(i));
    (0..x.len()).map(|i| off(i) / (squares[part(i)] / sums[part(i)][1] + f64::from(eps)).sqrt()).collect()
}

fn activate(activation: Activation, x: f64) -> f64 {
    let sigmoid = |x: f64| 1.0 / (1.0 + (-x).exp());
    match activation {
        Activation::None => x,
        Activation::Silu => x * sigmoid(x),
        Activation::Gelu => 0.5 * x * libm::erfc(-x / 2f64.sqrt()),
        Activation::GeluTanh => {
            0.5 * x * (1.0 + ((2.0 / std::f64::consts::PI).sqrt() * (x + 0.044715 * x.powi(3))).tanh())
        }
        Activation::QuickGelu => x * sigmoid(1.702 * x),
        Activation::Relu => x.max(0.0),
        Activation::Mish => x * x.exp().ln_1p().tanh(),
    }
}

fn conv2d(case: &Case, op: &Conv2d, values: &HashMap<ValueId, Vec<f64>>) -> Vec<f64> {
    let (y, _) = op.infer(&case.graph).unwrap();
    let x = case.graph.shape(op.x);
    let (&[_, h, w, c], &[_, oh, ow, n]) = (x.dims(), y.dims()) else { unreachable!() };
    let [seen_h, seen_w] = op.virtual_size(x);
    let [kh, kw] = op.kernel;
    let (x, weight) = (&values[&op.x], &values[&op.weight]);
    let one = |i: usize| {
        let (out, ox, oy, image) = (i % n, i / n % ow, i / n / ow % oh, i / n / ow / oh);
        let mut sum = op.bias.map_or(0.0, |b| values[&b][out]);
        for (ky, kx) in (0..kh).flat_map(|ky| (0..kw).map(move |kx| (ky, kx))) {
            let iy = (oy * op.stride + ky) as isize - op.padding.top as isize;
            let ix = (ox * op.stride + kx) as isize - op.padding.left as isize;
            if iy < 0 || ix < 0 || iy >= seen_h as isize || ix >= seen_w as isize {
                continue;
            }
            let (iy, ix) = (iy as usize * h / seen_h, ix as usize * w / seen_w);
            let pixel = &x[((image * h + iy) * w + ix) * c..][..c];
            sum += (0..c).map(|j| pixel[j] * weight[((ky * kw + kx) * c + j) * n + out]).sum::<f64>();
        }
        if let Some(v) = op.image_bias {
            sum += values[&v][if case.graph.shape(v).rows() == 1 { out } else { image * n + out }];
        }
        activate(op.activation, sum) + op.residual.map_or(0.0, |r| values[&r][i])
    };
    (0..y.numel()).map(one).collect()
}

fn attention(case: &Case, op: &Attention, values: &HashMap<ValueId, Vec<f64>>) -> Vec<f64> {
    let [q, k, v] = [op.q, op.k, op.v].map(|x| &values[&x][..]);
    let (shape, c) = (case.graph.shape(op.q), case.graph.shape(op.q).channels());
    let (queries, keys) = (shape.dims()[1], case.graph.shape(op.k).dims()[1]);
    let head = c / op.heads;
    let mut y = vec![0.0; q.len()];
    for row in 0..shape.rows() {
        let (image, query) = (row / queries, row % queries);
        let end = if op.causal { keys.min(query + 1) } else { keys };
        for first in (0..c).step_by(head) {
            let dot = |key: usize| {
                let at = (image * keys + key) * c + first;
                f64::from(op.scale) * (0..head).map(|i| q[row * c + first + i] * k[at + i]).sum::<f64>()
            };
            let scores: Vec<f64> = (0..end).map(dot).collect();
            let top = scores.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            let total: f64 = scores.iter().map(|s| (s - top).exp()).sum();
            for i in first..first + head {
                let value = |key: usize| (scores[key] - top).exp() / total * v[(image * keys + key) * c + i];
                y[row * c + i] = (0..end).map(value).sum();
            }
        }
    }
    y
}

fn step(case: &Case, row: usize) -> StepRow {
    let table = tensor_of(case, "table");
    let row = &table.bytes()[row * 4 * StepRow::WORDS..][..size_of::<StepRow>()];
    bytemuck::pod_read_unaligned(row)
}
