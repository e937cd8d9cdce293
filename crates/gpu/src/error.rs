/// Why there is no GPU to run on.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No adapter at all.
    #[error(
        "no GPU adapter found{backend}: install your GPU's driver with Vulkan, Metal or DX12 support \
         (on Linux also the package libvulkan1), or use --backend cpu"
    )]
    NoAdapter {
        /// ` for vulkan`, or empty.
        backend: String,
    },
    /// Adapters, but not the one asked for.
    #[error("no adapter matches --adapter {asked}; there are: {found} (see `calotype adapters`)")]
    NoSuchAdapter {
        /// What was asked for.
        asked: String,
        /// What there is.
        found: String,
    },
    /// The adapter cannot run a tier of kernels that was asked for.
    #[error(
        "{adapter} cannot run the kernels of --tier {tier}: {reason}; leave --tier out, or see `calotype adapters`"
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
        "{adapter} (driver {driver}) cannot be used: {reason}; try another --adapter or driver, or --backend cpu"
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
    #[error("{adapter} could not be opened: {reason}; try another --adapter or --backend cpu")]
    Device {
        /// The adapter's name.
        adapter: String,
        /// wgpu's words.
        reason: String,
    },
}
