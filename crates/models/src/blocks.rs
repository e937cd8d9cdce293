//! The layers that all three models are made of. Each takes its input's width from the input, names its weights as
//! PyTorch does, and adds one op: [`calotype_graph::passes::fuse`] joins them.

use crate::Result;
use calotype_graph::ops::{Activate, Add, Concat, Conv2d, GroupNorm, LayerNorm, Matmul, Padding, Upsample};
use calotype_graph::{Activation, Graph, Layout, ValueId};
use calotype_tensor::Shape;

/// Height and width of `[B, H, W, C]`.
pub fn size(g: &Graph, x: ValueId) -> [usize; 2] {
    let shape = g.value(x).shape;
    [shape.dims()[1], shape.dims()[2]]
}

/// The innermost axis.
pub fn channels(g: &Graph, x: ValueId) -> usize {
    g.value(x).shape.channels()
}

/// `Linear`: `[…, K]` to `[…, N]`.
pub fn linear(g: &mut Graph, name: &str, x: ValueId, n: usize) -> Result<ValueId> {
    let shape = [n, channels(g, x)];
    product(g, name, x, shape, true)
}

/// `Linear` without a bias.
pub fn linear_unbiased(g: &mut Graph, name: &str, x: ValueId, n: usize) -> Result<ValueId> {
    let shape = [n, channels(g, x)];
    product(g, name, x, shape, false)
}

/// `Conv2d` of one pixel, which over NHWC is a product: `[…, K]` to `[…, N]`.
pub fn conv1x1(g: &mut Graph, name: &str, x: ValueId, n: usize) -> Result<ValueId> {
    let shape = [n, channels(g, x), 1, 1];
    product(g, name, x, shape, true)
}

fn product(g: &mut Graph, name: &str, x: ValueId, shape: impl Into<Shape>, biased: bool) -> Result<ValueId> {
    let shape = shape.into();
    let (n, k) = (shape.dims()[0], shape.dims()[1]);
    g.scope(name, |g| {
        let weight = g.weight(&["weight"], shape, Layout::Matrix, [k, n]);
        let bias = biased.then(|| vector(g, "bias", n));
        Ok(g.push("", Matmul::new(x, weight, bias))?)
    })
}

/// `Conv2d` of three by three pixels that keeps the size: `[B, H, W, C]` to `[B, H, W, O]`.
pub fn conv3x3(g: &mut Graph, name: &str, x: ValueId, out: usize) -> Result<ValueId> {
    let own = channels(g, x);
    conv(g, name, x, (own, [out, out]), EVERY)
}

/// [`conv3x3`] whose output has more channels than the checkpoint's: the rest are zeros.
pub fn conv3x3_padded(g: &mut Graph, name: &str, x: ValueId, out: usize, padded: usize) -> Result<ValueId> {
    let own = channels(g, x);
    conv(g, name, x, (own, [out, padded]), EVERY)
}

/// [`conv3x3`] whose input has more channels than the checkpoint's, `own`: what is in the rest is passed over.
pub fn conv3x3_of(g: &mut Graph, name: &str, x: ValueId, own: usize, out: usize) -> Result<ValueId> {
    conv(g, name, x, (own, [out, out]), EVERY)
}

/// `Conv2d` of three by three pixels that takes every other one: `[B, H, W, C]` to `[B, ⌈H/2⌉, ⌈W/2⌉, O]`.
pub fn downsample(g: &mut Graph, name: &str, x: ValueId, out: usize) -> Result<ValueId> {
    let own = channels(g, x);
    conv(g, name, x, (own, [out, out]), (2, Padding::all(1)))
}

/// [`downsample`] with zeros below and to the right alone: `[B, H, W, C]` to `[B, ⌊H/2⌋, ⌊W/2⌋, O]`.
pub fn downsample_below(g: &mut Graph, name: &str, x: ValueId, out: usize) -> Result<ValueId> {
    let (own, padding) = (channels(g, x), Padding { bottom: 1, right: 1, ..Padding::default() });
    conv(g, name, x, (own, [out, out]), (2, padding))
}

/// Resampling to a size and a [`conv3x3`] that smooths it: `[B, H, W, C]` to `[B, size, C]`.
pub fn upsample(g: &mut Graph, name: &str, x: ValueId, size: [usize; 2]) -> Result<ValueId> {
    let out = channels(g, x);
    let x = g.scope(name, |g| g.push("upsample", Upsample { x, size }))?;
    conv3x3(g, name, x, out)
}

/// Every pixel, and as many as there are.
const EVERY: (usize, Padding) = (1, Padding { top: 1, left: 1, bottom: 1, right: 1 });

fn conv(
    g: &mut Graph,
    name: &str,
    x: ValueId,
    (own, [out, padded]): (usize, [usize; 2]),
    (stride, padding): (usize, Padding),
) -> Result<ValueId> {
    let channels = channels(g, x);
    let kernel = [3, 3];
    g.scope(name, |g| {
        let layout = Layout::Conv { kernel, channels };
        let weight = g.weight(&["weight"], [out, own, 3, 3], layout, [9 * channels, padded]);
        let bias = g.weight(&["bias"], [out], Layout::Vector, [padded]);
        let conv = Conv2d { bias: Some(bias), stride, padding, ..Conv2d::new(x, weight, kernel) };
        Ok(g.push("", conv)?)
    })
}

/// `GroupNorm` over `[B, …, C]`.
pub fn group_norm(g: &mut Graph, name: &str, x: ValueId, groups: usize, eps: f32) -> Result<ValueId> {
    let c = channels(g, x);
    g.scope(name, |g| {
        let (gamma, beta) = (vector(g, "weight", c), vector(g, "bias", c));
        Ok(g.push("", GroupNorm { x, beside: None, gamma, beta, groups, eps, activation: Activation::None })?)
    })
}

/// `LayerNorm` over `[…, C]`.
pub fn layer_norm(g: &mut Graph, name: &str, x: ValueId, eps: f32) -> Result<ValueId> {
    let c = channels(g, x);
    g.scope(name, |g| {
        let (gamma, beta) = (vector(g, "weight", c), vector(g, "bias", c));
        Ok(g.push("", LayerNorm { x, gamma, beta, eps })?)
    })
}

/// An activation, of any shape.
pub fn activate(g: &mut Graph, x: ValueId, activation: impl Into<Activation>) -> Result<ValueId> {
    Ok(g.push("act", Activate { x, activation: activation.into() })?)
}

/// `a + b`, where b may be one row of channels for an image.
pub fn add(g: &mut Graph, a: ValueId, b: ValueId) -> Result<ValueId> {
    Ok(g.push("add", Add { a, b })?)
}

/// a's channels, then b's.
pub fn concat(g: &mut Graph, a: ValueId, b: ValueId) -> Result<ValueId> {
    Ok(g.push("concat", Concat { a, b })?)
}

fn vector(g: &mut Graph, name: &str, n: usize) -> ValueId {
    g.weight(&[name], [n], Layout::Vector, [n])
}
