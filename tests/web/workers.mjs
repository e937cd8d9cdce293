// What a browser does to the engine's Worker that a person cannot bring about: scripts put before the Worker's own, and
// limits put into its WebAssembly.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { root } from "./native.mjs";

/** Lets `script` run in every Worker of the context before the engine starts. */
export async function beforeTheWorker(context, script) {
  await context.route("**/pkg/worker.js", async (route) => {
    const answer = await route.fetch();
    await route.fulfill({ response: answer, body: `(${script})();\n${await answer.text()}` });
  });
}

/**
 * Links the engine with a maximum of memory, in bytes: growing past it fails, as it does where a tab has no more. What
 * this returns takes the maximum away again.
 */
export async function capTheHeap(context, bytes) {
  const wasm = capped(readFileSync(join(root, "web/dist/pkg/calotype_web_bg.wasm")), bytes >> 16);
  const [engine, headers] = ["**/calotype_web_bg.wasm", { "Content-Type": "application/wasm", "Cache-Control": "no-store" }];
  await context.route(engine, (route) => route.fulfill({ body: wasm, headers }));
  return () => context.unroute(engine);
}

// The memory section of a module (https://webassembly.github.io/spec/core/binary/modules.html): one memory, whose limits
// are a flag, a minimum and, where the flag is 1, a maximum.
function capped(wasm, pages) {
  const number = (at) => {
    for (let value = 0, shift = 0; ; shift += 7) {
      const byte = wasm[at++];
      value += (byte & 127) * 2 ** shift;
      if (byte < 128) return { value, at };
    }
  };
  const leb = (value) => (value < 128 ? [value] : [(value & 127) | 128, ...leb(Math.floor(value / 128))]);
  for (let at = 8; at < wasm.length; ) {
    const { value: length, at: body } = number(at + 1);
    if (wasm[at] !== 5) {
      at = body + length;
      continue;
    }
    if (wasm[body] !== 1 || wasm[body + 1] !== 0) throw new Error("not one memory without a maximum");
    const least = number(body + 2).value;
    if (least > pages) throw new Error(`the engine begins with ${least} pages`);
    const section = [1, 1, ...leb(least), ...leb(pages)];
    return Buffer.concat([
      wasm.subarray(0, at), Buffer.from([5, ...leb(section.length), ...section]), wasm.subarray(body + length),
    ]);
  }
  throw new Error("no memory in this module");
}
