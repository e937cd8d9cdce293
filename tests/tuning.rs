//! The autotuner: what it tries, what it remembers, and that the numbers stay what they were. Nothing here depends on what
//! turns out faster.

use crate::support::{Golden, gpu};
use calotype::{
    Choice, DType, Executor, HostTensor, OpenDevice, Pipeline, Precision, Request, Shape, Tier, Tuning,
};
use calotype_gpu::GpuExecutor;
use calotype_graph::lower::{Product, candidates};
use calotype_graph::ops::Matmul;
use calotype_graph::{Elem, Graph, Layout, Ports, ProgramSpec, Rate};
use calotype_tensor::Made;
use calotype_testkit::error;
use pollster::block_on;
use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;

/// A device that has more than one tile to choose from: tensor cores, in software too. None where there is none.
fn device(tuning: Tuning, folder: &Path) -> Option<GpuExecutor> {
    open(Choice { tier: Some(Tier::Coop), tuning, cache_dir: Some(folder.into()), ..Choice::default() })
}

fn open(choice: Choice) -> Option<GpuExecutor> {
    let has = gpu(&Choice::default())?;
    match block_on(GpuExecutor::new(&choice)) {
        Ok(executor) if executor.report().timestamps => Some(executor),
        Ok(_) | Err(calotype_gpu::Error::NoSuchTier { .. }) => {
            println!("{}: nothing to choose from, or no clock", has.report().name);
            None
        }
        Err(other) => panic!("{other}"),
    }
}

/// Numbers of no pattern, the larger the tensor the smaller, so that products stay small.
fn numbers(count: usize, seed: u32) -> Vec<f32> {
    let mut state = seed.wrapping_mul(2_654_435_761) | 1;
    let mut next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / (1 << 23) as f32 - 1.0
    };
    (0..count).map(|_| next() / 8.0).collect()
}

const SIDE: usize = 64;

/// So many that the estimate holds no tile to be far off, however much the device does at a time.
const ROWS: usize = 8192;

/// Two products that are alike, on a device.
struct Trial {
    gpu: GpuExecutor,
    graph: Graph,
    ports: Ports,
    /// How many products each call of `tune` began with.
    begun: Cell<Vec<usize>>,
}

impl Trial {
    fn new(gpu: GpuExecutor) -> Self {
        let mut graph = Graph::new("trial");
        let x = graph.input("x", [1, ROWS, SIDE], Elem::Float, Rate::Step);
        let mut y = x;
        for name in ["first", "second"] {
            let weight = graph.weight(&[name], [SIDE, SIDE], Layout::Matrix, [SIDE, SIDE]);
            y = graph.push(name, Matmul::new(y, weight, None)).unwrap();
        }
        graph.output("y", y);
        let made = |name: &str, shape: Shape| {
            let seed = name.bytes().fold(7, |h: u32, b| h.wrapping_mul(31) + u32::from(b));
            HostTensor::from_f32(shape, &numbers(shape.numel(), seed))
        };
        let source = Made::new("made up", graph.declared(DType::F16), made);
        graph.resolve(&source, Precision::F16).unwrap();
        block_on(gpu.load(&graph, &source, &mut |_| ())).unwrap();
        let port = |name: &str| gpu.port(name, Shape::new(&[1, ROWS, SIDE]), DType::F16).unwrap();
        let ports = ["x", "y"].map(|name| (name.to_string(), port(name))).into();
        Self { gpu, graph, ports, begun: Cell::default() }
    }

    fn spec(&self) -> ProgramSpec<'_> {
        ProgramSpec { graph: &self.graph, ports: &self.ports, precision: Precision::F16 }
    }

    fn tune(&self) {
        let begins = |products| {
            let mut begun = self.begun.take();
            begun.push(products);
            self.begun.set(begun);
        };
        block_on(self.gpu.tune(&[self.spec()], &begins)).unwrap();
    }

    /// The product that both nodes are.
    fn product(&self) -> Product {
        Product::of(&self.graph, &self.graph.nodes()[0], Precision::F16, &self.gpu.caps()).unwrap()
    }

    fn run(&self) -> HostTensor {
        let x = HostTensor::from_f32([1, ROWS, SIDE], &numbers(ROWS * SIDE, 1)).cast(DType::F16);
        self.gpu.write(&self.ports["x"], 0, x.bytes()).unwrap();
        let program = self.gpu.prepare(&[self.spec()]).unwrap().remove(0);
        self.gpu.run(&program, 0).unwrap();
        block_on(self.gpu.read(&self.ports["y"])).unwrap()
    }
}

fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .map(|entries| entries.map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect())
        .unwrap_or_default();
    names.retain(|name| name.ends_with(".json"));
    names.sort();
    names
}

#[test]
fn a_product_is_tried_once_and_its_cut_is_remembered() {
    let folder = tempfile::TempDir::new().unwrap();
    let Some(untuned) = device(Tuning::Off, folder.path()).map(Trial::new) else { return };
    let product = untuned.product();
    let all = candidates(&untuned.gpu.caps(), &product);
    assert!(all.len() > 1, "{all:?}");
    let expected = untuned.run();

    // Off: nothing is tried, nothing is kept.
    let before = untuned.gpu.memory();
    untuned.tune();
    assert_eq!(untuned.gpu.memory().allocations, before.allocations);
    assert_eq!((untuned.begun.take(), files(folder.path())), (vec![], vec![]));
    assert!(untuned.gpu.caps().tuned.is_empty());

    // The first start tries both nodes' product, keeps what it found, and gives its memory back.
    let first = Trial::new(device(Tuning::Always, folder.path()).unwrap());
    let held = first.gpu.memory().bytes;
    first.tune();
    assert_eq!(first.begun.take(), [1]);
    assert_eq!(first.gpu.memory().bytes, held);
    let tuned = first.gpu.caps().tuned;
    let cut = tuned.get(&product).unwrap_or_else(|| panic!("{tuned:?}"));
    assert!(all.contains(cut) && tuned.len() == 1, "{tuned:?}");
    let [file] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
    let text = std::fs::read_to_string(folder.path().join(file)).unwrap();
    assert!(text.contains(&product.to_string()) && text.contains(&cut.to_string()), "{text}");
    assert!(error(&first.run(), &expected) < 2e-3);
    // Nor does it ask again.
    first.tune();
    assert!(first.begun.take().is_empty());

    // The second start knows, and launches nothing.
    let second = Trial::new(device(Tuning::Always, folder.path()).unwrap());
    assert_eq!(second.gpu.caps().tuned, tuned);
    let before = second.gpu.memory();
    second.tune();
    assert_eq!((second.begun.take(), second.gpu.memory()), (vec![], before));
    assert_eq!(second.run().bytes(), first.run().bytes());

    // A file of nonsense is as none, and is replaced.
    std::fs::write(folder.path().join(file), "nonsense").unwrap();
    let third = Trial::new(device(Tuning::Always, folder.path()).unwrap());
    assert!(third.gpu.caps().tuned.is_empty());
    third.tune();
    assert_eq!(third.begun.take(), [1]);
    let fourth = device(Tuning::Always, folder.path()).unwrap();
    assert_eq!(fourth.caps().tuned, third.gpu.caps().tuned);

    // And still, what is off is off.
    let off = device(Tuning::Off, folder.path()).unwrap();
    assert!(off.caps().tuned.is_empty());
}

#[test]
fn every_candidate_that_may_be_chosen_computes_the_same() {
    let folder = tempfile::TempDir::new().unwrap();
    let Some(untuned) = device(Tuning::Off, folder.path()).map(Trial::new) else { return };
    let (product, expected) = (untuned.product(), untuned.run());
    for cut in candidates(&untuned.gpu.caps(), &product) {
        // As if tuning had found it.
        let first = Trial::new(device(Tuning::Always, folder.path()).unwrap());
        if first.gpu.caps().tuned.is_empty() {
            first.tune();
        }
        let [file] = &files(folder.path())[..] else { panic!("{:?}", files(folder.path())) };
        let path = folder.path().join(file);
        let mut json: serde_json::Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        for kernels in json["kernels"].as_object_mut().unwrap().values_mut() {
            kernels[product.to_string()]["cut"] = cut.to_string().into();
        }
        std::fs::write(&path, json.to_string()).unwrap();
        let told = Trial::new(device(Tuning::Always, folder.path()).unwrap());
        assert_eq!(told.gpu.caps().tuned.get(&product), Some(&cut));
        let found = error(&told.run(), &expected);
        assert!(found < 2e-3, "{cut}: {found}");
    }
}

#[test]
fn a_tuned_model_draws_the_same_picture_within_its_planned_memory() {
    let folder = tempfile::TempDir::new().unwrap();
    let request = Request { steps: Some(2), seed: 3, ..Request::new("a cat") };
    let draw = |tuning| {
        // The kernels of GPUs without tensor cores: they too may split k, and are quick to compile.
        let (tier, cache_dir) = (Some(Tier::F16), Some(folder.path().into()));
        let choice = Choice { tier, tuning, cache_dir, as_gpu: true, ..Choice::default() };
        let executor: Rc<dyn Executor> = Rc::new(open(choice)?);
        let opened = OpenDevice { executor, adapter: None };
        let model = Golden::open("sd1-tiny", "stages").model();
        let mut pipeline = Pipeline::new(&opened, model, Precision::F16);
        let begun = Rc::new(Cell::new(0));
        let told = Rc::clone(&begun);
        pipeline.on_tuning(move |products| told.set(told.get() + products));
        let planned = pipeline.plan(&request).unwrap().peak_bytes;
        let latents = pipeline.text_to_image(&request).unwrap().latents;
        let peak = opened.executor.memory().peak;
        assert!(peak <= planned, "{tuning:?}: {peak} of {planned} bytes");
        Some((latents, begun.get(), opened.executor.caps().tuned.len()))
    };
    let Some((expected, 0, 0)) = draw(Tuning::Off) else { return };
    let (found, begun, known) = draw(Tuning::Always).unwrap();
    assert!(begun > 1 && known >= 1 && known <= begun, "{known} of {begun}");
    let apart = error(&found, &expected);
    assert!(apart < 2e-2, "{apart}");
}
