//! A device of the first Vulkan driver there is, with the features that wgpu turns on, and its compiler's statistics
//! (VK_KHR_pipeline_executable_properties).

use anyhow::{Context, Result};
use ash::{khr, vk};
use calotype_shaders::{Access, Variant};
use std::ffi::CStr;

/// A driver that compiles.
pub struct Driver {
    // Held for as long as what was made of it.
    _entry: ash::Entry,
    _instance: ash::Instance,
    raw: ash::Device,
    executables: khr::pipeline_executable_properties::Device,
    /// The GPU's name, as the driver has it.
    pub name: String,
}

/// What became of a kernel.
pub struct Compiled {
    /// What the driver counted, by its own names.
    pub statistics: Vec<(String, f64)>,
    /// Names and texts of what it was on the way, the assembly last.
    pub texts: Vec<(String, String)>,
}

fn text(chars: &[std::ffi::c_char]) -> String {
    // SAFETY: drivers end their names with a zero.
    unsafe { CStr::from_ptr(chars.as_ptr()) }.to_string_lossy().into_owned()
}

impl Driver {
    /// `robust`: the driver keeps accesses within their buffers, which wgpu asks for wherever there is
    /// robustBufferAccess2.
    pub fn open(robust: bool) -> Result<Self> {
        // SAFETY: plain use of the API; every pointer outlives its call.
        unsafe {
            let entry = ash::Entry::load().context("there is no Vulkan loader")?;
            let app = vk::ApplicationInfo::default().api_version(vk::API_VERSION_1_3);
            let instance =
                entry.create_instance(&vk::InstanceCreateInfo::default().application_info(&app), None)?;
            let physical =
                *instance.enumerate_physical_devices()?.first().context("there is no Vulkan device")?;
            let name = text(&instance.get_physical_device_properties(physical).device_name);
            let have = instance.enumerate_device_extension_properties(physical)?;
            let has = |name: &CStr| have.iter().any(|e| e.extension_name_as_c_str() == Ok(name));
            let coop = has(khr::cooperative_matrix::NAME);
            let robust2 = robust && has(ash::ext::robustness2::NAME);

            let mut found11 = vk::PhysicalDeviceVulkan11Features::default();
            let mut found12 = vk::PhysicalDeviceVulkan12Features::default();
            let mut found13 = vk::PhysicalDeviceVulkan13Features::default();
            let mut found_bounds = vk::PhysicalDeviceRobustness2FeaturesEXT::default();
            let mut found = vk::PhysicalDeviceFeatures2::default()
                .push_next(&mut found11)
                .push_next(&mut found12)
                .push_next(&mut found13);
            if robust2 {
                found = found.push_next(&mut found_bounds);
            }
            instance.get_physical_device_features2(physical, &mut found);
            let core = vk::PhysicalDeviceFeatures {
                robust_buffer_access: robust.into(),
                shader_int16: found.features.shader_int16,
                shader_int64: found.features.shader_int64,
                ..Default::default()
            };
            let mut v11 = vk::PhysicalDeviceVulkan11Features {
                storage_buffer16_bit_access: found11.storage_buffer16_bit_access,
                uniform_and_storage_buffer16_bit_access: found11.uniform_and_storage_buffer16_bit_access,
                ..Default::default()
            };
            let mut v12 = vk::PhysicalDeviceVulkan12Features {
                shader_float16: found12.shader_float16,
                shader_int8: found12.shader_int8,
                timeline_semaphore: found12.timeline_semaphore,
                vulkan_memory_model: coop.into(),
                ..Default::default()
            };
            let mut v13 = vk::PhysicalDeviceVulkan13Features {
                subgroup_size_control: found13.subgroup_size_control,
                shader_zero_initialize_workgroup_memory: found13.shader_zero_initialize_workgroup_memory,
                shader_integer_dot_product: found13.shader_integer_dot_product,
                robust_image_access: (robust && found13.robust_image_access == 1).into(),
                ..Default::default()
            };
            let mut bounds = vk::PhysicalDeviceRobustness2FeaturesEXT {
                robust_buffer_access2: found_bounds.robust_buffer_access2,
                robust_image_access2: found_bounds.robust_image_access2,
                ..Default::default()
            };
            let mut tell = vk::PhysicalDevicePipelineExecutablePropertiesFeaturesKHR::default()
                .pipeline_executable_info(true);
            let mut matrices =
                vk::PhysicalDeviceCooperativeMatrixFeaturesKHR::default().cooperative_matrix(true);
            let mut extensions = vec![khr::pipeline_executable_properties::NAME.as_ptr()];
            let mut features = vk::PhysicalDeviceFeatures2::default()
                .features(core)
                .push_next(&mut v11)
                .push_next(&mut v12)
                .push_next(&mut v13)
                .push_next(&mut tell);
            if coop {
                extensions.push(khr::cooperative_matrix::NAME.as_ptr());
                features = features.push_next(&mut matrices);
            }
            if robust2 {
                extensions.push(ash::ext::robustness2::NAME.as_ptr());
                features = features.push_next(&mut bounds);
            }
            let queue = [vk::DeviceQueueCreateInfo::default().queue_priorities(&[1.0])];
            let info = vk::DeviceCreateInfo::default()
                .queue_create_infos(&queue)
                .enabled_extension_names(&extensions)
                .push_next(&mut features);
            let raw = instance
                .create_device(physical, &info, None)
                .with_context(|| format!("{name}: no device that tells of its pipelines"))?;
            let executables = khr::pipeline_executable_properties::Device::new(&instance, &raw);
            Ok(Self { _entry: entry, _instance: instance, raw, executables, name })
        }
    }

    /// Compiles a kernel as wgpu has it done: subgroups may be of any size that the device has.
    pub fn compile(&self, variant: &Variant, spirv: &[u32]) -> Result<Compiled> {
        // SAFETY: as above. What was made is given back; of what fails nothing is, since the process ends soon.
        unsafe {
            let bindings: Vec<_> = (0..).zip(variant.bindings).map(layout_binding).collect();
            let set = self.raw.create_descriptor_set_layout(
                &vk::DescriptorSetLayoutCreateInfo::default().bindings(&bindings),
                None,
            )?;
            let sets = [set];
            let layout = self
                .raw
                .create_pipeline_layout(&vk::PipelineLayoutCreateInfo::default().set_layouts(&sets), None)?;
            let module =
                self.raw.create_shader_module(&vk::ShaderModuleCreateInfo::default().code(spirv), None)?;
            let stage = vk::PipelineShaderStageCreateInfo::default()
                .flags(vk::PipelineShaderStageCreateFlags::ALLOW_VARYING_SUBGROUP_SIZE)
                .stage(vk::ShaderStageFlags::COMPUTE)
                .module(module)
                .name(c"main");
            let flags = vk::PipelineCreateFlags::CAPTURE_STATISTICS_KHR
                | vk::PipelineCreateFlags::CAPTURE_INTERNAL_REPRESENTATIONS_KHR;
            let info = vk::ComputePipelineCreateInfo::default().flags(flags).stage(stage).layout(layout);
            let pipeline = self
                .raw
                .create_compute_pipelines(vk::PipelineCache::null(), &[info], None)
                .map_err(|(_, e)| e)?[0];
            let compiled = self.told(pipeline);
            self.raw.destroy_pipeline(pipeline, None);
            self.raw.destroy_shader_module(module, None);
            self.raw.destroy_pipeline_layout(layout, None);
            self.raw.destroy_descriptor_set_layout(set, None);
            compiled
        }
    }

    /// # Safety
    /// The pipeline is this device's.
    unsafe fn told(&self, pipeline: vk::Pipeline) -> Result<Compiled> {
        let mut compiled = Compiled { statistics: Vec::new(), texts: Vec::new() };
        // SAFETY: plain use of the API.
        unsafe {
            let of = vk::PipelineInfoKHR::default().pipeline(pipeline);
            let parts = self.executables.get_pipeline_executable_properties(&of)?;
            for index in 0..parts.len() as u32 {
                let which =
                    vk::PipelineExecutableInfoKHR::default().pipeline(pipeline).executable_index(index);
                for s in self.executables.get_pipeline_executable_statistics(&which)? {
                    use vk::PipelineExecutableStatisticFormatKHR as Format;
                    let value = match s.format {
                        Format::BOOL32 => f64::from(s.value.b32),
                        Format::INT64 => s.value.i64 as f64,
                        Format::UINT64 => s.value.u64 as f64,
                        _ => s.value.f64,
                    };
                    compiled.statistics.push((text(&s.name), value));
                }
                compiled.texts.extend(self.texts(&which)?);
            }
        }
        Ok(compiled)
    }

    /// # Safety
    /// The executable is of a pipeline of this device.
    unsafe fn texts(&self, of: &vk::PipelineExecutableInfoKHR<'_>) -> Result<Vec<(String, String)>> {
        let call = self.executables.fp().get_pipeline_executable_internal_representations_khr;
        let device = self.raw.handle();
        let mut count = 0;
        // SAFETY: how many there are is asked first, then how long each is, then they are filled in.
        unsafe {
            call(device, of, &mut count, std::ptr::null_mut()).result()?;
            let mut all = vec![vk::PipelineExecutableInternalRepresentationKHR::default(); count as usize];
            call(device, of, &mut count, all.as_mut_ptr()).result()?;
            let mut rooms: Vec<Vec<u8>> = all.iter().map(|r| vec![0; r.data_size + 1]).collect();
            for (r, room) in all.iter_mut().zip(&mut rooms) {
                r.p_data = room.as_mut_ptr().cast();
            }
            call(device, of, &mut count, all.as_mut_ptr()).result()?;
            let words = |room: &[u8]| String::from_utf8_lossy(room).trim_end_matches('\0').to_string();
            Ok(all.iter().zip(&rooms).map(|(r, room)| (text(&r.name), words(room))).collect())
        }
    }
}

fn layout_binding((at, b): (u32, &calotype_shaders::BindingSpec)) -> vk::DescriptorSetLayoutBinding<'static> {
    vk::DescriptorSetLayoutBinding::default()
        .binding(at)
        .descriptor_count(1)
        .stage_flags(vk::ShaderStageFlags::COMPUTE)
        .descriptor_type(match b.access {
            Access::Uniform => vk::DescriptorType::UNIFORM_BUFFER_DYNAMIC,
            _ => vk::DescriptorType::STORAGE_BUFFER,
        })
}
