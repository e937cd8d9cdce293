/** Stable Diffusion in a browser tab: the engine, in a Worker of its own. */
export class Calotype {
  /** Opens the GPU. Rejects with an error named `DeviceError` where there is no WebGPU or no adapter. */
  static create(options?: {
    powerPreference?: "low-power" | "high-performance";
    /** Milliseconds after which a silent GPU counts as none; two minutes if nothing is said. */
    timeout?: number;
  }): Promise<Calotype>;

  /** The GPU, and what it can do. */
  readonly adapter: Adapter;
  /** The model on it. */
  readonly model: LoadedModel | null;
  /** Whether it is beyond use, disposed of or broken: create another. */
  readonly stopped: boolean;

  /**
   * Loads a model: the address of a folder in the diffusers layout (or of a model at huggingface.co) or of a file of
   * weights, or files on disk, as an `<input type="file">` gives them, `webkitdirectory` or not. Downloads are kept in the
   * browser's own file system, and checked against their sizes and, where the server tells them, checksums; nothing is
   * whole in memory. The model before it goes when this one's files are found to fit together. Kernels go on compiling
   * afterwards; the first picture waits for them.
   *
   * Files by themselves (safetensors, PyTorch's pickles, GGUF, Keras' HDF5) are what their bytes and their tensors' names
   * say. With all components of a model among them they are a model; else a UNet, a VAE and a text encoder take the place of
   * the loaded model's own, LoRAs are laid over it, each at the scale 1 (`setLoras`), and embeddings are words of its prompts
   * from then on, by their files' names.
   */
  load(
    source: string | URL | Iterable<File>,
    options?: {
      onProgress?: (progress: LoadProgress) => void;
      /** f16 where the GPU computes with it, if nothing is said. */
      dtype?: "f32" | "f16";
      /** Weight matrices in blocks on the GPU, in a little over half or a quarter of f16's memory; none if nothing is said. */
      quant?: "q8_0" | "q4_0" | "none";
      /** Whether a model that has a form for a few steps draws in it; it does if nothing is said. */
      fewSteps?: boolean;
      /** What a model predicts whose files do not say it, or say it wrong. */
      prediction?: "eps" | "v" | "sample";
      /** The size of the first picture, for which all is made ready; the model's own if nothing is said. */
      width?: number;
      height?: number;
      /** What pictures' settings call it. */
      name?: string;
    },
  ): Promise<LoadedModel>;

  /** Has these of the model's LoRAs laid over it, in this order, and no others. */
  setLoras(loras: LoraScale[]): Promise<LoadedModel>;

  /**
   * Draws: yields every step, then the pictures. Aborting stops the run at the next step, as does leaving the loop.
   * Errors are named: `DeviceError` where the GPU was lost (load the model again), `MemoryError`, `ModelError`,
   * `UsageError`, `AbortError`, and `WorkerError` where the engine has stopped.
   */
  generate(request: GenerateRequest): AsyncGenerator<Step | Done, void, void>;

  /** Bytes of device memory that a request takes, before anything is allocated. */
  plan(request: Words): Promise<number>;
  /** A prompt as the UNet attends to it: `[T, hidden]`, row by row. */
  encodeText(prompt: string): Promise<Float32Array>;
  /** The settings that a PNG of this or of A1111's web UI carries; null where it has none. */
  settings(png: Blob | Uint8Array): Promise<PictureSettings | null>;
  /** The names that `sampler` takes. */
  samplers(): Promise<string[]>;
  /** The names that `scheduler` takes. */
  schedules(): Promise<string[]>;
  /** What is held now, in bytes; `jsBytes` where the browser tells. */
  memory(): Promise<{ deviceBytes: number; devicePeakBytes: number; heapBytes: number; jsBytes?: number }>;
  /** What stored models take, and what the browser would let them. */
  storage(): Promise<{ bytes: number; quota?: number }>;
  /** Deletes every stored model. */
  clearStorage(): Promise<void>;
  /** Gives everything back; calls under way reject. */
  dispose(): void;
}

/** What to draw, in the words of the command line; what is left out has its defaults. */
export interface Words {
  /** One for all pictures, or one for each. */
  prompt: string | string[];
  negativePrompt?: string | string[];
  /** Pixels; the model's own size if nothing is said. */
  width?: number;
  height?: number;
  /** The model's own number if nothing is said, as a rule 20. */
  steps?: number;
  /** The model's own if nothing is said, as a rule 7.5; at 1 or below the negative prompt is not looked at, and a step takes half the time. */
  cfgScale?: number;
  /** The share of the steps from which on they are guided, 0 if nothing is said; and up to which, 1 if nothing is said. */
  cfgStart?: number;
  cfgEnd?: number;
  /** What guidance makes of the model's outputs: cfg, apg, perp-neg, cfg-zero, pag or slg, with its numbers: pag:scale=2. */
  guidance?: string;
  /** The sigma below which every other evaluation is not guided. */
  sMinUncond?: number;
  cfgRescale?: number;
  /** FreeU: 1.5,1.6,0.9,0.2, with v1: or v2: before it by ComfyUI's rules. */
  freeu?: string;
  /** deep:3 computes the UNet's deep layers in one of three evaluations. */
  cache?: string;
  /** Random if nothing is said. Digits or a bigint where it is larger than a JavaScript number can be. */
  seed?: number | bigint | string;
  batchSize?: number;
  /** The model's own if nothing is said. */
  sampler?: string;
  /** The noise schedule: discrete, karras, … */
  scheduler?: string;
  /** Whose rules they follow: diffusers, k (A1111, k-diffusion) or comfy; diffusers where it has them if nothing is said, else k. */
  samplerDialect?: string;
  eta?: number;
  sNoise?: number;
  sChurn?: number;
  sTmin?: number;
  sTmax?: number;
  /** Noise levels one by one, falling, in place of a schedule. */
  sigmas?: number[];
  /** Timesteps in their place. */
  timesteps?: number[];
  /** Whose random numbers a seed gives: cpu (PyTorch's), cuda (Philox) or numpy. */
  rng?: string;
  /** Another seed that the noise is turned towards, as `seed`; with `variationStrength`, 0 to 1. */
  variationSeed?: number | bigint | string;
  variationStrength?: number;
  /** What SDXL's second text encoder reads, and keeps away from; the same as the first if nothing is said. */
  prompt2?: string | string[];
  negativePrompt2?: string | string[];
  /** Width and height in pixels that SDXL is told its example had; the picture's if nothing is said. */
  originalSize?: [number, number];
  /** Pixels that it is told were cut off at the left and at the top. */
  crop?: [number, number];
  /** Width and height that it is told the picture has. */
  targetSize?: [number, number];
  /** Width and height in pixels that the seed's noise is drawn at. */
  seedResizeFrom?: [number, number];
}

export interface GenerateRequest extends Words {
  /** Stops the run. */
  signal?: AbortSignal;
  /** A preview every so many steps; 0, never, if nothing is said. */
  preview?: number;
  /** The unscaled starting noise, `[B, C, h, w]`, in place of the seed's. */
  latents?: Float32Array;
  /**
   * Where previews and the first picture are shown, in their own size. The engine's Worker draws on it by itself where
   * the browser has OffscreenCanvas; it is then the engine's until that is disposed of, and nobody else's after.
   */
  canvas?: HTMLCanvasElement;
}

export interface Step {
  type: "step";
  step: number;
  steps: number;
  /** Since the first step began. */
  seconds: number;
  /** The latents as they are now, in their size, as a rule an eighth of the picture's. */
  preview?: ImageData;
  /** Whether that was drawn on the request's `canvas` instead. */
  shown?: boolean;
}

export interface Done {
  type: "done";
  pictures: Picture[];
  /** The final latents before the VAE, `[B, C, h, w]`, still multiplied by the scaling factor. */
  latents: Float32Array;
  /** Milliseconds; `load` is what was waited for weights, kernels and how to preview, as before the first picture. */
  timings: { load: number; text: number; denoise: number; decode: number };
  /** What a person should know, such as the end of a prompt that was too long. */
  notes: string[];
}

export interface Picture {
  width: number;
  height: number;
  /** Digits. */
  seed: string;
  image: ImageData;
  /** With its settings under the keyword `parameters`, as the command line writes them. */
  png: Blob;
  settings: string;
}

export interface PictureSettings extends Partial<Words> {
  model?: string;
  /** As it stands in the file. */
  text: string;
}

export interface Adapter {
  name: string;
  kind: string;
  driver: string;
  /** The browser's names of what the GPU can do. */
  features: string[];
  /** Whether shaders compute with halves. */
  f16: boolean;
  timestamps: boolean;
  maxBuffer: number;
  maxBinding: number;
  workgroupMemory: number;
  /** Which kernels are used, in words. */
  kernels: string;
}

/** A LoRA by its name, which is its file's without the ending, and how much of its change is made. */
export interface LoraScale {
  name: string;
  scale: number;
}

export interface LoadedModel {
  name: string;
  /** Whether what was loaded last was added to the model before it. */
  added: boolean;
  /** The files that stand in for components of its own. */
  replaced: string[];
  /** Those that are laid over it, in order. */
  loras: LoraScale[];
  /** Words that were added with vectors of their own (textual inversion): what prompts call them. */
  embeddings: string[];
  /** The size of a picture that it was trained on. */
  width: number;
  height: number;
  /** Widths and heights are multiples of it. */
  step: number;
  /** Its own. */
  sampler: string;
  parameters: number;
  /** What a request has that says nothing of them. */
  steps: number;
  cfgScale: number;
  /** Whether it draws in its form for a few steps; null where it has none. */
  fewSteps: boolean | null;
  dtype: "f32" | "f16";
  /** Device memory for one guided picture of its own size. */
  peakBytes: number;
  seconds: number;
  /** What a person should know, such as what was assumed of it. */
  notes: string[];
}

export interface LoadProgress {
  file: string;
  loaded: number;
  total: number;
  from: "network" | "store" | "disk";
}
