use std::fmt;

/// What a file is, by its first bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Hugging Face's.
    Safetensors,
    /// torch's pickle in a zip archive.
    Zip,
    /// The same as torch wrote it before 1.6.
    Legacy,
    /// The same as torch wrote it before 0.1.10.
    Tar,
    /// ggml's.
    Gguf,
    /// Keras', TensorFlow's and h5py's.
    Hdf5,
}

impl Format {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Safetensors => "safetensors",
            Self::Zip => "PyTorch pickle (zip)",
            Self::Legacy => "PyTorch pickle (legacy)",
            Self::Tar => "PyTorch pickle (tar)",
            Self::Gguf => "GGUF",
            Self::Hdf5 => "HDF5",
        }
    }
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
