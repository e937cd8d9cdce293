//! Errors as JavaScript throws them: one line for a person, and a name for a program.

use calotype_pipeline::{Error, Field, Kind};
use std::borrow::Cow;
use wasm_bindgen::{JsCast, JsValue};

/// Anything that a page is told in words.
#[derive(Clone, Debug)]
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

    /// What JavaScript threw at us. That WebAssembly itself trapped there, on its way back to JavaScript, is kept apart.
    pub fn thrown(value: JsValue) -> Self {
        let trapped = value.is_instance_of::<js_sys::WebAssembly::RuntimeError>();
        let message = value.dyn_ref::<js_sys::Error>().map(|e| String::from(e.message()));
        let message = message.or(value.as_string()).unwrap_or_else(|| format!("{value:?}"));
        Self { name: if trapped { "RuntimeError" } else { "ModelError" }, message }
    }

    /// The same without what its message begins with.
    pub fn without(mut self, beginning: &str) -> Self {
        self.message = self.message.strip_prefix(beginning).unwrap_or(&self.message).into();
        self
    }
}

impl std::error::Error for Fault {}

/// What JavaScript threw while a file was read.
fn lent(error: &Error) -> Option<&Fault> {
    let read = match error {
        Error::Weights(error) => error,
        Error::Graph(calotype_graph::Error::Weight(calotype_tensor::Error::Source(error))) => {
            error.downcast_ref()?
        }
        _ => return None,
    };
    match read {
        calotype_weights::Error::Io { error, .. } => error.get_ref()?.downcast_ref(),
        _ => None,
    }
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        let name = match error.kind() {
            Kind::Request => "UsageError",
            Kind::Device => "DeviceError",
            Kind::Memory => "MemoryError",
            Kind::Stopped => "StoppedError",
            _ => lent(&error).map_or("ModelError", |fault| fault.name),
        };
        let message = match &error {
            Error::Graph(calotype_graph::Error::OutOfMemory { bytes, .. }) => format!(
                "the GPU has too little memory: it gave up at {:.1} MB. Choose a smaller width and height, a smaller \
                 model, or close other tabs and programs that draw",
                *bytes as f64 / 1e6
            ),
            Error::Graph(calotype_graph::Error::BufferLimit { node, needed, limit }) => format!(
                "the picture is too large for this GPU, whose buffers hold {limit} bytes at most: {node} needs {needed}. \
                 Choose a smaller width and height"
            ),
            other => in_a_line(&other.to_string()),
        };
        Self { name, message }
    }
}

fn in_a_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// A field as requests in JavaScript have it: `cfgScale`.
pub fn spelt(field: Field) -> Cow<'static, str> {
    let name = match field {
        Field::Prompts => "prompt",
        Field::NegativePrompts => "negativePrompt",
        Field::Schedule => "scheduler",
        Field::Precision => "dtype",
        // What is opened is opened alike, whatever it is.
        Field::Loras => return "its own file".into(),
        Field::TextEncoder | Field::TextEncoder2 => return "a text encoder's file".into(),
        Field::Vae => return "a VAE's file".into(),
        Field::Unet => return "a UNet's file".into(),
        other => other.name(),
    };
    let mut words = name.split('_');
    let mut out = words.next().unwrap_or_default().to_string();
    for word in words {
        out.push_str(&word[..1].to_ascii_uppercase());
        out.push_str(&word[1..]);
    }
    out.into()
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
            calotype_gpu::Error::Device { adapter, reason } => format!(
                "the GPU {adapter} could not be opened: {reason}; close other tabs that use it, then load the page again"
            ),
            other => other.to_string(),
        };
        Self { name: "DeviceError", message: in_a_line(&message) }
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
