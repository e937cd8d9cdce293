use calotype::{Choice, DType, Executor, HostTensor, Model, OpenDevice, Precision, Tier, Tuning};
use calotype_cpu::CpuExecutor;
use calotype_gpu::GpuExecutor;
use safetensors::SafeTensors;
use serde_json::Value as Json;
use std::io::Write;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Once;

/// The tiny models (`tests/goldens/README.md`).
pub const MODELS: [&str; 2] = ["sd1-tiny", "sd2-tiny"];

/// What a browser has: WebGPU's default limits, no f16, and shaders whose bounds are checked.
pub fn plain() -> Choice {
    Choice { plain: true, ..Choice::default() }
}

/// The same device, on which kernels look at each of their indices: one that leaves what is bound fails the next reading.
pub fn watched(choice: Choice) -> Choice {
    Choice { checked: true, ..choice }
}

/// A GPU; software counts. Where there is none the test is skipped, which is said once on stderr (past the test
/// harness, which hides what passing tests print), or fails if CALOTYPE_TEST_GPU=1 promised one.
pub fn gpu(choice: &Choice) -> Option<GpuExecutor> {
    // Tuned kernels sum in other orders from one start to the next; `tuning.rs` is about them.
    let tuning = if choice.tuning == Tuning::Auto { Tuning::Off } else { choice.tuning };
    match pollster::block_on(GpuExecutor::new(&Choice { tuning, ..choice.clone() })) {
        Ok(executor) => Some(executor),
        Err(calotype_gpu::Error::NoAdapter { .. }) => {
            let promised = std::env::var("CALOTYPE_TEST_GPU").is_ok_and(|v| v == "1");
            assert!(!promised, "CALOTYPE_TEST_GPU=1, but there is no GPU adapter");
            static SAID: Once = Once::new();
            SAID.call_once(|| {
                let _ =
                    writeln!(std::io::stderr(), "skipped: no GPU adapter (tests that need one do nothing)");
            });
            None
        }
        Err(other) => panic!("{other}"),
    }
}

/// A device under test.
pub struct Device {
    /// What messages call it.
    pub name: &'static str,
    /// What runs graphs on it.
    pub executor: Rc<dyn Executor>,
}

impl Device {
    /// The CPU.
    pub fn cpu() -> Self {
        Self { name: "cpu", executor: Rc::new(CpuExecutor::new()) }
    }

    /// The best GPU with all it can do, and the same as a browser would see it; none where there is none.
    pub fn gpus() -> Vec<Self> {
        [Self::gpu("gpu", Choice::default()), Self::gpu("plain gpu", plain())].into_iter().flatten().collect()
    }

    /// The best GPU with each of its tiers of kernels forced in turn, those above f16: what else is tested is auto's
    /// choice. Says so where it lacks one.
    pub fn tiers(choice: &Choice) -> Vec<Self> {
        let Some(all) = gpu(choice) else { return Vec::new() };
        let mut devices = Vec::new();
        for (name, tier) in [("f16", Tier::F16), ("subgroups", Tier::Subgroups), ("coop", Tier::Coop)] {
            let choice = Choice { tier: Some(tier), tuning: Tuning::Off, ..choice.clone() };
            match pollster::block_on(GpuExecutor::new(&choice)) {
                Ok(executor) => devices.push(Self { name, executor: Rc::new(executor) }),
                Err(calotype_gpu::Error::NoSuchTier { reason, .. }) => {
                    // A driver may lack a tier, or be known to get it wrong; kernels of ours that are wrong are no excuse.
                    assert!(reason.contains("does not have it"), "tier {tier}: {reason}");
                    println!("{}: no tier {tier}: {reason}", all.report().name);
                }
                Err(other) => panic!("{other}"),
            }
        }
        devices
    }

    /// A GPU; none where there is none.
    pub fn gpu(name: &'static str, choice: Choice) -> Option<Self> {
        gpu(&choice).map(|gpu| Self { name, executor: Rc::new(gpu) })
    }

    /// The CPU and the GPUs.
    pub fn all() -> Vec<Self> {
        std::iter::once(Self::cpu()).chain(Self::gpus()).collect()
    }

    /// A model on it.
    pub fn pipeline(&self, model: Model, precision: Precision) -> calotype::Pipeline {
        let opened = OpenDevice { executor: Rc::clone(&self.executor), adapter: None };
        calotype::Pipeline::new(&opened, model, precision)
    }
}

/// A tiny model and a set of what diffusers got from it.
pub struct Golden {
    /// The model's folder within `tests/goldens`.
    pub folder: PathBuf,
    /// The cases.
    pub cases: Json,
    tensors: Vec<u8>,
}

impl Golden {
    /// `set` is `stages`, `trajectories` or `pictures`.
    pub fn open(model: &str, set: &str) -> Self {
        Self::within(PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/goldens").join(model), set)
    }

    /// The same of another folder.
    pub fn within(folder: PathBuf, set: &str) -> Self {
        // Python writes infinity so, and JSON has no such word.
        let text = std::fs::read_to_string(folder.join(format!("{set}.json"))).unwrap();
        let text = text.replace(": -Infinity", ": \"-Infinity\"");
        Self {
            cases: serde_json::from_str(&text).unwrap(),
            tensors: std::fs::read(folder.join(format!("{set}.safetensors"))).unwrap(),
            folder,
        }
    }

    /// The model, opened.
    pub fn model(&self) -> Model {
        Model::at_path(&self.folder.join("model"), None).unwrap()
    }

    /// An f32 tensor as PyTorch has it, by the name that `key` holds.
    pub fn tensor(&self, key: &Json) -> HostTensor {
        let file = SafeTensors::deserialize(&self.tensors).unwrap();
        let view = file.tensor(key.as_str().unwrap()).unwrap();
        HostTensor::from_bytes(view.shape(), DType::F32, view.data().to_vec())
    }

    /// The same of a list of names.
    pub fn list(&self, keys: &Json) -> Vec<HostTensor> {
        keys.as_array().unwrap().iter().map(|key| self.tensor(key)).collect()
    }

    /// Token ids, which are i64 in the file.
    pub fn ids(&self, key: &Json) -> HostTensor {
        let file = SafeTensors::deserialize(&self.tensors).unwrap();
        let view = file.tensor(key.as_str().unwrap()).unwrap();
        let ids = view.data().chunks_exact(8).map(|id| i64::from_le_bytes(id.try_into().unwrap()) as u32);
        HostTensor::from_u32(view.shape(), &ids.collect::<Vec<_>>())
    }
}

/// `[B, C, H, W]` to `[B, H, W, C]`.
pub fn nhwc(tensor: &HostTensor) -> HostTensor {
    let &[b, c, h, w] = tensor.shape().dims() else { panic!("no pictures: {}", tensor.shape()) };
    HostTensor::from_f32([b, h, w, c], &calotype::noise::nchw_to_nhwc(&tensor.to_f32(), [c, h, w]))
}

/// One image of a batch, `[1, ..]`.
pub fn nth(batch: &HostTensor, image: usize) -> HostTensor {
    let &[_, a, b, c] = batch.shape().dims() else { panic!("no batch: {}", batch.shape()) };
    HostTensor::from_f32([1, a, b, c], &batch.to_f32()[image * a * b * c..][..a * b * c])
}

/// Collects what went wrong, so that one run tells of every case.
#[derive(Default)]
pub struct Report {
    failures: Vec<String>,
    worst: f64,
}

impl Report {
    /// Notes a case's error and its bound.
    pub fn case(&mut self, name: &str, error: f64, bound: f64) {
        println!("{name:60} {error:.1e}");
        self.worst = self.worst.max(error);
        self.check(error <= bound, || format!("{name}: {error:.2e}, more than {bound:.0e}"));
    }

    /// Notes a failure unless `fine`.
    pub fn check(&mut self, fine: bool, what: impl FnOnce() -> String) {
        if !fine {
            self.failures.push(what());
        }
    }

    /// Fails the test if any case did.
    pub fn finish(self) {
        println!("worst {:.1e}", self.worst);
        assert!(self.failures.is_empty(), "{} failed:\n{}", self.failures.len(), self.failures.join("\n"));
    }
}
