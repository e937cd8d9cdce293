//! Errors as JavaScript throws them: one line for a person, and a name for a program.

use calotype_pipeline::Error;
use wasm_bindgen::{JsCast, JsValue};

/// Anything that a page is told in words.
pub struct Fault {
    name: &'static str,
    message: String,
}

/// What every call of this crate returns.
pub type Result<T> = std::result::Result<T, Fault>;

impl Fault {
    /// What the caller asked for cannot be done.
    pub fn usage(message: impl Into<String>) -> Self {
        Self { name: "UsageError", message: message.into() }
    }

    /// The model's files cannot be used.
    pub fn model(message: impl Into<String>) -> Self {
        Self { name: "ModelError", message: message.into() }
    }

    /// What JavaScript threw at us.
    pub fn thrown(value: JsValue) -> Self {
        let message = value.dyn_ref::<js_sys::Error>().map(|e| String::from(e.message()));
        Self::model(message.or(value.as_string()).unwrap_or_else(|| format!("{value:?}")))
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let name = match &error {
            Error::Request(_) | Error::Sampler(_) => "UsageError",
            Error::Graph(calotype_graph::Error::Device(_)) => "DeviceError",
            Error::Graph(
                calotype_graph::Error::OutOfMemory { .. } | calotype_graph::Error::BufferLimit { .. },
            ) => "MemoryError",
            Error::Stopped { .. } => "StoppedError",
            _ => "ModelError",
        };
        Self { name, message: error.to_string() }
    }
}

impl From<calotype_graph::Error> for Fault {
    fn from(error: calotype_graph::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<calotype_weights::Error> for Fault {
    fn from(error: calotype_weights::Error) -> Self {
        Error::from(error).into()
    }
}

impl From<calotype_gpu::Error> for Fault {
    fn from(error: calotype_gpu::Error) -> Self {
        let message = match error {
            calotype_gpu::Error::NoAdapter { .. } => {
                "this browser has WebGPU but found no GPU that it may use: \
                update the graphics driver, or look at chrome://gpu for the reason"
                    .into()
            }
            other => other.to_string(),
        };
        Self { name: "DeviceError", message }
    }
}

impl From<serde_json::Error> for Fault {
    fn from(error: serde_json::Error) -> Self {
        Self::usage(error.to_string())
    }
}

impl From<Fault> for JsValue {
    fn from(fault: Fault) -> Self {
        let error = js_sys::Error::new(&fault.message);
        error.set_name(fault.name);
        error.into()
    }
}

impl std::fmt::Display for Fault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}
