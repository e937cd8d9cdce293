//! From flags to a device, a precision and a model.

use crate::args::{BackendName, DeviceArgs};
use crate::exit::Usage;
use calotype::{Backend, Choice, Device, Model, Opened, Precision, builtin};

impl DeviceArgs {
    /// What to run on.
    pub fn device(&self) -> Result<Device, Usage> {
        let backend = match self.backend {
            BackendName::Cpu if self.adapter.is_some() => {
                return Err(Usage(
                    "--adapter chooses a GPU, and --backend cpu runs on none: give only one".into(),
                ));
            }
            BackendName::Cpu => return Ok(Device::Cpu),
            BackendName::Auto if self.adapter.is_none() => return Ok(Device::Auto),
            BackendName::Auto => Backend::Auto,
            BackendName::Vulkan => Backend::Vulkan,
            BackendName::Metal => Backend::Metal,
            BackendName::Dx12 => Backend::Dx12,
        };
        Ok(Device::Gpu(Choice { backend, adapter: self.adapter.clone(), ..Choice::default() }))
    }

    /// What [`precision`](Self::precision) will most likely be, before a device is open.
    pub fn likely_precision(&self) -> Precision {
        match (self.dtype, self.backend) {
            (Some(dtype), _) => dtype.precision(),
            (None, BackendName::Cpu) => Precision::F32,
            _ => Precision::F16,
        }
    }

    /// How activations are stored on a device.
    pub fn precision(&self, opened: &Opened) -> Precision {
        self.dtype.map_or(opened.default_precision(), |dtype| dtype.precision())
    }
}

/// Opens what `-m` names, or the built-in model.
pub fn model(place: Option<&str>, precision: Precision) -> Result<Model, calotype::Error> {
    let variant = (precision == Precision::F16).then_some("fp16");
    match place {
        Some(place) => Ok(Model::open(place, variant)?),
        None => builtin::model(),
    }
}

/// `f16` or `f32`.
pub fn name(precision: Precision) -> &'static str {
    precision.dtype().name()
}
