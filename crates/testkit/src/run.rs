use crate::{Case, Fill};
use calotype_graph::{Elem, Error, Executor, Graph, Layout, Ports, Precision, ProgramSpec, Tensor, ValueId};
use calotype_tensor::{DType, HostTensor, Made, Shape};

/// The seed of every case's tensors.
pub const SEED: u64 = 7;

/// Runs a case: the outputs in their order, then the inputs that the case updates.
pub fn run_case(
    executor: &dyn Executor,
    case: &Case,
    precision: Precision,
) -> Result<Vec<HostTensor>, Error> {
    let mut graph = case.graph.clone();
    let tensors = graph.weights().iter().flat_map(|weight| {
        let dtype = if weight.layout == Layout::Vector { DType::F32 } else { case.weights };
        weight.tensors.iter().map(move |t| (t.names[0].clone(), dtype, t.shape))
    });
    let source = Made::new(&case.name, tensors, |name, _| tensor_of(case, name));
    graph.resolve(&source, precision)?;
    graph.quantize(&source, case.quant, &|_| true)?;
    let mut ports = Ports::new();
    let dtype = |v: ValueId| match graph.value(v).elem {
        Elem::Float => precision.dtype(),
        Elem::F32 => DType::F32,
        Elem::U32 => DType::U32,
    };
    for (name, v) in graph.inputs() {
        let port = executor.port(name, graph.value(v).shape, dtype(v))?;
        executor.write(&port, 0, input(case, &graph, name, v).cast(dtype(v)).bytes())?;
        ports.insert(name.to_string(), port);
    }
    for (name, v) in graph.outputs() {
        ports.insert(name.clone(), executor.port(name, graph.value(*v).shape, dtype(*v))?);
    }
    pollster::block_on(async {
        executor.load(&graph, &source, &mut |_| {}).await?;
        let spec = ProgramSpec { graph: &graph, ports: &ports, precision };
        let programs = executor.prepare(&[spec])?;
        executor.run(&programs[0], case.row)?;
        executor.wait().await?;
        let names = graph.outputs().iter().map(|(name, _)| name.clone());
        let mut read = Vec::new();
        for name in names.chain(case.updated().into_iter().map(|(name, _)| name)) {
            read.push(executor.read(&ports[&name]).await?);
        }
        Ok(read)
    })
}

/// What a case's input (in the graph's layout) or weight (in the checkpoint's) holds, as f32 or u32.
///
/// # Panics
/// Where the case has no tensor of that name.
pub fn tensor_of(case: &Case, name: &str) -> HostTensor {
    if let Some((_, v)) = case.graph.inputs().find(|(n, _)| *n == name) {
        return input(case, &case.graph, name, v);
    }
    let found = weight(&case.graph, name);
    let (_, shape) = found.unwrap_or_else(|| panic!("case {} has no tensor {name}", case.name));
    HostTensor::from_f32(shape, bytemuck::cast_slice(&words(case, name, shape.numel())))
}

/// The layout of the weight that a tensor is a part of, and the tensor's shape in the checkpoint.
fn weight(graph: &Graph, name: &str) -> Option<(Layout, Shape)> {
    let named = |t: &&Tensor| t.names.iter().any(|n| n == name);
    graph.weights().iter().find_map(|w| Some((w.layout, w.tensors.iter().find(named)?.shape)))
}

fn input(case: &Case, graph: &Graph, name: &str, v: ValueId) -> HostTensor {
    let value = graph.value(v);
    let words = words(case, name, value.shape.numel());
    match value.elem {
        Elem::U32 => HostTensor::from_u32(value.shape, &words),
        Elem::Float | Elem::F32 => HostTensor::from_f32(value.shape, bytemuck::cast_slice(&words)),
    }
}

fn words(case: &Case, name: &str, count: usize) -> Vec<u32> {
    case.fills.get(name).unwrap_or(&Fill::Spread { mean: 0.0, spread: 1.0 }).words(name, SEED, count)
}
