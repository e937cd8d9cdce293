use calotype_field::Field;

/// What can be wrong with a graph, a plan or a run of it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An op was given operands it cannot take.
    #[error("{node}: {op} {problem}")]
    Shape {
        /// The node's path in the model, such as `down_blocks.0.resnets.1.conv1`.
        node: String,
        /// The op's name.
        op: &'static str,
        /// What does not fit.
        problem: String,
    },
    /// One tensor is larger than any buffer of this device.
    #[error(
        "{node} needs {needed} bytes in one buffer, and this device's buffers hold at most {limit}: \
         choose a smaller {} and {}, a smaller {}, or {} f16",
        Field::Width,
        Field::Height,
        Field::BatchSize,
        Field::Precision
    )]
    BufferLimit {
        /// The value that does not fit.
        node: String,
        /// Bytes it takes.
        needed: u64,
        /// The device's largest buffer.
        limit: u64,
    },
    /// A weight in the checkpoint has another shape than the model's configuration implies.
    #[error("tensor {name} in {file} has shape {found}, but the model's config.json implies {expected}")]
    WeightShape {
        /// The tensor.
        name: String,
        /// The file it is in.
        file: String,
        /// As found.
        found: String,
        /// As expected.
        expected: String,
    },
    /// A weight that is not finite would make every picture black.
    #[error(
        "tensor {name} in {file} holds {count} values that are not finite (NaN or infinity): \
         the file is damaged; fetch it again"
    )]
    WeightNotFinite {
        /// The tensor.
        name: String,
        /// The file it is in.
        file: String,
        /// How many values.
        count: usize,
    },
    /// A weight too large for f16.
    #[error(
        "tensor {name} in {file} holds the value {value:e}, which f16 cannot: use {} f32",
        Field::Precision
    )]
    WeightOverflow {
        /// The tensor.
        name: String,
        /// The file it is in.
        file: String,
        /// The value of largest magnitude.
        value: f32,
    },
    /// A weight is not there, or could not be read.
    #[error(transparent)]
    Weight(#[from] calotype_tensor::Error),
    /// The device gave up.
    #[error("{0}")]
    Device(String),
    /// The device has too little memory.
    #[error(
        "out of device memory while allocating {what} ({bytes} bytes): choose a smaller {} and {}, a smaller {}, or \
         {} f16",
        Field::Width,
        Field::Height,
        Field::BatchSize,
        Field::Precision
    )]
    OutOfMemory {
        /// What was being allocated.
        what: String,
        /// Bytes asked for.
        bytes: u64,
    },
}
