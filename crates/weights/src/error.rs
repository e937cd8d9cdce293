use crate::format::Format;
use std::path::PathBuf;

/// Why weights could not be had. Each message is one line that names the file and the way out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A tensor is not there, or is not lent.
    #[error(transparent)]
    Tensor(#[from] calotype_tensor::Error),
    /// The component's folder does not exist.
    #[error("{}: no such folder; a model folder in the diffusers layout has one for each component", .0.display())]
    NoFolder(PathBuf),
    /// The folder is there, but holds no checkpoint.
    #[error("{}: no weights: looked for {wanted}; found {found}", folder.display())]
    NoWeights {
        /// The component's folder.
        folder: PathBuf,
        /// The file names that would have done.
        wanted: String,
        /// What lies there instead.
        found: String,
    },
    /// A FIFO, a device or a folder where a file should be. It is not opened: that could wait for ever.
    #[error("{}: not a regular file; save the tensors as one first", .0.display())]
    NotAFile(PathBuf),
    /// No LoRA is there.
    #[error(
        "{}: no such file; a LoRA is a .safetensors file on this machine, or a folder with one (of a hub's, download the \
         file first)",
        .0.display()
    )]
    NoLoraFile(PathBuf),
    /// The operating system refused.
    #[error("{}: {error}", path.display())]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What it said. In the message already, so no [`source`](std::error::Error::source) to say it again.
        error: std::io::Error,
    },
    /// The file ends before its last tensor does.
    #[error("{place}: truncated: its header asks for {needs} bytes, the file has {has}; download it again")]
    Truncated {
        /// The file.
        place: String,
        /// Bytes that the header speaks of.
        needs: u64,
        /// Bytes that are there.
        has: u64,
    },
    /// The file is something else.
    #[error("{place}: not a file of weights: {why}")]
    NotWeights {
        /// The file.
        place: String,
        /// What it is.
        why: String,
    },
    /// The file breaks its format's rules.
    #[error("{place}: damaged {format} file: {why}")]
    Damaged {
        /// The file.
        place: String,
        /// What it is.
        format: Format,
        /// What is wrong with it.
        why: String,
    },
    /// The file is of a format that is read, and yet cannot be.
    #[error("{place}: a {format} file that is not read: {why}")]
    Unread {
        /// The file.
        place: String,
        /// What it is.
        format: Format,
        /// Why not.
        why: String,
    },
    /// The header is JSON, but does not describe tensors that fill the file.
    #[error("{place}: damaged safetensors header: {why}")]
    BadHeader {
        /// The file.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// The index of a sharded checkpoint cannot be used.
    #[error("{}: not a usable index of shards: {why}", index.display())]
    BadIndex {
        /// The index file.
        index: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The index names a file that is not there.
    #[error("{}: shard {shard} is missing (it holds {tensor}); download it again", index.display())]
    MissingShard {
        /// The index file.
        index: PathBuf,
        /// The file that it names.
        shard: String,
        /// One of the tensors in it.
        tensor: String,
    },
    /// The index says that a shard holds a tensor, and it does not.
    #[error("{}: tensor {tensor} should be in {shard}, which does not have it", index.display())]
    NotInShard {
        /// The index file.
        index: PathBuf,
        /// The file that should hold the tensor.
        shard: String,
        /// The tensor.
        tensor: String,
    },
    /// Two files that were to make one checkpoint hold the same tensor.
    #[error("{first} and {second} both hold {tensor}: open one of them")]
    Twice {
        /// One of the files.
        first: String,
        /// The other.
        second: String,
        /// The tensor.
        tensor: String,
    },
    /// One file holds the same tensor under two names.
    #[error(
        "{place}: {first} and {second} are the same tensor of the {component}: two models are mixed in it; take a file \
         with one"
    )]
    Double {
        /// The file.
        place: String,
        /// One of the names.
        first: String,
        /// The other.
        second: String,
        /// The component, by its folder.
        component: String,
    },
    /// The tensor's elements are of a type that the format did not have when this was written.
    #[error("{place}: tensor {tensor} holds {dtype}, which is not known: save the file in f32, f16 or bf16")]
    UnknownDtype {
        /// The tensor.
        tensor: String,
        /// The file.
        place: String,
        /// The type, in the file's own word.
        dtype: String,
    },
    /// A LoRA's tensor cannot be used, or not with this model.
    #[error("{place}: LoRA tensor {tensor} {why}")]
    Lora {
        /// The LoRA's file.
        place: String,
        /// The tensor in it.
        tensor: String,
        /// What is wrong with it.
        why: String,
    },
    /// A LoRA is for another family of models.
    #[error(
        "{place}: this LoRA is for {family} {why}; choose a LoRA that was trained for the model's family"
    )]
    OtherFamily {
        /// The LoRA's file.
        place: String,
        /// The family that it is for.
        family: String,
        /// How that is known, the model's own family, and what shows that it does not fit.
        why: String,
    },
    /// A file's vectors for a word cannot be used.
    #[error("{place}: not a usable embedding (textual inversion): {why}")]
    Embedding {
        /// The file.
        place: String,
        /// What is wrong with it.
        why: String,
    },
    /// What PEFT says of a LoRA cannot be used.
    #[error("{place}: not a usable LoRA configuration: {why}")]
    BadAdapter {
        /// The file, or the metadata in it.
        place: String,
        /// The field, and what is wrong with it.
        why: String,
    },
    /// A tensor holds values that would make every picture black.
    #[error(
        "tensor {tensor} in {place} holds {count} values that are not finite (NaN or infinity): the file is damaged; \
         fetch it again"
    )]
    NotFinite {
        /// The tensor.
        tensor: String,
        /// The checkpoint.
        place: String,
        /// How many values.
        count: usize,
    },
    /// A tensor's numbers do not fit into the type that they are to be written as.
    #[error(
        "tensor {tensor} in {place} holds {count} values that are too large for {encoding}: choose bf16 or f32"
    )]
    TooLarge {
        /// The tensor.
        tensor: String,
        /// Where it is.
        place: String,
        /// How many values.
        count: usize,
        /// What they were to be.
        encoding: calotype_tensor::Encoding,
    },
    /// A tensor cannot be written in a format.
    #[error("tensor {tensor} in {place} cannot be written: {why}")]
    Unwritable {
        /// The tensor.
        tensor: String,
        /// Where it is.
        place: String,
        /// What the format does not have.
        why: String,
    },
    /// What was to be written did not arrive.
    #[error("cannot be written: {0}")]
    Output(std::io::Error),
    /// The caller stopped it.
    #[error("stopped")]
    Stopped,
    /// A file of Keras' does not hold a component of Stable Diffusion.
    #[error(
        "{place}: Keras' weights, but of no text encoder, UNet, decoder or encoder of Stable Diffusion as KerasCV saves \
         them: {why}"
    )]
    NoKerasModel {
        /// The file.
        place: String,
        /// What does not fit.
        why: String,
    },
    /// The file holds no LoRA at all.
    #[error(
        "{place}: no LoRA: none of its tensors has a name that a LoRA's have (….lora_A.weight, ….lora_down.weight)"
    )]
    NoLora {
        /// The file.
        place: String,
    },
    /// A synthetic tensor was declared with numbers that cannot be made.
    #[error("synthetic tensor {tensor}: {why}")]
    BadDeclaration {
        /// The tensor.
        tensor: String,
        /// What is wrong.
        why: String,
    },
}

/// A source's own errors, where it is asked for tensors.
impl From<Error> for calotype_tensor::Error {
    fn from(error: Error) -> Self {
        match error {
            Error::Tensor(error) => error,
            other => Self::Source(Box::new(other)),
        }
    }
}
