// How Chromium is started to have WebGPU without a GPU.

export const EXECUTABLE = process.env.CHROMIUM ?? "/usr/bin/chromium";

export const WEBGPU = ["--no-sandbox", "--enable-unsafe-webgpu"];

/** Its own software renderer. */
export const SWIFTSHADER = [
  "--use-webgpu-adapter=swiftshader",
  // Chromium has the driver zero workgroup memory, and SwiftShader makes that a store for each number: three quarters of
  // what it compiles. With this, Chromium's own loop does.
  "--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension",
];
