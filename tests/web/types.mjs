// The declarations, as TypeScript reads them.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { root } from "./native.mjs";

const OPTIONS = [
  "--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--module", "esnext",
  "--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable",
];

/** A program that uses all of it compiles, and its five mistakes are seen. */
export function types_compile_strictly() {
  const tsc = join(root, "tests/web/node_modules/typescript/bin/tsc");
  const { status, stdout } = spawnSync(process.execPath, [tsc, ...OPTIONS, "consumer.ts"], {
    cwd: join(root, "tests/web"),
    encoding: "utf8",
  });
  assert.equal(status, 0, stdout);
}
