//! Vulkan devices without robust buffer access. wgpu asks for it wherever a driver has it, for the sake of shaders that
//! nobody has proven; on the drivers that test each access by instructions it is a third to a half of a kernel
//! (docs/kernels.md). Ours test their own indices, which the op tests watch (`watch.rs`).

use ash::vk;
use wgpu::hal::api::Vulkan;

/// Set to 1, it keeps robust buffer access on: what it costs can be measured so.
const KEEP: &str = "CALOTYPE_ROBUST_ACCESS";

/// The family and number of the queue that wgpu takes.
const QUEUE: (u32, u32) = (0, 0);

/// Opens a Vulkan adapter. None where wgpu is to do it: for another API, or where a driver does not want this.
pub fn open(
    adapter: &wgpu::Adapter,
    wanted: &wgpu::DeviceDescriptor<'_>,
) -> Option<(wgpu::Device, wgpu::Queue)> {
    if std::env::var(KEEP).is_ok_and(|value| value == "1") {
        return None;
    }
    let told = |why: String| log::debug!("no Vulkan device without robust buffer access: {why}");
    let opened = raw(adapter, wanted)?.map_err(|e| told(e.to_string())).ok()?;
    // SAFETY: the device is of this adapter, with the features that are wanted.
    let made = unsafe { adapter.create_device_from_hal(opened, wanted) };
    made.map_err(|e| told(e.to_string())).ok()
}

/// As wgpu-hal's `Adapter::open` (vulkan/adapter.rs), but for the two features.
fn raw(
    adapter: &wgpu::Adapter,
    wanted: &wgpu::DeviceDescriptor<'_>,
) -> Option<Result<wgpu::hal::OpenDevice<Vulkan>, wgpu::hal::DeviceError>> {
    // SAFETY: the handles are only read, and live as long as the guard does.
    let hal = unsafe { adapter.as_hal::<Vulkan>() }?;
    let features = wanted.required_features;
    let extensions = hal.required_device_extensions(features);
    let mut enabled = hal.physical_device_features(&extensions, features);
    let queues = [vk::DeviceQueueCreateInfo::default().queue_family_index(QUEUE.0).queue_priorities(&[1.0])];
    let names: Vec<_> = extensions.iter().map(|name| name.as_ptr()).collect();
    let core = vk::PhysicalDeviceFeatures { robust_buffer_access: vk::FALSE, ..enabled.get_core() };
    let mut info = enabled.add_to_device_create(
        vk::DeviceCreateInfo::default().queue_create_infos(&queues).enabled_extension_names(&names),
    );
    info = info.enabled_features(&core);
    let mut next = info.p_next.cast_mut().cast::<vk::BaseOutStructure<'_>>();
    // SAFETY: a chain of structures that `enabled` holds and lends for writing, each of the type that it says.
    while let Some(structure) = unsafe { next.as_mut() } {
        if structure.s_type == vk::StructureType::PHYSICAL_DEVICE_ROBUSTNESS_2_FEATURES_EXT {
            let bounds = next.cast::<vk::PhysicalDeviceRobustness2FeaturesEXT<'_>>();
            // SAFETY: as above.
            unsafe { (*bounds).robust_buffer_access2 = vk::FALSE };
        }
        next = structure.p_next;
    }
    let instance = hal.shared_instance().raw_instance();
    // SAFETY: what `info` points to lives until the end of this function. wgpu-hal is promised a device with all that it
    // would ask for: the two features that are left out change nothing that it does, only what becomes of accesses
    // outside of a buffer, and kernels have none.
    let opened = unsafe {
        match instance.create_device(hal.raw_physical_device(), &info, None) {
            Ok(device) => hal.device_from_raw(
                device,
                None,
                &extensions,
                features,
                &wanted.required_limits,
                &wanted.memory_hints,
                QUEUE.0,
                QUEUE.1,
            ),
            Err(e) => {
                log::debug!("vkCreateDevice: {e}");
                Err(wgpu::hal::DeviceError::Lost)
            }
        }
    };
    Some(opened)
}
