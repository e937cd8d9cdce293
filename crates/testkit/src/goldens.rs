//! PyTorch's results for single ops (`tests/goldens/ops.json`, described in `tests/goldens/README.md`), as cases
//! in our own layout.

use crate::{Builder, Case, Fill, Tolerance};
use calotype_graph::ops::{
    Attention, Conv2d, Embedding, Geglu, GroupNorm, LayerNorm, Matmul, Padding, Row, StepRow,
    TimestepEmbedding, Upsample,
};
use calotype_graph::{Activation, Elem, ValueId};
use calotype_tensor::{HostTensor, Shape};
use safetensors::SafeTensors;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;

/// What can be wrong with the goldens.
#[derive(Debug, thiserror::Error)]
#[error("{file}: {problem}")]
pub struct Error {
    file: String,
    problem: String,
}

/// A case and what PyTorch makes of it, in our layout.
pub struct Golden {
    /// The case: its only output is what `expected` is compared with.
    pub case: Case,
    /// PyTorch's result, computed in f64 and rounded once.
    pub expected: HostTensor,
}

#[derive(Deserialize)]
struct Entry {
    op: String,
    name: String,
    attrs: Attributes,
    inputs: BTreeMap<String, String>,
    output: String,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct Attributes {
    stride: usize,
    padding: usize,
    upsample: usize,
    activation: String,
    heads: usize,
    causal: bool,
    scale: f32,
    groups: usize,
    eps: f32,
    silu: bool,
    dim: usize,
    flip_sin_to_cos: bool,
    downscale_freq_shift: f64,
    max_period: f64,
    height: usize,
    width: usize,
}

/// Every golden of the folder `tests/goldens`. Fails where a file is missing or not as its README describes it.
pub fn ops(folder: &Path) -> Result<Vec<Golden>, Error> {
    let manifest = folder.join("ops.json");
    let tensors = folder.join("ops.safetensors");
    let fail = |path: &Path, problem: String| Error { file: path.display().to_string(), problem };
    let read = |path: &Path| std::fs::read(path).map_err(|e| fail(path, e.to_string()));
    let entries: Vec<Entry> =
        serde_json::from_slice(&read(&manifest)?).map_err(|e| fail(&manifest, e.to_string()))?;
    let bytes = read(&tensors)?;
    let store = SafeTensors::deserialize(&bytes).map_err(|e| fail(&tensors, e.to_string()))?;
    let mut all = Vec::new();
    for entry in &entries {
        let convert = || -> Result<Vec<Golden>, String> { Torch { entry, store: &store }.goldens() };
        all.extend(convert().map_err(|problem| fail(&manifest, format!("{}: {problem}", entry.name)))?);
    }
    Ok(all)
}

/// One entry with its tensors, in PyTorch's layout.
struct Torch<'a> {
    entry: &'a Entry,
    store: &'a SafeTensors<'a>,
}

impl Torch<'_> {
    fn tensor(&self, key: &str) -> Result<HostTensor, String> {
        let view = self.store.tensor(key).map_err(|e| format!("tensor {key}: {e}"))?;
        let shape = Shape::new(view.shape());
        match view.dtype() {
            safetensors::Dtype::F32 => {
                Ok(HostTensor::from_f32(shape, &bytemuck::pod_collect_to_vec(view.data())))
            }
            safetensors::Dtype::I64 => {
                let ids: Vec<i64> = bytemuck::pod_collect_to_vec(view.data());
                let ids: Result<Vec<u32>, _> = ids.into_iter().map(u32::try_from).collect();
                Ok(HostTensor::from_u32(shape, &ids.map_err(|e| format!("tensor {key}: {e}"))?))
            }
            other => Err(format!("tensor {key} is {other:?}")),
        }
    }

    fn input(&self, name: &str) -> Result<HostTensor, String> {
        self.tensor(self.entry.inputs.get(name).ok_or_else(|| format!("has no input {name}"))?)
    }

    fn goldens(&self) -> Result<Vec<Golden>, String> {
        let a = &self.entry.attrs;
        let output = self.tensor(&self.entry.output)?;
        let one = |case: Case, expected: HostTensor| Ok(vec![Golden { case, expected }]);
        match self.entry.op.as_str() {
            "conv2d" => one(self.conv2d()?, nhwc(&output)),
            "linear" => one(self.linear()?, rows(output)),
            "attention" => one(self.attention()?, output),
            "group_norm" => one(self.group_norm()?, nhwc(&output)),
            "layer_norm" => one(self.layer_norm()?, rows(output)),
            "upsample_nearest" => {
                let x = nhwc(&self.input("x")?);
                let case = self.case("upsample", Tolerance::EXACT, |b| {
                    let x = given(b, "x", x);
                    b.op(Upsample { x, size: [a.height, a.width] });
                });
                one(case, nhwc(&output))
            }
            "embedding" => one(self.embedding()?, rows(output)),
            "timestep_embedding" => self.timestep_embeddings(&output),
            other => Err(format!("op {other} is unknown")),
        }
    }

    fn case(&self, stem: &str, tolerance: Tolerance, build: impl FnOnce(&mut Builder)) -> Case {
        let particular = self.entry.name.split_once('.').map_or("", |(_, name)| name);
        Case::new(&format!("{stem}.torch.{particular}"), tolerance, build)
    }

    fn conv2d(&self) -> Result<Case, String> {
        let a = &self.entry.attrs;
        let (x, weight, bias) = (nhwc(&self.input("x")?), self.input("weight")?, self.input("bias")?);
        let &[out, channels, kh, kw] = weight.shape().dims() else { return Err("weight is not OIHW".into()) };
        let size = [x.shape().dims()[1], x.shape().dims()[2]];
        Ok(self.case("conv2d", Tolerance::SUM, |b| {
            let x = given(b, "x", x);
            let (w, v) = (b.kernel("weight", out, channels, [kh, kw]), b.vector("bias", out, 0.0));
            b.case.fills.insert("weight".into(), Fill::Given(weight));
            b.case.fills.insert("bias".into(), Fill::Given(bias));
            b.op(Conv2d {
                bias: Some(v),
                stride: a.stride,
                padding: Padding::all(a.padding),
                upsample: (a.upsample > 1).then(|| size.map(|s| s * a.upsample)),
                ..Conv2d::new(x, w, [kh, kw])
            });
        }))
    }

    fn linear(&self) -> Result<Case, String> {
        let (x, weight) = (rows(self.input("x")?), self.input("weight")?);
        let bias = self.entry.inputs.get("bias").map(|key| self.tensor(key)).transpose()?;
        let &[n, k] = weight.shape().dims() else { return Err("weight is not [out, in]".into()) };
        let (activation, gated) = match self.entry.attrs.activation.as_str() {
            "none" => (Activation::None, false),
            "silu" => (Activation::Silu, false),
            "gelu" => (Activation::Gelu, false),
            "gelu_tanh" => (Activation::GeluTanh, false),
            "quick_gelu" => (Activation::QuickGelu, false),
            "geglu" => (Activation::None, true),
            other => return Err(format!("activation {other} is unknown")),
        };
        let tolerance = if activation == Activation::GeluTanh { Tolerance::TANH } else { Tolerance::SUM };
        Ok(self.case(if gated { "geglu" } else { "matmul" }, tolerance, |b| {
            let x = given(b, "x", x);
            let w = b.matrix("weight", k, n);
            b.case.fills.insert("weight".into(), Fill::Given(weight));
            let bias = bias.map(|tensor| {
                let v = b.vector("bias", n, 0.0);
                b.case.fills.insert("bias".into(), Fill::Given(tensor));
                v
            });
            let op = Matmul { activation, ..Matmul::new(x, w, bias) };
            if gated {
                let x = b.push(op);
                b.op(Geglu { x, activation: Activation::Gelu });
            } else {
                b.op(op);
            }
        }))
    }

    fn attention(&self) -> Result<Case, String> {
        let a = &self.entry.attrs;
        let (q, k, v) = (self.input("q")?, self.input("k")?, self.input("v")?);
        Ok(self.case("attention", Tolerance { f32: 1e-5, f16: 1e-3 }, |b| {
            let (q, k, v) = (given(b, "q", q), given(b, "k", k), given(b, "v", v));
            b.op(Attention { q, k, v, heads: a.heads, scale: a.scale, causal: a.causal });
        }))
    }

    /// `weight` and `bias`, of a norm.
    fn affine(&self) -> Result<impl FnOnce(&mut Builder) -> (ValueId, ValueId) + use<>, String> {
        let (gamma, beta) = (self.input("weight")?, self.input("bias")?);
        Ok(|b: &mut Builder| {
            let channels = gamma.shape().numel();
            let ids = (b.vector("gamma", channels, 1.0), b.vector("beta", channels, 0.0));
            b.case.fills.insert("gamma".into(), Fill::Given(gamma));
            b.case.fills.insert("beta".into(), Fill::Given(beta));
            ids
        })
    }

    fn group_norm(&self) -> Result<Case, String> {
        let a = &self.entry.attrs;
        let (x, affine) = (nhwc(&self.input("x")?), self.affine()?);
        let activation = if a.silu { Activation::Silu } else { Activation::None };
        Ok(self.case("group_norm", Tolerance { f32: 1e-5, f16: 1e-3 }, |b| {
            let x = given(b, "x", x);
            let (gamma, beta) = affine(b);
            b.op(GroupNorm { x, beside: None, gamma, beta, groups: a.groups, eps: a.eps, activation });
        }))
    }

    fn layer_norm(&self) -> Result<Case, String> {
        let (x, affine, eps) = (rows(self.input("x")?), self.affine()?, self.entry.attrs.eps);
        Ok(self.case("layer_norm", Tolerance { f32: 1e-5, f16: 1e-3 }, |b| {
            let x = given(b, "x", x);
            let (gamma, beta) = affine(b);
            b.op(LayerNorm { x, gamma, beta, eps });
        }))
    }

    fn embedding(&self) -> Result<Case, String> {
        let (ids, weight) = (self.input("ids")?, self.input("weight")?);
        let count = ids.shape().numel();
        let &[vocabulary, channels] = weight.shape().dims() else {
            return Err("weight is not [V, C]".into());
        };
        Ok(self.case("embedding", Tolerance::EXACT, |b| {
            let ids = b.input("ids", [1, count], Elem::U32, Fill::Given(ids));
            let table = b.table("weight", vocabulary, channels);
            b.case.fills.insert("weight".into(), Fill::Given(weight));
            b.op(Embedding { ids, table, added: None, positions: None });
        }))
    }

    /// One case for each time, since a run sees one row of the step table.
    fn timestep_embeddings(&self, output: &HostTensor) -> Result<Vec<Golden>, String> {
        let a = &self.entry.attrs;
        let times = self.input("timesteps")?.to_f32();
        let half = a.dim / 2;
        let frequency =
            |i: usize| (-a.max_period.ln() * i as f64 / (half as f64 - a.downscale_freq_shift)).exp() as f32;
        let frequencies: Vec<f32> = (0..half).map(frequency).collect();
        let step = |(row, &timestep)| StepRow { timestep, row: row as u32, ..bytemuck::Zeroable::zeroed() };
        let table: Vec<StepRow> = times.iter().enumerate().map(step).collect();
        let expected = output.to_f32();
        let golden = |row: usize| {
            // The golden's angles are exact, ours rounded: 2⁻²⁴ of them.
            let tolerance = Tolerance { f32: 2e-6 + 1.2e-7 * f64::from(times[row]), f16: 1e-3 };
            let mut case = self.case("timestep_embedding", tolerance, |b| {
                let steps = Fill::Steps(table.clone());
                let table = b.input("table", [times.len(), StepRow::WORDS], Elem::U32, steps);
                let frequencies = b.case.graph.constant("frequencies", &frequencies);
                let cosine_first = a.flip_sin_to_cos;
                let x = b.push(TimestepEmbedding { table, frequencies, cosine_first });
                b.op(Row { x, table });
            });
            case.name = format!("{}@{}", case.name, times[row]);
            case.row = row;
            Golden { case, expected: HostTensor::from_f32([1, a.dim], &expected[row * a.dim..][..a.dim]) }
        };
        Ok((0..times.len()).map(golden).collect())
    }
}

fn given(b: &mut Builder, name: &str, tensor: HostTensor) -> ValueId {
    b.input(name, tensor.shape(), Elem::Float, Fill::Given(tensor))
}

/// `[…, C]` as `[1, rows, C]`.
fn rows(tensor: HostTensor) -> HostTensor {
    let shape = tensor.shape();
    tensor.reshape([1, shape.rows(), shape.channels()])
}

/// NCHW to NHWC.
fn nhwc(tensor: &HostTensor) -> HostTensor {
    let d = tensor.shape();
    let &[b, c, h, w] = d.dims() else { return tensor.clone() };
    let from = tensor.to_f32();
    let mut to = Vec::with_capacity(from.len());
    for image in 0..b {
        for pixel in 0..h * w {
            to.extend((0..c).map(|channel| from[(image * c + channel) * h * w + pixel]));
        }
    }
    HostTensor::from_f32([b, h, w, c], &to)
}
