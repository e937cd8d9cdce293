use crate::cache::DiskCache;
use crate::device::Device;
use crate::watch::Watch;
use calotype_graph::lower::Dispatch;
use calotype_shaders::{Access, Variant};
use calotype_tensor::parallel::prelude::*;
use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::rc::Rc;

/// A compiled kernel.
pub(crate) struct Kernel {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    /// What it counts into, where it is watched.
    pub watch: Option<wgpu::BindGroup>,
}

type Key = (*const Variant, Vec<(&'static str, u64)>);

/// A variant's text as the device takes it, and what it binds.
type Module = (wgpu::ShaderModule, wgpu::BindGroupLayout);

fn key(dispatch: &Dispatch) -> Key {
    let overrides = dispatch.overrides.iter().map(|(n, v)| (*n, v.to_bits())).collect();
    (std::ptr::from_ref(dispatch.variant), overrides)
}

/// What a kernel is compiled with besides its text.
struct Recipe {
    label: String,
    constants: Vec<(&'static str, f64)>,
    layout: wgpu::PipelineLayout,
}

impl Recipe {
    fn compile(
        &self,
        checked: bool,
        device: &wgpu::Device,
        (module, _): &Module,
        cache: Option<&wgpu::PipelineCache>,
    ) -> wgpu::ComputePipeline {
        device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&self.label),
            layout: Some(&self.layout),
            module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &self.constants,
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: checked,
            },
            cache,
        })
    }
}

/// Kernels, compiled when first asked for and kept.
#[derive(Default)]
pub(crate) struct Pipelines {
    kernels: RefCell<HashMap<Key, Rc<Kernel>>>,
    cache: Option<DiskCache>,
    pub watch: Option<Watch>,
    modules: RefCell<HashMap<*const Variant, Rc<Module>>>,
}

impl Pipelines {
    /// Those of a device.
    pub fn new(device: &Device) -> Self {
        let watch = device.watched.then(|| Watch::new(device));
        Self { cache: DiskCache::open(device), watch, ..Self::default() }
    }

    /// Keeps what was compiled for the next start.
    pub fn save(&self) {
        if let Some(cache) = &self.cache {
            cache.save();
        }
    }

    /// Compiles the kernels that some dispatches lack, as many at a time as there are processors: drivers take up to half
    /// a second for one. A browser has one thread, and compiles beside it anyway.
    pub fn prepare(&self, device: &Device, dispatches: &[Dispatch]) {
        let mut lacking: BTreeMap<Key, (Rc<Module>, Recipe)> = BTreeMap::new();
        for dispatch in dispatches {
            let key = key(dispatch);
            if !self.kernels.borrow().contains_key(&key) && !lacking.contains_key(&key) {
                let module = self.module(device, dispatch.variant);
                let recipe = self.recipe(device, dispatch, &module);
                lacking.insert(key, (module, recipe));
            }
        }
        let jobs: Vec<(&Module, &Recipe)> =
            lacking.values().map(|(module, recipe)| (&**module, recipe)).collect();
        let cache = self.cache.as_ref().map(DiskCache::raw);
        let (checked, raw) = (device.checked, &device.raw);
        let pipelines: Vec<_> =
            jobs.par_iter().map(|(module, recipe)| recipe.compile(checked, raw, module, cache)).collect();
        for ((key, (module, _)), pipeline) in lacking.into_iter().zip(pipelines) {
            let watch = self.watch.as_ref().map(|w| w.binding.clone());
            let kernel = Kernel { pipeline, layout: module.1.clone(), watch };
            self.kernels.borrow_mut().insert(key, Rc::new(kernel));
        }
    }

    /// The kernel of a dispatch.
    pub fn get(&self, device: &Device, dispatch: &Dispatch) -> Rc<Kernel> {
        let key = key(dispatch);
        if !self.kernels.borrow().contains_key(&key) {
            self.prepare(device, std::slice::from_ref(dispatch));
        }
        self.kernels.borrow()[&key].clone()
    }

    /// What a kernel is compiled with.
    fn recipe(&self, device: &Device, dispatch: &Dispatch, module: &Module) -> Recipe {
        let variant = dispatch.variant;
        let watch = self.watch.as_ref();
        let layouts: Vec<_> = [&module.1].into_iter().chain(watch.map(|w| &w.layout)).map(Some).collect();
        let watched = watch.map(|w| ("WATCHED", w.number(variant) as f64));
        let label = variant.label();
        let layout = device.raw.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &layouts,
            immediate_size: 0,
        });
        Recipe { label, constants: dispatch.overrides.iter().copied().chain(watched).collect(), layout }
    }

    fn module(&self, device: &Device, variant: &'static Variant) -> Rc<Module> {
        let key = std::ptr::from_ref(variant);
        if let Some(known) = self.modules.borrow().get(&key) {
            return known.clone();
        }
        let label = variant.label();
        let source = if self.watch.is_some() { variant.watched() } else { variant.source() };
        let descriptor = wgpu::ShaderModuleDescriptor {
            label: Some(&label),
            source: wgpu::ShaderSource::Wgsl(source.into()),
        };
        let module = if device.checked {
            device.raw.create_shader_module(descriptor)
        } else {
            // SAFETY: each kernel tests its indices against its parameters, which lowering derives from the shapes
            // of what it binds; the op tests watch every one (`watch.rs`).
            unsafe {
                device.raw.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked())
            }
        };
        let entries: Vec<wgpu::BindGroupLayoutEntry> = variant
            .bindings
            .iter()
            .enumerate()
            .map(|(i, b)| wgpu::BindGroupLayoutEntry {
                binding: i as u32,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: match b.access {
                        Access::Uniform => wgpu::BufferBindingType::Uniform,
                        Access::Read => wgpu::BufferBindingType::Storage { read_only: true },
                        Access::ReadWrite => wgpu::BufferBindingType::Storage { read_only: false },
                    },
                    has_dynamic_offset: b.access == Access::Uniform,
                    min_binding_size: None,
                },
                count: None,
            })
            .collect();
        let layout = device.raw.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some(&label),
            entries: &entries,
        });
        let made = Rc::new((module, layout));
        self.modules.borrow_mut().insert(key, made.clone());
        made
    }
}
