use crate::{Builder, Case, Fill, Tolerance};
use calotype_graph::ops::{
    Add, Attention, Concat, Conv2d, Geglu, GroupNorm, LayerNorm, Matmul, Padding, Row, StepRow,
};
use calotype_graph::{Activation, Elem, Quant, ValueId, passes};

/// Ops as models emit them: after the passes they are what kernels do beyond what a lone op asks of them.
fn case(name: &str, tolerance: Tolerance, build: impl FnOnce(&mut Builder) -> ValueId) -> Case {
    Case::new(&format!("fused.{name}"), tolerance, |b| {
        let y = build(b);
        b.case.graph.output("y", y);
    })
}

/// Sums after sums: the second's operands carry the first's error, and in f16 its rounding, some times over.
const CHAIN: Tolerance = Tolerance { f32: 2e-5, f16: 3e-3 };

fn linear(b: &mut Builder, name: &str, x: ValueId, n: usize, bias: bool) -> ValueId {
    let k = b.case.graph.value(x).shape.channels();
    let weight = b.matrix(&format!("{name}.weight"), k, n);
    let bias = bias.then(|| b.vector(&format!("{name}.bias"), n, 0.0));
    b.push(Matmul::new(x, weight, bias))
}

fn layer_norm(b: &mut Builder, name: &str, x: ValueId) -> ValueId {
    let c = b.case.graph.value(x).shape.channels();
    let gamma = b.vector(&format!("{name}.weight"), c, 1.0);
    let beta = b.vector(&format!("{name}.bias"), c, 0.0);
    b.push(LayerNorm { x, gamma, beta, eps: 1e-5 })
}

/// Queries, keys and values of one operand, or keys and values of another.
fn attention(name: &str, [batch, rows, keys]: [usize; 3], heads: [usize; 2], bias: bool) -> Case {
    case(&format!("attention_{name}"), CHAIN, |b| {
        let [heads, head] = heads;
        let c = heads * head;
        let x = b.x("x", [batch, rows, c]);
        let context = if keys == 0 { x } else { b.x("context", [batch, keys, 24]) };
        let [q, k, v] = [("q", x), ("k", context), ("v", context)].map(|(n, x)| linear(b, n, x, c, bias));
        b.push(Attention { q, k, v, heads, scale: 1.0 / (head as f32).sqrt(), causal: keys == 0 && bias })
    })
}

/// Values times gates, and a residual where there is one.
fn gate(name: &str, [rows, k, n]: [usize; 3], activation: Activation, bias: bool, residual: bool) -> Case {
    case(&format!("gate_{name}"), Tolerance::SUM, |b| {
        let x = b.x("x", [1, rows, k]);
        let h = linear(b, "proj", x, 2 * n, bias);
        let y = b.push(Geglu { x: h, activation });
        if !residual {
            return y;
        }
        let other = b.x("residual", [1, rows, n]);
        b.push(Add { a: y, b: other })
    })
}

/// A transformer's three parts: attention to itself, and gated feed-forward layers, each on a norm and added.
fn transformer(name: &str, [batch, rows, heads, head]: [usize; 4]) -> Case {
    case(&format!("transformer_{name}"), CHAIN, |b| {
        let c = heads * head;
        let x = b.x("x", [batch, rows, c]);
        let x = linear(b, "proj_in", x, c, true);
        let h = layer_norm(b, "norm1", x);
        let [q, k, v] = ["q", "k", "v"].map(|name| linear(b, name, h, c, false));
        let scale = 1.0 / (head as f32).sqrt();
        let h = b.push(Attention { q, k, v, heads, scale, causal: false });
        let h = linear(b, "to_out", h, c, true);
        let x = b.push(Add { a: x, b: h });
        let h = layer_norm(b, "norm3", x);
        let h = linear(b, "ff.0", h, 8 * c, true);
        let h = b.push(Geglu { x: h, activation: Activation::Gelu });
        let h = linear(b, "ff.2", h, c, true);
        b.push(Add { a: x, b: h })
    })
}

/// A skip connection taken up: a group norm and a shortcut of two values side by side.
fn skip(name: &str, [batch, side, a, b]: [usize; 4], groups: usize, out: usize) -> Case {
    case(&format!("skip_{name}"), CHAIN, |builder| {
        let x = builder.x("x", [batch, side, side, a]);
        let skip = builder.input(
            "skip",
            [batch, side, side, b],
            Elem::Float,
            Fill::Spread { mean: 3.0, spread: 2.0 },
        );
        let x = builder.push(Concat { a: x, b: skip });
        let gamma = builder.vector("norm.weight", a + b, 1.0);
        let beta = builder.vector("norm.bias", a + b, 0.0);
        let activation = Activation::Silu;
        let h = builder.push(GroupNorm { x, beside: None, gamma, beta, groups, eps: 1e-5, activation });
        let h = linear(builder, "conv", h, out, true);
        let shortcut = linear(builder, "shortcut", x, out, true);
        builder.push(Add { a: shortcut, b: h })
    })
}

/// A layer norm between two products, of rows far from zero: the first's bias is `mean`.
fn row_norm(name: &str, [rows, k, n, out]: [usize; 4], mean: f32) -> Case {
    case(&format!("row_norm_{name}"), CHAIN, |b| {
        let x = b.x("x", [1, rows, k]);
        let weight = b.matrix("first.weight", k, n);
        let bias = b.vector("first.bias", n, mean);
        let residual = b.x("residual", [1, rows, n]);
        let x = b.push(Matmul::new(x, weight, Some(bias)));
        let x = b.push(Add { a: x, b: residual });
        let h = layer_norm(b, "norm", x);
        let h = linear(b, "second", h, out, true);
        let y = linear(b, "third", x, out, false);
        b.push(Add { a: y, b: h })
    })
}

/// Convolutions that each add their row of what is made of all steps' times.
fn times(name: &str, [steps, row, width]: [usize; 3], outs: &[usize]) -> Case {
    let mut case = case(&format!("times_{name}"), Tolerance::SUM, |b| {
        let row = |row: usize| StepRow { row: row as u32, ..bytemuck::Zeroable::zeroed() };
        let rows = Fill::Steps((0..steps).map(row).collect());
        let table = b.input("table", [steps, StepRow::WORDS], Elem::U32, rows);
        let time = b.x("time", [steps, width]);
        let mut x = b.x("x", [2, 5, 3, 8]);
        for (i, &out) in outs.iter().enumerate() {
            let channels = b.case.graph.value(x).shape.channels();
            let weight = b.kernel(&format!("{i}.conv"), out, channels, [3, 3]);
            let padding = Padding::all(1);
            let h = b.push(Conv2d { padding, ..Conv2d::new(x, weight, [3, 3]) });
            let rows = linear(b, &format!("{i}.time"), time, out, true);
            let row = b.push(Row { x: rows, table });
            x = b.push(Add { a: h, b: row });
        }
        x
    });
    case.row = row;
    case
}

/// The cases after the passes.
pub(super) fn cases() -> Vec<Case> {
    unfused_cases().into_iter().map(|case| Case { graph: passes::fuse(case.graph), ..case }).collect()
}

/// Parts of models as they are built, before any pass.
pub fn unfused_cases() -> Vec<Case> {
    let gelu = Activation::Gelu;
    let mut all = vec![
        attention("self", [2, 64, 0], [8, 40], false),
        attention("self_biased_causal", [1, 77, 0], [4, 64], true),
        attention("cross", [2, 33, 77], [8, 20], false),
        attention("odd_heads", [1, 17, 0], [8, 5], false),
        attention("odd_channels", [1, 9, 0], [3, 7], false),
        gate("unet", [64, 320, 1280], gelu, true, false),
        gate("past_a_tile", [65, 68, 68], gelu, true, true),
        gate("whole_past_a_tile", [65, 128, 68], gelu, true, true),
        gate("short", [3, 4, 4], Activation::Silu, false, true),
        gate("odd", [5, 6, 7], gelu, true, false),
        transformer("unet", [2, 64, 8, 40]),
        transformer("past_a_tile", [3, 43, 2, 64]),
        transformer("short", [1, 5, 2, 12]),
        skip("unet", [2, 8, 320, 640], 32, 64),
        skip("past_a_tile", [1, 9, 68, 8], 2, 68),
        skip("group_across_both", [3, 5, 12, 20], 4, 12),
        skip("odd_groups", [2, 5, 12, 8], 4, 12),
        skip("odd_channels", [1, 5, 6, 8], 7, 9),
        skip("one_pixel", [2, 1, 8, 8], 2, 8),
        row_norm("unet", [64, 320, 320, 320], 0.0),
        row_norm("past_a_tile", [65, 68, 80, 36], 0.5),
        row_norm("whole_past_a_tile", [65, 64, 128, 36], 0.5),
        row_norm("narrow", [7, 4, 16, 4], 0.0),
        row_norm("odd", [5, 8, 24, 8], 0.0),
        row_norm("far_from_zero", [33, 32, 128, 64], 6.0),
        times("three", [4, 2, 32], &[12, 320, 8]),
        times("odd", [2, 1, 12], &[8, 7, 8, 12]),
    ];
    // Matrices side by side, gated, of two operands, with moments and norms: those in blocks too.
    for (kind, quant) in [("q8_0", Quant::Q8_0), ("q4_0", Quant::Q4_0)] {
        all.push(Case { quant, ..transformer(&format!("{kind}_unet"), [2, 64, 8, 40]) });
        all.push(Case { quant, ..gate(&format!("{kind}_past_a_tile"), [65, 64, 68], gelu, true, true) });
        all.push(Case { quant, ..skip(&format!("{kind}_unet"), [2, 8, 320, 640], 32, 64) });
        all.push(Case { quant, ..row_norm(&format!("{kind}_past_a_tile"), [65, 64, 96, 36], 0.5) });
    }
    all
}
