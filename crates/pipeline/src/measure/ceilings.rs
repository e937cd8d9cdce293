//! The most that a device does for this engine: its own kernels at shapes that suit them. Shares of these say what
//! an op's shape costs; how far the kernels are from the hardware's limits is said by the vendor's figures.

use crate::error::Result;
use calotype_graph::ops::{Matmul, Scale};
use calotype_graph::{Clock, Elem, Executor, Graph, Layout, Ports, Precision, ProgramSpec, Rate, ValueId};
use calotype_tensor::{DType, HostTensor, Made, Shape};

/// A rate that was reached.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ceiling {
    /// Floating-point operations or bytes, a second.
    pub per_second: f64,
    /// By what: a product's sides, or the bytes of a copy.
    pub shape: String,
    /// The kernel.
    pub kernel: String,
}

/// A device's best.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct Ceilings {
    /// Floating-point operations a second in a square product.
    pub product: Ceiling,
    /// Bytes a second, read and written, in a copy from buffer to buffer.
    pub copy: Ceiling,
}

/// Sides of the products tried; no larger one where a smaller has taken [`LONG`] already.
const SIDES: [usize; 5] = [512, 1024, 2048, 4096, 8192];

/// Bytes read by the copies tried. The largest are beyond any cache.
const COPIES: [usize; 4] = [4 << 20, 32 << 20, 128 << 20, 512 << 20];

/// Seconds that a single launch need not exceed to be measured well.
const LONG: f64 = 0.03;

/// Each is timed at least so many times, and for so many seconds; the best counts.
const TIMES: usize = 4;
/// See [`TIMES`].
const SECONDS: f64 = 0.1;

/// Weights of these are told from any model's.
const CHECKPOINT: u64 = u64::MAX;

/// Measures them: a second or so on a GPU.
pub async fn ceilings(exec: &dyn Executor, precision: Precision) -> Result<Ceilings> {
    let most = exec.caps().max_binding.min(exec.caps().max_buffer) as usize;
    let mut product = Best::default();
    for side in SIDES {
        if 4 * side * side > most || product.seconds > LONG {
            break;
        }
        let mut graph = Graph::new("product ceiling");
        let x = graph.input("x", [1, side, side], Elem::Float, Rate::Step);
        let w = graph.weight(&["w"], [side, side], Layout::Matrix, [side, side]);
        let y = graph.push("y", Matmul::new(x, w, None)).map_err(calotype_models::Error::from)?;
        let work = 2.0 * (side as f64).powi(3);
        let shape = format!("{side}x{side} · {side}x{side}");
        if full(product.of(exec, graph, y, precision, work, shape).await)? {
            break;
        }
    }
    let mut copy = Best::default();
    for bytes in COPIES {
        if bytes > most || copy.seconds > LONG {
            break;
        }
        let rows = bytes / (1024 * precision.dtype().size());
        let mut graph = Graph::new("copy ceiling");
        let x = graph.input("x", [1, rows, 1024], Elem::Float, Rate::Step);
        let y = graph.push("y", Scale { x, scale: 1.0, shift: 0.0 }).map_err(calotype_models::Error::from)?;
        let (work, shape) = (2.0 * bytes as f64, format!("{} MiB", bytes >> 20));
        if full(copy.of(exec, graph, y, precision, work, shape).await)? {
            break;
        }
    }
    Ok(Ceilings { product: product.found, copy: copy.found })
}

/// Whether the device's memory was full, which ends a series and is no failure.
fn full(done: Result<()>) -> Result<bool> {
    match done {
        Ok(()) => Ok(false),
        Err(crate::Error::Graph(calotype_graph::Error::OutOfMemory { .. })) => Ok(true),
        Err(other) => Err(other),
    }
}

/// The best rate so far, and how long the last shape took.
struct Best {
    found: Ceiling,
    seconds: f64,
}

impl Default for Best {
    fn default() -> Self {
        let found = Ceiling { per_second: 0.0, shape: String::new(), kernel: String::new() };
        Self { found, seconds: 0.0 }
    }
}

impl Best {
    async fn of(
        &mut self,
        exec: &dyn Executor,
        mut graph: Graph,
        y: ValueId,
        precision: Precision,
        work: f64,
        shape: String,
    ) -> Result<()> {
        graph.checkpoint = CHECKPOINT;
        graph.output("y", y);
        let made = |_: &str, shape: Shape| HostTensor::from_bytes(shape, DType::F16, noise(shape.numel()));
        let source = Made::new("random numbers", graph.declared(DType::F16), made);
        graph.resolve(&source, precision)?;
        exec.load(&graph, &source, &mut |_| ()).await?;
        let mut ports = Ports::new();
        for (name, v) in graph.inputs().chain([("y", y)]) {
            ports.insert(name.into(), exec.port(name, graph.value(v).shape, precision.dtype())?);
        }
        let x = &ports["x"];
        let values = noise(x.shape.numel());
        exec.write(x, 0, HostTensor::from_bytes(x.shape, DType::F16, values).cast(x.dtype).bytes())?;
        let program = exec.prepare(&[ProgramSpec { graph: &graph, ports: &ports, precision }])?.remove(0);
        exec.run(&program, 0)?;
        exec.wait().await?;
        self.seconds = f64::INFINITY;
        let (mut times, mut spent) = (0, 0.0);
        while times < TIMES || (spent < SECONDS && times < 100 * TIMES) {
            let profile = exec.profile(&program, 0).await?;
            let seconds: f64 = profile.spans.iter().map(|span| span.seconds).sum();
            (times, spent) = (times + 1, spent + seconds);
            self.seconds = self.seconds.min(seconds);
            // What a processor widens moves twice the bytes, at f16.
            let widened =
                profile.clock == Clock::Host && precision == Precision::F16 && shape.ends_with("MiB");
            let rate = work * if widened { 2.0 } else { 1.0 } / seconds;
            if seconds > 0.0 && rate > self.found.per_second {
                let kernel = profile.spans.first().map(|s| s.kernel.clone()).unwrap_or_default();
                self.found = Ceiling { per_second: rate, shape: shape.clone(), kernel };
            }
        }
        exec.unload(CHECKPOINT, "");
        Ok(())
    }
}

/// Halves of random sign and digits between 1/8 and 1/2: a GPU's clock falls with the bits that change, so zeros would
/// flatter it. Knuth's linear congruential generator (The Art of Computer Programming 2, 3.3.4).
fn noise(count: usize) -> Vec<u8> {
    let mut state = 1u64;
    let mut half = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        let bits = (state >> 48) as u16;
        // The sign and ten digits are random, and the exponent is one of two.
        (bits & 0x87ff | 0x3000).to_le_bytes()
    };
    (0..count).flat_map(|_| half()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_is_what_it_says() {
        let values = HostTensor::from_bytes([4096], DType::F16, noise(4096)).to_f32();
        assert!(values.iter().all(|v| (0.125..0.5).contains(&v.abs())));
        assert!(values.iter().sum::<f32>().abs() < 200.0, "both signs");
    }
}
