use crate::lower::Caps;
use crate::value::Layout;
use crate::{Error, Graph, Weight};
use calotype_tensor::{DType, HostTensor, Shape};
use half::{bf16, f16};
use std::any::Any;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;

/// A future that stays on its thread: what reading back from a GPU and fetching weights return. Native code
/// blocks on it, a browser awaits it.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// How activations are stored. Arithmetic is f32 either way.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Precision {
    /// 32 bits.
    F32,
    /// 16 bits.
    F16,
}

impl Precision {
    /// The element type.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
        }
    }
}

/// A tensor on the device that outlives a run: an input, an output, or state that stays between runs.
#[derive(Clone)]
pub struct Port {
    /// Its shape.
    pub shape: Shape,
    /// How its elements are stored.
    pub dtype: DType,
    /// The executor's own.
    pub inner: PortId,
}

/// The executor's own side of a port; dropping the last one frees its memory.
pub type PortId = Rc<dyn Any>;

/// Ports by the names of a graph's inputs and outputs.
pub type Ports = BTreeMap<String, Port>;

/// A graph made ready to run; dropping the last copy frees its memory.
#[derive(Clone)]
pub struct Program(pub Rc<dyn Any>);

/// What [`Executor::prepare`] makes a program of.
pub struct ProgramSpec<'a> {
    /// A graph whose weights are resolved and loaded.
    pub graph: &'a Graph,
    /// A port for every input and output.
    pub ports: &'a Ports,
    /// How activations are stored.
    pub precision: Precision,
}

/// Where weights come from.
pub trait WeightFetch {
    /// The element type and shape of a tensor.
    fn find(&self, name: &str) -> Option<(DType, Shape)>;
    /// The file a tensor is in, for messages.
    fn file(&self, name: &str) -> String;
    /// The message for a tensor that is missing under all of `names`.
    fn missing(&self, names: &[String]) -> String;
    /// A tensor's little-endian bytes.
    fn fetch<'a>(&'a self, name: &'a str) -> LocalFuture<'a, Result<Cow<'a, [u8]>, String>>;
}

/// Device memory an executor holds, in bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MemoryUse {
    /// Held now.
    pub bytes: u64,
    /// The most that was ever held.
    pub peak: u64,
    /// How many allocations were ever made.
    pub allocations: u64,
}

/// Runs graphs. The CPU and the GPU are two; the loop that makes pictures knows neither.
pub trait Executor {
    /// The device in words, such as `NVIDIA GeForce RTX 4090 (vulkan)`.
    fn describe(&self) -> String;

    /// What the device can do.
    fn caps(&self) -> Caps;

    /// Allocates a port. Its contents are zero.
    fn port(&self, name: &str, shape: Shape, dtype: DType) -> Result<Port, Error>;

    /// Writes bytes into a port, from byte `offset` on, before anything that is run later.
    fn write(&self, port: &Port, offset: u64, bytes: &[u8]) -> Result<(), Error>;

    /// Reads a port after everything that was run.
    fn read<'a>(&'a self, port: &'a Port) -> LocalFuture<'a, Result<HostTensor, Error>>;

    /// Brings a graph's weights to the device, those that are not there yet; calls `progress` with the bytes of
    /// each.
    fn load<'a>(
        &'a self,
        graph: &'a Graph,
        source: &'a dyn WeightFetch,
        progress: &'a mut dyn FnMut(u64),
    ) -> LocalFuture<'a, Result<(), Error>>;

    /// Makes programs ready to run. They share one set of activation buffers, so only one may run at a time.
    fn prepare(&self, specs: &[ProgramSpec<'_>]) -> Result<Vec<Program>, Error>;

    /// Runs a program, as a rule without waiting for its end. `row` is the row of the step table it sees.
    fn run(&self, program: &Program, row: usize) -> Result<(), Error>;

    /// Waits for everything that was run. Fails where the device was lost or ran out of memory.
    fn wait<'a>(&'a self) -> LocalFuture<'a, Result<(), Error>>;

    /// Waits until at most `ahead` of the runs that were started are unfinished: what keeps the host from running
    /// away from the device while it never makes the device wait.
    fn pace<'a>(&'a self, ahead: usize) -> LocalFuture<'a, Result<(), Error>>;

    /// The memory held.
    fn memory(&self) -> MemoryUse;
}

/// Lays a checkpoint's tensor out as `weight` asks: `bytes` of `dtype` become the bytes of `weight.dtype` for a
/// value of shape `seen`. Values that are not finite, or too large for f16, are errors that name the tensor.
pub fn pack(weight: &Weight, seen: Shape, dtype: DType, bytes: &[u8], file: &str) -> Result<Vec<u8>, Error> {
    let same = dtype == weight.dtype;
    let mut values: Vec<f32> = decode(dtype, bytes);
    let bad = values.iter().filter(|v| !v.is_finite()).count();
    let name = || weight.names[0].clone();
    if bad > 0 {
        return Err(Error::WeightNotFinite { name: name(), file: file.to_string(), count: bad });
    }
    if weight.dtype == DType::F16 && !same {
        let most = values.iter().copied().fold(0.0f32, |m, v| if v.abs() > m.abs() { v } else { m });
        if f16::from_f32(most).is_infinite() {
            return Err(Error::WeightOverflow { name: name(), file: file.to_string(), value: most });
        }
    }
    let s = weight.shape.dims();
    match weight.layout {
        Layout::Vector | Layout::Table => values.resize(seen.numel(), 0.0),
        Layout::Matrix => values = transpose(&values, s[0], s[1], 1, seen.dims()[1], seen.dims()[0]),
        Layout::Conv { kernel: [kh, kw], channels } => {
            values = transpose(&values, s[0], s[1], kh * kw, seen.dims()[1], channels);
        }
    }
    Ok(match weight.dtype {
        DType::F16 => values.iter().flat_map(|&v| f16::from_f32(v).to_le_bytes()).collect(),
        _ => bytemuck::cast_slice(&values).to_vec(),
    })
}

fn decode(dtype: DType, bytes: &[u8]) -> Vec<f32> {
    match dtype {
        DType::F16 => bytes.chunks_exact(2).map(|b| f16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        DType::BF16 => bytes.chunks_exact(2).map(|b| bf16::from_le_bytes([b[0], b[1]]).to_f32()).collect(),
        _ => bytemuck::pod_collect_to_vec(bytes),
    }
}

/// `[out, channels, taps]` to `[taps, padded_channels, padded_out]`, in tiles that stay in cache.
fn transpose(
    from: &[f32],
    out: usize,
    channels: usize,
    taps: usize,
    padded_out: usize,
    padded_channels: usize,
) -> Vec<f32> {
    const TILE: usize = 32;
    let mut to = vec![0.0; taps * padded_channels * padded_out];
    for o0 in (0..out).step_by(TILE) {
        for c0 in (0..channels).step_by(TILE) {
            for tap in 0..taps {
                for c in c0..(c0 + TILE).min(channels) {
                    let row = (tap * padded_channels + c) * padded_out;
                    for o in o0..(o0 + TILE).min(out) {
                        to[row + o] = from[(o * channels + c) * taps + tap];
                    }
                }
            }
        }
    }
    to
}
