use calotype_field::Field;

/// Why there is no GPU to run on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter at all.
    #[error(
        "no GPU adapter found{backend}: install your GPU's driver with Vulkan, Metal or DX12 support \
         (on Linux also the package libvulkan1), or use {} cpu",
        Field::Device
    )]
    NoAdapter {
        /// ` for vulkan`, or empty.
        backend: String,
    },
    /// Adapters, but not the one asked for.
    #[error("no adapter matches {} {asked}; there are: {found}", Field::Adapter)]
    NoSuchAdapter {
        /// What was asked for.
        asked: String,
        /// What there is.
        found: String,
    },
    /// The adapter cannot run a tier of kernels that was asked for.
    #[error(
        "{adapter} cannot run the kernels of {} {tier}: {reason}; leave {} out",
        Field::Tier,
        Field::Tier
    )]
    NoSuchTier {
        /// What was asked for.
        tier: calotype_graph::lower::Tier,
        /// The adapter's name.
        adapter: String,
        /// Why not.
        reason: String,
    },
    /// An adapter whose plain kernels do not compute what the host does.
    #[error(
        "{adapter} (driver {driver}) cannot be used: {reason}; try another {} or driver, or {} cpu",
        Field::Adapter,
        Field::Device
    )]
    Wrong {
        /// The adapter's name.
        adapter: String,
        /// The driver and its version.
        driver: String,
        /// What it did.
        reason: String,
    },
    /// A device could not be opened.
    #[error(
        "{adapter} could not be opened: {reason}; try another {} or {} cpu",
        Field::Adapter,
        Field::Device
    )]
    Device {
        /// The adapter's name.
        adapter: String,
        /// wgpu's words.
        reason: String,
    },
}

impl Error {
    /// The field at fault, where what was asked for is.
    pub fn field(&self) -> Option<Field> {
        match self {
            Self::NoSuchAdapter { .. } => Some(Field::Adapter),
            Self::NoSuchTier { .. } => Some(Field::Tier),
            _ => None,
        }
    }
}
