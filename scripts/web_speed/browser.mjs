// The browser that is measured: headless, with SwiftShader's adapter, or with ADAPTER=gpu the machine's own.

import { chromium } from "playwright-core";
import { EXECUTABLE, SWIFTSHADER, WEBGPU } from "../../tests/web/chromium.mjs";

export const launch = () =>
  chromium.launch({
    executablePath: EXECUTABLE,
    args: [...WEBGPU, ...(process.env.ADAPTER === "gpu" ? [] : SWIFTSHADER)],
  });
