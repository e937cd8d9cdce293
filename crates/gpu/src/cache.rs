use crate::device::Device;
use crate::store::{replace, sum};
use std::cell::Cell;
use std::fs;
use std::path::PathBuf;

/// Compiled kernels on disk, so that a second start compiles nothing. Vulkan has this; other drivers keep their own.
pub(crate) struct DiskCache {
    raw: wgpu::PipelineCache,
    file: PathBuf,
    /// The sum of what the file holds.
    saved: Cell<u64>,
}

impl DiskCache {
    /// None where the device has no such thing, or there is no folder for it. A file that is missing, damaged, or of
    /// another driver, version or set of shaders is as good as an empty one.
    pub fn open(device: &Device) -> Option<Self> {
        let (folder, device) = (device.folder.as_ref()?, &device.raw);
        if !device.features().contains(wgpu::Features::PIPELINE_CACHE) {
            return None;
        }
        let adapter = wgpu::util::pipeline_cache_key(&device.adapter_info())?;
        let name = format!("{adapter}-{}-{:016x}.bin", env!("CARGO_PKG_VERSION"), calotype_shaders::HASH);
        let file = folder.join(name);
        let bytes = fs::read(&file).unwrap_or_default();
        let data = unseal(&bytes);
        log::debug!("{}: {} bytes of compiled kernels", file.display(), data.map_or(0, <[u8]>::len));
        let descriptor = wgpu::PipelineCacheDescriptor { label: Some("kernels"), data, fallback: true };
        // SAFETY: the data came from `get_data`: its sum says that it is whole, and only `save` writes such files. wgpu
        // itself turns away what was made by another driver.
        let raw = unsafe { device.create_pipeline_cache(&descriptor) };
        Some(Self { raw, file, saved: Cell::new(data.map_or(0, sum)) })
    }

    /// What pipelines are made with.
    pub fn raw(&self) -> &wgpu::PipelineCache {
        &self.raw
    }

    /// Writes what was compiled since, if anything. A cache is worth no error: failures are only logged.
    pub fn save(&self) {
        let Some(data) = self.raw.get_data() else { return };
        if sum(&data) == self.saved.get() {
            return;
        }
        match replace(&self.file, &seal(&data)) {
            Ok(()) => self.saved.set(sum(&data)),
            Err(e) => log::info!("{}: compiled kernels were not kept: {e}", self.file.display()),
        }
    }
}

/// Data behind their sum.
fn seal(data: &[u8]) -> Vec<u8> {
    [&sum(data).to_le_bytes()[..], data].concat()
}

/// What was sealed, if it is whole.
fn unseal(bytes: &[u8]) -> Option<&[u8]> {
    let (first, data) = bytes.split_first_chunk()?;
    (sum(data) == u64::from_le_bytes(*first)).then_some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_damaged_is_not_used() {
        let data: Vec<u8> = (0..1001).map(|i| (i * 7) as u8).collect();
        let sealed = seal(&data);
        assert_eq!(unseal(&sealed), Some(&data[..]));
        assert_eq!(unseal(&[]), None);
        assert_eq!(unseal(&sealed[..sealed.len() - 1]), None);
        for at in [0, 8, 500, sealed.len() - 1] {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert_eq!(unseal(&damaged), None, "{at}");
        }
    }
}
