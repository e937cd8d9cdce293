use crate::{Case, Fill};
use calotype_graph::{
    Elem, Error, Executor, Graph, Layout, LocalFuture, Ports, Precision, ProgramSpec, Tensor, ValueId,
    WeightFetch,
};
use calotype_tensor::{DType, HostTensor, Shape};
use std::borrow::Cow;

/// The seed of every case's tensors.
pub const SEED: u64 = 7;

/// Runs a case: the outputs in their order, then the inputs that the case updates.
pub fn run_case(
    executor: &dyn Executor,
    case: &Case,
    precision: Precision,
) -> Result<Vec<HostTensor>, Error> {
    let source = CaseWeights { case };
    let mut graph = case.graph.clone();
    graph.resolve(&source, precision)?;
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

/// A case's weights, made up as they are asked for.
struct CaseWeights<'a> {
    case: &'a Case,
}

impl WeightFetch for CaseWeights<'_> {
    fn find(&self, name: &str) -> Option<(DType, Shape)> {
        let (layout, shape) = weight(&self.case.graph, name)?;
        let dtype = if layout == Layout::Vector { DType::F32 } else { self.case.weights };
        Some((dtype, shape))
    }

    fn file(&self, _name: &str) -> String {
        self.case.name.clone()
    }

    fn missing(&self, names: &[String]) -> String {
        format!("case {} has no weight {}", self.case.name, names.join(" or "))
    }

    fn fetch<'a>(&'a self, name: &'a str) -> LocalFuture<'a, Result<Cow<'a, [u8]>, String>> {
        Box::pin(async move {
            let (dtype, _) = self.find(name).ok_or_else(|| self.missing(&[name.to_string()]))?;
            Ok(Cow::Owned(tensor_of(self.case, name).cast(dtype).bytes().to_vec()))
        })
    }
}
