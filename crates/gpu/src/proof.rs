//! A tier's proof: a few ops on random numbers, run several times on this adapter under the tier's kernels and once
//! under those that every device has. Drivers err; what errs here is not used.

use crate::runner::Runner;
use calotype_graph::lower::{Product, candidates};
use calotype_graph::ops::{Activation, Attention, Conv2d, GroupNorm, LayerNorm, Matmul, Padding};
use calotype_graph::{Caps, Elem, Error, Graph, Layout, Port, Ports, Precision, ProgramSpec, Rate};
use calotype_tensor::{DType, HostTensor, Made, Shape, Tensors};

/// How far a tier may be from the plain one, of the largest magnitude: both store f16, which rounds by 4.9e-4 at most, in
/// up to four kernels one after another. Kernels that are wrong are off by far more.
const BOUND: f32 = 4e-3;

/// Runs of a tier, which must agree in every bit.
const RUNS: usize = 3;

/// What the plain kernels find: held to the host's sums, since a device that computes nothing agrees with itself.
pub(crate) async fn reference(gpu: &mut Runner, plain: &Caps) -> Result<Vec<HostTensor>, String> {
    let found = run(gpu, plain, &OUTPUTS, 1).await.map_err(|e| e.to_string())?.remove(0);
    held(&found)?;
    Ok(found)
}

/// Whether the device computes at all: one product of its plain kernels against the host's sums; if not, what it does.
pub(crate) async fn computes(gpu: &mut Runner, plain: &Caps) -> Result<(), String> {
    let runs = run(gpu, plain, &OUTPUTS[..1], 1).await.map_err(|e| e.to_string())?;
    held(&runs[0])
}

/// Whether results, in the order of [`OUTPUTS`], can be a reference.
fn held(found: &[HostTensor]) -> Result<(), String> {
    let values: Vec<Vec<f32>> = found.iter().map(HostTensor::to_f32).collect();
    if values.iter().flatten().all(|v| *v == 0.0) {
        return Err("it computes nothing: its plain kernels leave zeros".into());
    }
    for (name, values) in OUTPUTS.iter().zip(&values) {
        if values.iter().all(|v| *v == values[0]) {
            return Err(format!("its plain kernels' {name} is {} throughout", values[0]));
        }
    }
    let apart = apart(&values[0], &host_product());
    if apart.is_nan() || apart > BOUND {
        return Err(format!(
            "its plain kernels' product is off by {apart:.1e} of the largest that the host finds"
        ));
    }
    Ok(())
}

/// The product by the host, in double precision: four million terms.
fn host_product() -> Vec<f32> {
    let [m, k, n] = PRODUCT;
    let values = |tensor: HostTensor| -> Vec<f64> {
        tensor.cast(DType::F16).to_f32().into_iter().map(f64::from).collect()
    };
    let x = values(numbers("x", [1, m, k].into(), 1.0));
    let weight = values(made("weight", [n, k].into()));
    let sum = |i: usize| -> f64 {
        let (row, column) = (&x[i / n * k..][..k], &weight[i % n * k..][..k]);
        row.iter().zip(column).map(|(a, b)| a * b).sum()
    };
    (0..m * n).map(|i| sum(i) as f32).collect()
}

/// The largest difference, of the largest magnitude expected.
fn apart(found: &[f32], expected: &[f32]) -> f32 {
    let largest = expected.iter().fold(0.0f32, |m, v| m.max(v.abs()));
    found.iter().zip(expected).map(|(a, b)| (a - b).abs()).fold(0.0, nan_max) / largest
}

/// Whether kernels chosen for `caps` agree with the plain ones and with themselves; if not, how they differ.
pub(crate) async fn prove(gpu: &mut Runner, caps: &Caps, reference: &[HostTensor]) -> Result<(), String> {
    let runs = run(gpu, caps, outputs(caps), RUNS).await.map_err(|e| e.to_string())?;
    for (at, name) in outputs(caps).iter().enumerate() {
        let apart = apart(&runs[0][at].to_f32(), &reference[at].to_f32());
        // No number where the reference is zero throughout.
        if apart.is_nan() || apart > BOUND {
            return Err(format!("its {name} is off by {apart:.1e} of the largest"));
        }
        if runs.iter().any(|run| run[at].bytes() != runs[0][at].bytes()) {
            return Err(format!("its {name} differs from run to run"));
        }
    }
    Ok(())
}

/// The most ways there are to cut up one of the proof's products: [`Caps::only_cut`] tries them one by one. Its depths are
/// such that slices of k are among them, the last shorter than the others.
pub(crate) fn cuts(caps: &Caps) -> Result<usize, Error> {
    let mut graph = experiment(caps.software, &OUTPUTS[..PRODUCTS])?;
    graph.resolve(&weights(&graph), Precision::F16)?;
    let product = |node| Product::of(&graph, node, Precision::F16, caps);
    let ways = graph.nodes().iter().filter_map(product).map(|p| candidates(caps, &p).len());
    Ok(ways.max().unwrap_or(0))
}

/// The larger, and no number where either is none.
fn nan_max(a: f32, b: f32) -> f32 {
    if a.is_nan() || b.is_nan() { f32::NAN } else { a.max(b) }
}

/// Stable Diffusion's sizes of heads, and one as long as kernels for its VAE's are for.
const HEADS: [usize; 5] = [40, 64, 80, 160, 320];

/// What is computed.
const OUTPUTS: [&str; 5] = ["product", "convolution", "layer norm", "group norm", "attention"];

/// How many of these depend on how products are cut up: the first.
const PRODUCTS: usize = 2;

/// What is computed under `caps`: all of it in the first cut, and in each other what differs, since this is done at every
/// start.
fn outputs(caps: &Caps) -> &'static [&'static str] {
    if caps.only_cut.is_some_and(|at| at > 0) { &OUTPUTS[..PRODUCTS] } else { &OUTPUTS }
}

/// The product's m, k and n.
const PRODUCT: [usize; 3] = [150, 192, 136];

/// No size is a multiple of a tile's, and the product takes more than one of each; but depths and channels are whole slices
/// of k, as models' are: matrices take no others.
fn experiment(software: bool, outputs: &[&str]) -> Result<Graph, Error> {
    let mut g = Graph::new("proof of a tier");
    let [m, k, n] = PRODUCT;
    let (size, channels, out) = (9, 64, 72);
    let x = g.input("x", [1, m, k], Elem::Float, Rate::Step);
    let weight = g.weight(&["weight"], [n, k], Layout::Matrix, [k, n]);
    let product = g.push(OUTPUTS[0], Matmul::new(x, weight, None))?;
    g.output(OUTPUTS[0], product);
    if outputs.len() == 1 {
        return Ok(g);
    }
    let image = g.input("image", [1, size, size, channels], Elem::Float, Rate::Step);
    let layout = Layout::Conv { kernel: [3, 3], channels };
    let kernel = g.weight(&["kernel"], [out, channels, 3, 3], layout, [9 * channels, out]);
    let bias = g.weight(&["bias"], [out], Layout::Vector, [out]);
    let convolution = g.push(
        OUTPUTS[1],
        Conv2d { bias: Some(bias), padding: Padding::all(1), ..Conv2d::new(image, kernel, [3, 3]) },
    )?;
    g.output(OUTPUTS[1], convolution);
    if outputs.len() == PRODUCTS {
        return Ok(g);
    }
    let affine = |g: &mut Graph, name: &str, c| {
        ["gamma", "beta"].map(|part| g.weight(&[&format!("{name}.{part}")], [c], Layout::Vector, [c]))
    };
    let [gamma, beta] = affine(&mut g, "layer", k);
    let layer = g.push(OUTPUTS[2], LayerNorm { x, gamma, beta, eps: 1e-5 })?;
    let [gamma, beta] = affine(&mut g, "group", channels);
    let (groups, activation) = (4, Activation::None);
    let group =
        g.push(OUTPUTS[3], GroupNorm { x: image, beside: None, gamma, beta, groups, eps: 1e-5, activation })?;
    let rows = g.input("rows", [1, m, 320], Elem::Float, Rate::Step);
    // Kernels of attention differ by the size of a head; where shaders run in software each takes seconds to compile.
    let mut attention = rows;
    for &head in if software { &HEADS[..1] } else { &HEADS[..] } {
        let (heads, scale) = (320 / head, 1.0 / (head as f32).sqrt());
        let op = Attention { q: rows, k: rows, v: attention, heads, scale, causal: false };
        attention = g.push(OUTPUTS[4], op)?;
    }
    for (name, v) in OUTPUTS[PRODUCTS..].iter().zip([layer, group, attention]) {
        g.output(name, v);
    }
    Ok(g)
}

/// The outputs of each of several runs.
async fn run(
    gpu: &mut Runner,
    caps: &Caps,
    outputs: &[&str],
    runs: usize,
) -> Result<Vec<Vec<HostTensor>>, Error> {
    // Weights are packed for it as they are loaded.
    gpu.device.caps = caps.clone();
    let mut graph = experiment(gpu.report().kind == "cpu", outputs)?;
    graph.checkpoint = u64::MAX;
    let source = weights(&graph);
    graph.resolve(&source, Precision::F16)?;
    // What a trial that failed left.
    gpu.unload(graph.checkpoint, "");
    gpu.load(&graph, &source, &mut |_| ()).await?;
    let mut ports = Ports::new();
    let values: Vec<_> = graph.outputs().iter().map(|(name, v)| (name.as_str(), *v)).collect();
    for (name, v) in graph.inputs().chain(values) {
        ports.insert(name.into(), gpu.port(name, graph.value(v).shape, DType::F16)?);
    }
    for (name, v) in graph.inputs() {
        let shape = graph.value(v).shape;
        gpu.write(&ports[name], 0, numbers(name, shape, 1.0).cast(DType::F16).bytes())?;
    }
    let spec = ProgramSpec { graph: &graph, ports: &ports, precision: Precision::F16 };
    let program = gpu.prepare(&[spec], caps)?.remove(0);
    let mut all = Vec::new();
    for _ in 0..runs {
        gpu.run(&program, 0)?;
        let mut read = Vec::new();
        for name in outputs {
            let port: &Port = &ports[*name];
            read.push(gpu.read(port).await?);
        }
        all.push(read);
    }
    gpu.unload(graph.checkpoint, "");
    Ok(all)
}

/// Weights that are a function of their names.
fn weights(graph: &Graph) -> impl Tensors + use<> {
    let vectors = |(name, dtype, shape): (String, DType, Shape)| {
        (name, if shape.rank() == 1 { DType::F32 } else { dtype }, shape)
    };
    Made::new("the proof of a tier", graph.declared(DType::F16).map(vectors), made)
}

/// A weight, spread so that products are about as large as what goes into them.
fn made(name: &str, shape: Shape) -> HostTensor {
    numbers(name, shape, (shape.dims()[0] as f32 / shape.numel() as f32).sqrt())
}

/// Evenly spread over ±√3 `spread`, by Knuth's linear congruence (MMIX) from a seed made of the name.
fn numbers(name: &str, shape: Shape, spread: f32) -> HostTensor {
    let mut state = name.bytes().fold(17u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        ((state >> 40) as f32 / (1u64 << 23) as f32 - 1.0) * 3f32.sqrt() * spread
    };
    let values: Vec<f32> = (0..shape.numel()).map(|_| next()).collect();
    HostTensor::from_f32(shape, &values)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers for every output, the product's the host's.
    fn results(product: &[f32]) -> Vec<HostTensor> {
        let [m, _, n] = PRODUCT;
        let others = OUTPUTS[1..].iter().map(|name| numbers(name, [8, 8].into(), 1.0));
        std::iter::once(HostTensor::from_f32([1, m, n], product)).chain(others).collect()
    }

    #[test]
    fn a_reference_is_what_the_host_finds() {
        assert_eq!(held(&results(&host_product())), Ok(()));
    }

    #[test]
    fn a_device_that_computes_nothing_is_found_out() {
        let zeros: Vec<_> = results(&host_product())
            .iter()
            .map(|t| HostTensor::from_f32(t.shape(), &vec![0.0; t.shape().numel()]))
            .collect();
        assert!(held(&zeros).unwrap_err().contains("computes nothing"));
        assert!(held(&zeros[..1]).unwrap_err().contains("computes nothing"));
    }

    #[test]
    fn a_constant_or_a_wrong_product_is_no_reference() {
        let mut found = results(&host_product());
        found[4] = HostTensor::from_f32([8, 8], &[0.5; 64]);
        assert_eq!(held(&found).unwrap_err(), "its plain kernels' attention is 0.5 throughout");
        for wrong in [1.0, f32::NAN, f32::INFINITY] {
            let mut product = host_product();
            product[7] += wrong;
            assert!(held(&results(&product)).unwrap_err().contains("product is off"), "{wrong}");
        }
    }
}
