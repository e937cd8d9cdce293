// What a browser does to the engine's Worker that a person cannot bring about: scripts put before the Worker's own, and
// limits put into its WebAssembly.

const [WORKER, ENGINE] = ["/pkg/worker.js", "/pkg/calotype_web_bg.wasm"];

/** Lets `script` run in every Worker before the engine starts. What this returns takes it away again. */
export function beforeTheWorker(server, script) {
  server.instead = { [WORKER]: (text) => `(${script})();\n${text}` };
  return () => (server.instead = null);
}

/**
 * Links the engine with a maximum of memory, in bytes: growing past it fails, as it does where a tab has no more. What
 * this returns takes the maximum away again.
 */
export function capTheHeap(server, bytes) {
  server.instead = { [ENGINE]: (wasm) => capped(wasm, bytes >> 16) };
  return () => (server.instead = null);
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
