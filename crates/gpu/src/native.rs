//! What an adapter's own API tells, and wgpu does not.

/// Device memory in bytes. Vulkan tells its heaps, of which the largest that is the device's own counts; DX12 and Metal tell
/// what the system would let a program use (DXGI's budget, `recommendedMaxWorkingSetSize`).
pub fn memory(adapter: &wgpu::Adapter) -> Option<u64> {
    vulkan_memory(adapter).or_else(|| other_memory(adapter))
}

fn vulkan_memory(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: the handles are only read, and live as long as the guard does.
    unsafe {
        let hal = adapter.as_hal::<wgpu::hal::api::Vulkan>()?;
        let instance = hal.shared_instance().raw_instance();
        let memory = instance.get_physical_device_memory_properties(hal.raw_physical_device());
        const DEVICE_LOCAL: u32 = 1; // VK_MEMORY_HEAP_DEVICE_LOCAL_BIT
        memory.memory_heaps[..memory.memory_heap_count as usize]
            .iter()
            .filter(|h| h.flags.as_raw() & DEVICE_LOCAL != 0)
            .map(|h| h.size)
            .max()
    }
}

#[cfg(windows)]
fn other_memory(adapter: &wgpu::Adapter) -> Option<u64> {
    // SAFETY: the handle is only read, and lives as long as the guard does.
    let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Dx12>() }?;
    // The default group is the local one (DXGI_MEMORY_SEGMENT_GROUP_LOCAL).
    let local = hal.raw_adapter().query_video_memory_info(Default::default()).ok()?;
    Some(local.Budget).filter(|bytes| *bytes > 0)
}

#[cfg(target_vendor = "apple")]
fn other_memory(adapter: &wgpu::Adapter) -> Option<u64> {
    use objc2_metal::MTLDevice;
    // SAFETY: the handle is only read, and lives as long as the guard does.
    let hal = unsafe { adapter.as_hal::<wgpu::hal::api::Metal>() }?;
    Some(hal.raw_device().recommendedMaxWorkingSetSize()).filter(|bytes| *bytes > 0)
}

#[cfg(not(any(windows, target_vendor = "apple")))]
fn other_memory(_: &wgpu::Adapter) -> Option<u64> {
    None
}

/// Metal's families that an adapter belongs to, by which Apple's table of features is read
/// (Metal-Feature-Set-Tables.pdf).
#[cfg(target_vendor = "apple")]
pub fn families(adapter: &wgpu::Adapter) -> Vec<String> {
    use objc2_metal::{MTLDevice, MTLGPUFamily as Family};
    const KNOWN: [(&str, Family); 13] = [
        ("apple1", Family::Apple1),
        ("apple2", Family::Apple2),
        ("apple3", Family::Apple3),
        ("apple4", Family::Apple4),
        ("apple5", Family::Apple5),
        ("apple6", Family::Apple6),
        ("apple7", Family::Apple7),
        ("apple8", Family::Apple8),
        ("apple9", Family::Apple9),
        ("apple10", Family::Apple10),
        ("mac2", Family::Mac2),
        ("metal3", Family::Metal3),
        ("metal4", Family::Metal4),
    ];
    // SAFETY: the handle is only read, and lives as long as the guard does.
    let Some(hal) = (unsafe { adapter.as_hal::<wgpu::hal::api::Metal>() }) else { return Vec::new() };
    let device = hal.raw_device();
    let all = KNOWN.iter().filter(|(_, family)| device.supportsFamily(*family)).map(|(name, _)| *name);
    // A chip belongs to the families of all before it.
    let (apple, others): (Vec<&str>, Vec<&str>) = all.partition(|name| name.starts_with("apple"));
    apple.last().into_iter().chain(&others).map(|name| name.to_string()).collect()
}

#[cfg(not(target_vendor = "apple"))]
pub fn families(_: &wgpu::Adapter) -> Vec<String> {
    Vec::new()
}

/// What compiles shaders for DX12: Microsoft's DXC where its library is found, beside the program, in the system's folder or
/// on the path; else FXC, which comes with Windows and knows neither f16 nor subgroups.
pub fn compiler() -> wgpu::Dx12Compiler {
    if has_dxc() { wgpu::Dx12Compiler::default_dynamic_dxc() } else { wgpu::Dx12Compiler::Fxc }
}

/// Its name.
pub fn compiler_name() -> &'static str {
    if has_dxc() { "DXC" } else { "FXC" }
}

#[cfg(windows)]
fn has_dxc() -> bool {
    use std::sync::LazyLock;
    static FOUND: LazyLock<bool> = LazyLock::new(|| {
        // SAFETY: wgpu loads the same library by the same name; what it does when it is loaded is Microsoft's.
        unsafe { libloading::Library::new("dxcompiler.dll") }.is_ok()
    });
    *FOUND
}

#[cfg(not(windows))]
fn has_dxc() -> bool {
    false
}
