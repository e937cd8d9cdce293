// The browser that is measured, as the tests start it: BROWSER is chromium or firefox; with ADAPTER=gpu Chromium is on the
// machine's own GPU and not on SwiftShader.

import { BROWSERS } from "../../tests/web/browsers.mjs";

const { BROWSER = "chromium", ADAPTER } = process.env;

export async function launch() {
  const driver = BROWSERS.find(({ name }) => name === BROWSER);
  if (!driver) throw new Error(`BROWSER ${BROWSER}: ${BROWSERS.map(({ name }) => name).join(" or ")}`);
  const missing = driver.missing();
  if (missing) throw new Error(`${BROWSER}: ${missing}`);
  return driver.start({ gpu: ADAPTER === "gpu" });
}
