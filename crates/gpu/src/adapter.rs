use crate::Error;
#[cfg(not(target_arch = "wasm32"))]
use crate::native;
use calotype_graph::lower::Tier;
use std::fmt;
use std::path::PathBuf;

/// Which API drives the GPU.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Backend {
    /// Whichever the platform does best.
    #[default]
    Auto,
    /// Vulkan: Linux, Windows, Android.
    Vulkan,
    /// Metal: Apple.
    Metal,
    /// Direct3D 12: Windows.
    Dx12,
}

#[cfg(not(target_arch = "wasm32"))]
impl Backend {
    /// OpenGL's compute is too old for this. On Apple's systems Vulkan is a layer over Metal (MoltenVK): it is taken only
    /// where it is asked for.
    fn wgpu(self) -> wgpu::Backends {
        match self {
            Self::Auto if cfg!(target_vendor = "apple") => wgpu::Backends::METAL,
            Self::Auto => wgpu::Backends::VULKAN | wgpu::Backends::DX12,
            Self::Vulkan => wgpu::Backends::VULKAN,
            Self::Metal => wgpu::Backends::METAL,
            Self::Dx12 => wgpu::Backends::DX12,
        }
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Auto => "auto",
            Self::Vulkan => "vulkan",
            Self::Metal => "metal",
            Self::Dx12 => "dx12",
        })
    }
}

/// Whether products are tried in several cuts, and the fastest remembered ([`Executor::tune`]).
///
/// [`Executor::tune`]: calotype_graph::Executor::tune
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Tuning {
    /// On GPUs that time their launches; not where shaders run in software, and not in a browser, which has nowhere to
    /// keep what was found.
    #[default]
    Auto,
    /// Nothing is tried, and what was remembered is left alone: the table that comes with the engine decides.
    Off,
    /// Also where shaders run in software.
    Always,
}

/// Which GPU to run on, and how.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Choice {
    /// Which API.
    pub backend: Backend,
    /// An index into [`adapters`], or a part of the adapter's name in any case. Without one the fastest kind is
    /// taken: discrete, then integrated, then anything, a processor's software renderer last.
    pub adapter: Option<String>,
    /// Prefer a GPU that saves power, where the platform itself makes the choice: in a browser.
    pub low_power: bool,
    /// Use the kernels of this tier, and of those below it; an error where the adapter does not have it or it does not
    /// hold. Without one, all that hold are used, but for those that are slower on the adapter.
    pub tier: Option<Tier>,
    /// Whether to try how products are best cut up.
    pub tuning: Tuning,
    /// Where compiled kernels and what tuning found are kept, if not in the user's cache folder (see ARCHITECTURE.md).
    pub cache_dir: Option<PathBuf>,
    /// How many bytes of packed weights, as this device reads them, may be kept there: a later start uploads them, and packs none.
    /// None are where nothing is said.
    pub cache_weights: Option<u64>,
    /// Keep to what every WebGPU device has: default limits, no f16. How tests see what a browser sees.
    pub plain: bool,
    /// Of the ways to cut up a product use this one only ([`Caps::only_cut`]). How tests reach all of them.
    ///
    /// [`Caps::only_cut`]: calotype_graph::Caps::only_cut
    pub only_cut: Option<usize>,
    /// On a software adapter, run the kernels that GPUs get all the same. How tests reach them without one.
    pub as_gpu: bool,
    /// Keep wgpu's bounds checks in the shaders, and a driver's, and watch kernels' indices: a reading fails after a kernel
    /// left what is bound to it. Takes several times as long.
    pub checked: bool,
}

/// What became of a tier on an adapter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TierReport {
    /// Which.
    pub tier: Tier,
    /// Whether it is used.
    pub used: bool,
    /// With what, or why not.
    pub note: String,
}

/// An adapter's features and limits that matter here.
#[derive(Clone, Debug, PartialEq)]
pub struct AdapterReport {
    /// Its place in [`adapters`].
    pub index: usize,
    /// The name its driver gives.
    pub name: String,
    /// `vulkan`, `metal`, `dx12` or `webgpu`.
    pub backend: String,
    /// `discrete`, `integrated`, `virtual`, `cpu` or `other`.
    pub kind: String,
    /// Driver and its version.
    pub driver: String,
    /// Whether shaders may use f16.
    pub f16: bool,
    /// Whether shaders may use subgroup operations.
    pub subgroups: bool,
    /// Whether there are timestamp queries.
    pub timestamps: bool,
    /// Shapes of cooperative matrices, such as `16x16x16 f16→f32`.
    pub cooperative: Vec<String>,
    /// The largest buffer, in bytes.
    pub max_buffer: u64,
    /// The largest storage binding, in bytes.
    pub max_binding: u64,
    /// Workgroup memory, in bytes.
    pub workgroup_memory: u32,
    /// Device memory, in bytes, where the API tells: on Vulkan all of it, on DX12 and Metal what a program should use.
    pub memory: Option<u64>,
    /// Metal's families of GPUs to which it belongs, such as `apple8` and `metal3`.
    pub families: Vec<String>,
    /// What compiles shaders for DX12: `DXC`, or `FXC`, which knows neither f16 nor subgroups.
    pub compiler: Option<&'static str>,
    /// What became of each tier above the plain one. Empty until the adapter was opened, which is when they are proven.
    pub tiers: Vec<TierReport>,
}

impl AdapterReport {
    pub(crate) fn new(index: usize, adapter: &wgpu::Adapter) -> Self {
        let info = adapter.get_info();
        let (features, limits) = (adapter.features(), adapter.limits());
        let scalar = |t: wgpu::CooperativeScalarType| format!("{t:?}").to_lowercase();
        Self {
            index,
            name: info.name.clone(),
            backend: info.backend.to_str().to_string(),
            kind: match info.device_type {
                wgpu::DeviceType::DiscreteGpu => "discrete",
                wgpu::DeviceType::IntegratedGpu => "integrated",
                wgpu::DeviceType::VirtualGpu => "virtual",
                wgpu::DeviceType::Cpu => "cpu",
                wgpu::DeviceType::Other => "other",
            }
            .to_string(),
            driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
            f16: features.contains(wgpu::Features::SHADER_F16),
            subgroups: features.contains(wgpu::Features::SUBGROUP),
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            cooperative: adapter
                .cooperative_matrix_properties()
                .iter()
                .map(|p| {
                    let (m, n, k) = (p.m_size, p.n_size, p.k_size);
                    format!("{m}x{n}x{k} {}→{}", scalar(p.ab_type), scalar(p.cr_type))
                })
                .collect(),
            max_buffer: limits.max_buffer_size,
            max_binding: limits.max_storage_buffer_binding_size,
            workgroup_memory: limits.max_compute_workgroup_storage_size,
            #[cfg(not(target_arch = "wasm32"))]
            memory: native::memory(adapter),
            #[cfg(not(target_arch = "wasm32"))]
            families: native::families(adapter),
            #[cfg(not(target_arch = "wasm32"))]
            compiler: (info.backend == wgpu::Backend::Dx12).then(native::compiler_name),
            #[cfg(target_arch = "wasm32")]
            memory: None,
            #[cfg(target_arch = "wasm32")]
            families: Vec::new(),
            #[cfg(target_arch = "wasm32")]
            compiler: None,
            tiers: Vec::new(),
        }
    }
}

fn instance(backends: wgpu::Backends) -> wgpu::Instance {
    let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
    descriptor.backends = backends;
    // Nothing here is called indirectly, and what checks such calls costs a pipeline at every start, which some DX12 drivers
    // do not even take.
    descriptor.flags.remove(wgpu::InstanceFlags::VALIDATION_INDIRECT_CALL);
    #[cfg(not(target_arch = "wasm32"))]
    {
        descriptor.backend_options.dx12.shader_compiler = native::compiler();
    }
    wgpu::Instance::new(descriptor)
}

/// Every adapter that can compute, in a stable order.
pub async fn adapters(backend: Backend) -> Vec<AdapterReport> {
    let found = enumerate(&Choice { backend, ..Choice::default() }).await;
    found.iter().enumerate().map(|(i, a)| AdapterReport::new(i, a)).collect()
}

#[cfg(not(target_arch = "wasm32"))]
pub(crate) async fn enumerate(choice: &Choice) -> Vec<wgpu::Adapter> {
    let backends = choice.backend.wgpu();
    instance(backends).enumerate_adapters(backends).await
}

#[cfg(target_arch = "wasm32")]
pub(crate) async fn enumerate(choice: &Choice) -> Vec<wgpu::Adapter> {
    let power_preference = match choice.low_power {
        true => wgpu::PowerPreference::LowPower,
        false => wgpu::PowerPreference::HighPerformance,
    };
    let options = wgpu::RequestAdapterOptions { power_preference, ..Default::default() };
    instance(wgpu::Backends::BROWSER_WEBGPU).request_adapter(&options).await.into_iter().collect()
}

/// The adapter that `choice` means.
pub(crate) async fn choose(choice: &Choice) -> Result<(wgpu::Adapter, AdapterReport), Error> {
    let mut found = enumerate(choice).await;
    let backend = match choice.backend {
        Backend::Auto => String::new(),
        other => format!(" for {other}"),
    };
    let reports: Vec<AdapterReport> =
        found.iter().enumerate().map(|(i, a)| AdapterReport::new(i, a)).collect();
    let at = match &choice.adapter {
        Some(asked) => {
            let by_index = asked.parse::<usize>().ok().filter(|i| *i < reports.len());
            let wanted = asked.to_lowercase();
            let at =
                by_index.or_else(|| reports.iter().position(|r| r.name.to_lowercase().contains(&wanted)));
            at.ok_or_else(|| {
                let names: Vec<String> = reports.iter().map(|r| format!("{} {}", r.index, r.name)).collect();
                let found = if names.is_empty() { "none".into() } else { names.join(", ") };
                Error::NoSuchAdapter { asked: asked.clone(), found }
            })?
        }
        None => preferred(&reports).ok_or(Error::NoAdapter { backend })?,
    };
    Ok((found.swap_remove(at), reports[at].clone()))
}

/// Which of [`adapters`] is taken where none is asked for: the fastest kind; and of a GPU that two APIs drive, Vulkan's,
/// since its driver compiles all that shaders are written with, and DX12 takes [a compiler](AdapterReport::compiler) that
/// may not be there.
pub fn preferred(reports: &[AdapterReport]) -> Option<usize> {
    let kind = |r: &AdapterReport| match r.kind.as_str() {
        "discrete" => 0,
        "integrated" => 1,
        "virtual" | "other" => 2,
        _ => 3,
    };
    (0..reports.len()).min_by_key(|&i| (kind(&reports[i]), reports[i].backend != "vulkan", i))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(backend: &str, kind: &str) -> AdapterReport {
        AdapterReport {
            index: 0,
            name: "a GPU".into(),
            backend: backend.into(),
            kind: kind.into(),
            driver: String::new(),
            f16: false,
            subgroups: false,
            timestamps: false,
            cooperative: Vec::new(),
            max_buffer: 0,
            max_binding: 0,
            workgroup_memory: 0,
            memory: None,
            families: Vec::new(),
            compiler: None,
            tiers: Vec::new(),
        }
    }

    #[test]
    fn the_fastest_kind_is_taken_and_vulkan_before_dx12() {
        let of = |found: &[(&str, &str)]| {
            let reports: Vec<AdapterReport> = found.iter().map(|(api, kind)| report(api, kind)).collect();
            preferred(&reports)
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("dx12", "discrete"), ("vulkan", "discrete")]), Some(1));
        assert_eq!(of(&[("vulkan", "integrated"), ("dx12", "integrated"), ("dx12", "discrete")]), Some(2));
        assert_eq!(of(&[("dx12", "cpu"), ("vulkan", "cpu")]), Some(1));
        assert_eq!(of(&[("vulkan", "cpu"), ("dx12", "integrated")]), Some(1));
        assert_eq!(of(&[("vulkan", "discrete"), ("vulkan", "discrete")]), Some(0));
    }
}
