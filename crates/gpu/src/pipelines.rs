use crate::cache::DiskCache;
use crate::device::Device;
use crate::watch::Watch;
use calotype_graph::lower::Dispatch;
use calotype_shaders::{Access, Variant};
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;

/// A compiled kernel.
pub(crate) struct Kernel {
    pub pipeline: wgpu::ComputePipeline,
    pub layout: wgpu::BindGroupLayout,
    /// What it counts into, where it is watched.
    pub watch: Option<wgpu::BindGroup>,
}

type Key = (*const Variant, Vec<(&'static str, u64)>);

/// Kernels, compiled when first asked for and kept.
#[derive(Default)]
pub(crate) struct Pipelines {
    kernels: RefCell<HashMap<Key, Rc<Kernel>>>,
    cache: Option<DiskCache>,
    pub watch: Option<Watch>,
    modules: RefCell<HashMap<*const Variant, Rc<(wgpu::ShaderModule, wgpu::BindGroupLayout)>>>,
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

    /// The kernel of a dispatch.
    pub fn get(&self, device: &Device, dispatch: &Dispatch) -> Rc<Kernel> {
        let variant = dispatch.variant;
        let overrides = dispatch.overrides.iter().map(|(n, v)| (*n, v.to_bits())).collect();
        let key = (std::ptr::from_ref(variant), overrides);
        if let Some(kernel) = self.kernels.borrow().get(&key) {
            return kernel.clone();
        }
        let module = self.module(device, variant);
        let (module, layout) = &*module;
        let label = variant.label();
        let watch = self.watch.as_ref();
        let layouts: Vec<_> = [layout].into_iter().chain(watch.map(|w| &w.layout)).map(Some).collect();
        let watched = watch.map(|w| ("WATCHED", w.number(variant) as f64));
        let constants: Vec<_> = dispatch.overrides.iter().copied().chain(watched).collect();
        let pipeline_layout = device.raw.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(&label),
            bind_group_layouts: &layouts,
            immediate_size: 0,
        });
        let pipeline = device.raw.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(&label),
            layout: Some(&pipeline_layout),
            module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                constants: &constants,
                // Every kernel writes its workgroup memory before it reads it.
                zero_initialize_workgroup_memory: device.checked,
            },
            cache: self.cache.as_ref().map(DiskCache::raw),
        });
        let kernel =
            Rc::new(Kernel { pipeline, layout: layout.clone(), watch: watch.map(|w| w.binding.clone()) });
        self.kernels.borrow_mut().insert(key, kernel.clone());
        kernel
    }

    fn module(
        &self,
        device: &Device,
        variant: &'static Variant,
    ) -> Rc<(wgpu::ShaderModule, wgpu::BindGroupLayout)> {
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
