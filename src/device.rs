use crate::Error;
#[cfg(feature = "gpu")]
use calotype_gpu::{AdapterReport, Choice, GpuExecutor};
use calotype_graph::{Executor, Precision, Room};
use std::rc::Rc;

/// What to run on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Device {
    /// A GPU where there is one, else the CPU.
    #[default]
    Auto,
    /// What the choice means where there is a GPU, else the CPU. The same as [`Device::Auto`] where the choice is the
    /// default.
    #[cfg(feature = "gpu")]
    Prefer(Choice),
    /// The GPU that the choice means, or an error.
    #[cfg(feature = "gpu")]
    Gpu(Choice),
    /// The CPU.
    Cpu,
}

/// A device, open.
pub struct OpenDevice {
    /// What runs graphs on it.
    pub executor: Rc<dyn Executor>,
    /// The adapter's features and limits; none for the CPU.
    #[cfg(feature = "gpu")]
    pub adapter: Option<AdapterReport>,
}

/// Memory that the host has to spare, where that is known.
#[cfg(feature = "cpu")]
pub fn host_room() -> Option<Room> {
    calotype_cpu::CpuExecutor::new().room()
}

impl Device {
    /// Opens it. Where [`Device::Auto`] or [`Device::Prefer`] finds no GPU, a warning says so and how to get one going.
    pub fn open(&self) -> Result<OpenDevice, Error> {
        match self {
            Self::Cpu => OpenDevice::cpu(),
            #[cfg(not(feature = "gpu"))]
            Self::Auto => OpenDevice::cpu(),
            #[cfg(feature = "gpu")]
            Self::Gpu(choice) => OpenDevice::gpu(choice),
            #[cfg(feature = "gpu")]
            Self::Auto => Self::Prefer(Choice::default()).open(),
            #[cfg(feature = "gpu")]
            Self::Prefer(choice) => {
                let found = pollster::block_on(calotype_gpu::adapters(choice.backend));
                // A driver that computes on the processor is slower than our own CPU code.
                match found.iter().find(|a| a.kind != "cpu") {
                    // Nobody asked for this one, so that it is no good stops nothing.
                    Some(_) => OpenDevice::gpu(choice).or_else(|e| {
                        log::warn!("{e}; running on the CPU, which is slow");
                        OpenDevice::cpu()
                    }),
                    None => {
                        let only = found.first().map(|a| format!(" (only {}, which is software)", a.name));
                        log::warn!(
                            "no GPU found{}: running on the CPU, which is slow. To use a GPU install its driver with \
                             Vulkan, Metal or DX12 support (on Linux also libvulkan1)",
                            only.unwrap_or_default()
                        );
                        OpenDevice::cpu()
                    }
                }
            }
        }
    }
}

impl OpenDevice {
    #[cfg(feature = "cpu")]
    fn cpu() -> Result<Self, Error> {
        Ok(Self {
            executor: Rc::new(calotype_cpu::CpuExecutor::new()),
            #[cfg(feature = "gpu")]
            adapter: None,
        })
    }

    #[cfg(not(feature = "cpu"))]
    fn cpu() -> Result<Self, Error> {
        let why = "this program was built without the CPU executor (feature cpu): build it with it, or choose a GPU";
        Err(Error::Device { field: None, error: why.into() })
    }

    #[cfg(feature = "gpu")]
    fn gpu(choice: &Choice) -> Result<Self, Error> {
        let gpu = pollster::block_on(GpuExecutor::new(choice))
            .map_err(|error| Error::Device { field: error.field(), error: error.into() })?;
        let adapter = Some(gpu.report().clone());
        Ok(Self { executor: Rc::new(gpu), adapter })
    }

    /// How activations are stored where nothing else is asked for: f16 where the device computes with it.
    pub fn default_precision(&self) -> Precision {
        if self.executor.caps().f16 { Precision::F16 } else { Precision::F32 }
    }
}
