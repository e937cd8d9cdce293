//! Kernels that are watched: on a checked device each counts the indices by which it would have left what is bound. wgpu's
//! checks beside them keep it inside, and say nothing.

use crate::device::Device;
use calotype_graph::Error;
use calotype_shaders::Variant;
use std::cell::RefCell;

/// Kernels that can be told apart; those beyond share the last count.
const KERNELS: usize = 4096;

/// What is bound to group 1 of every kernel, and which kernel counts where.
pub(crate) struct Watch {
    counts: wgpu::Buffer,
    pub layout: wgpu::BindGroupLayout,
    pub binding: wgpu::BindGroup,
    kernels: RefCell<Vec<&'static Variant>>,
}

impl Watch {
    pub fn new(device: &Device) -> Self {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST;
        // Not on the account: no run needs it.
        let counts = device.raw.create_buffer(&wgpu::BufferDescriptor {
            label: Some("strays"),
            size: 4 * KERNELS as u64,
            usage,
            mapped_at_creation: false,
        });
        let layout = device.raw.create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor {
            label: Some("strays"),
            entries: &[wgpu::BindGroupLayoutEntry {
                binding: 0,
                visibility: wgpu::ShaderStages::COMPUTE,
                ty: wgpu::BindingType::Buffer {
                    ty: wgpu::BufferBindingType::Storage { read_only: false },
                    has_dynamic_offset: false,
                    min_binding_size: None,
                },
                count: None,
            }],
        });
        let binding = device.raw.create_bind_group(&wgpu::BindGroupDescriptor {
            label: Some("strays"),
            layout: &layout,
            entries: &[wgpu::BindGroupEntry { binding: 0, resource: counts.as_entire_binding() }],
        });
        Self { counts, layout, binding, kernels: RefCell::default() }
    }

    /// Where a kernel counts.
    pub fn number(&self, variant: &'static Variant) -> usize {
        let mut kernels = self.kernels.borrow_mut();
        kernels.push(variant);
        kernels.len().min(KERNELS) - 1
    }

    /// Fails where a kernel left what is bound since this was last asked.
    pub async fn check(&self, device: &Device) -> Result<(), Error> {
        let counts = device.fetch(&self.counts).await?;
        device.queue.write_buffer(&self.counts, 0, &vec![0; counts.len()]);
        let kernels = self.kernels.borrow();
        let strayed = counts.chunks_exact(4).zip(kernels.iter()).find(|(count, _)| **count != [0; 4]);
        strayed.map_or(Ok(()), |(count, variant)| {
            let count = u32::from_le_bytes([count[0], count[1], count[2], count[3]]);
            Err(Error::Device(format!("{} indexes outside of what is bound, {count} times", variant.label())))
        })
    }
}
