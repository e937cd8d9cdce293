// The declarations, as TypeScript reads them.

import { join } from "node:path";
import { root, run } from "./native.mjs";

const OPTIONS = [
  "--noEmit", "--strict", "--exactOptionalPropertyTypes", "--target", "es2022", "--module", "esnext",
  "--moduleResolution", "bundler", "--lib", "es2022,dom,dom.iterable",
];

/** A program that uses all of it compiles, and its five mistakes are seen. */
export async function types_compile_strictly() {
  const tsc = join(root, "tests/web/node_modules/typescript/bin/tsc");
  await run(process.execPath, [tsc, ...OPTIONS, "consumer.ts"], { cwd: join(root, "tests/web") }).catch((error) => {
    throw new Error(error.stdout);
  });
}
