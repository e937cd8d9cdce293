// What a page of somebody else's would write; `types.mjs` has TypeScript check it, strictly.

import { Calotype, type Done, type LoadedModel, type Step } from "../../crates/web/js/calotype.js";

export async function gallery(canvas: HTMLCanvasElement, chosen: FileList, control: AbortController): Promise<string[]> {
  const engine = await Calotype.create({ powerPreference: "low-power", timeout: 10_000 });
  const vendor: string = engine.adapter.name;
  let model: LoadedModel = await engine.load("https://huggingface.co/org/name", {
    dtype: "f32",
    onProgress: ({ file, loaded, total, from }) => console.log(`${file}: ${loaded / total} from the ${from}`),
  });
  model = await engine.load(chosen, { name: "mine", prediction: "v", width: 512, height: 768 });
  model = await engine.setLoras(model.loras.map(({ name, scale }) => ({ name, scale: scale / 2 })));
  if (model.added) console.log(...model.notes);
  const settings: string[] = [vendor, ...model.replaced];
  const steps: Step[] = [];
  let last: Done | undefined;
  const words = { prompt: ["a", "b"], negativePrompt: "c", batchSize: 2, seed: 2n ** 63n, width: model.width };
  for await (const told of engine.generate({ ...words, preview: 2, canvas, signal: control.signal })) {
    if (told.type === "step") steps.push(told);
    else last = told;
  }
  for (const { png, image, seed } of last?.pictures ?? []) {
    canvas.getContext("2d")?.putImageData(image, 0, 0);
    const found = await engine.settings(png);
    settings.push(seed, found?.text ?? "", String(found?.cfgScale));
  }
  const states: Float32Array = await engine.encodeText("words");
  const needed: number = await engine.plan({ prompt: "a", height: 512 });
  const { quota } = await engine.storage();
  if (quota !== undefined && quota < needed + states.byteLength) await engine.clearStorage();
  // @ts-expect-error: the quota may be unknown
  const certain: number = quota;
  // @ts-expect-error: a request has no such word
  engine.generate({ prompt: "a", stesp: 3 });
  // @ts-expect-error: a request needs a prompt
  engine.generate({ steps: 3 });
  // @ts-expect-error: a LoRA has a name
  await engine.setLoras([{ scale: 1 }]);
  // @ts-expect-error: halves and floats are all there is
  await engine.load(chosen, { dtype: "f64" });
  // @ts-expect-error: what is read only is not written
  engine.model = null;
  if (engine.stopped) settings.push(String(certain));
  engine.dispose();
  return settings;
}
