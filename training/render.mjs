// Draws every emoji of one Iconify set as PNG files named by code points.
//   node render.mjs SET_FOLDER OUT_FOLDER SIZE FOLDER_WITH_CHARS [AT_MOST]
// `chars.json` maps code points to icon names; a set that lacks it borrows that of another with the same names.
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { Resvg } from "@resvg/resvg-js";

const [set, out, size, lender, most = Infinity] = process.argv.slice(2);
const read = (folder, file) => JSON.parse(readFileSync(join(folder, file)));
const icons = read(set, "icons.json");
const chars = read(lender, "chars.json");
mkdirSync(out, { recursive: true });

// A few icons abort the renderer's process. The one in work is noted before it is drawn, so that the next run,
// which prepare.py starts after a crash, finds it in the note and passes it by.
const note = join(out, "crashed.txt");
const begun = join(out, "begun.txt");
if (existsSync(begun)) appendFileSync(note, readFileSync(begun, "utf8") + "\n");
const crashed = new Set(existsSync(note) ? readFileSync(note, "utf8").split("\n") : []);

for (const [code, name] of Object.entries(chars).sort().slice(0, most)) {
  const file = join(out, `${code}.png`);
  const icon = icons.icons[name] ?? icons.icons[icons.aliases?.[name]?.parent];
  if (!icon || existsSync(file) || crashed.has(code)) continue;
  const width = icon.width ?? icons.width ?? 16;
  const height = icon.height ?? icons.height ?? 16;
  const box = `${icon.left ?? 0} ${icon.top ?? 0} ${width} ${height}`;
  const head = `xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"`;
  writeFileSync(begun, code);
  const drawing = new Resvg(`<svg ${head} viewBox="${box}">${icon.body}</svg>`, {
    fitTo: { mode: "width", value: Number(size) },
    font: { loadSystemFonts: false },
  });
  writeFileSync(file, drawing.render().asPng());
}
writeFileSync(begun, "");
