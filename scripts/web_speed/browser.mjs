// The browser that is measured: headless, with SwiftShader's adapter, or with ADAPTER=gpu the machine's own.

import { chromium } from "playwright-core";

// SwiftShader has Chromium zero workgroup memory by a loop, as in tests/web: its own way compiles four times as long.
const SOFTWARE = [
  "--use-webgpu-adapter=swiftshader",
  "--disable-dawn-features=use_vulkan_zero_initialize_workgroup_memory_extension",
];

export const launch = () =>
  chromium.launch({
    executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
    args: ["--no-sandbox", "--enable-unsafe-webgpu", ...(process.env.ADAPTER === "gpu" ? [] : SOFTWARE)],
  });
