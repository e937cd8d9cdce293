//! What must hold across crates: one binary, one file per kind of truth. Tests of a single crate are its own.
//!
//! Tests that need a GPU take any, software included. Where there is none they say so and do nothing, unless
//! CALOTYPE_TEST_GPU=1 promises one: then they fail.

/// Devices to test on, error measures, and the tiny models with what diffusers got from them.
mod support;

/// Pictures and latents next to a peer's.
mod pictures;

/// Single ops: each GPU, in each precision, against the CPU.
mod ops;

/// What `calotype check` finds, and that a damaged executor is found out.
mod check;

/// Tiers of kernels, each forced in turn: ops, stages, and the same numbers every time.
mod tiers;

/// Text states, UNet and VAE of the tiny models, on each device, as diffusers computes them.
mod golden;

/// Every sampler's whole way, step by step, as diffusers takes it.
mod trajectories;

/// The first programs by their names in the library.
mod compat;

/// What is changed of UNets as they draw, as diffusers, ComfyUI and DeepCache have it.
mod changes;

/// Prompts to pictures, as diffusers draws them; the same seed, the same picture.
mod end_to_end;

/// Pictures that begin from one, as diffusers draws them; files of pictures, as PIL reads them.
mod image_to_image;
mod inpaint;
mod pix2pix;

/// Pictures that control nets steer, and hints for them.
mod control;

/// Words that were added to a model: text states as diffusers has them.
mod words;

/// Prompts by A1111's and ComfyUI's rules: text states, and when they change.
mod prompts;

/// Several prompts at once: latents as A1111's rule has them.
mod together;

/// The built-in model: its pictures are those of diffusers.
mod bounds;
mod builtin;

/// Pictures with LoRAs, as diffusers draws them.
mod loras;

/// Words with vectors of their own: text states and a picture as the peers have them.
mod embeddings;

/// A tiny decoder's pictures, as diffusers has them.
mod taesd;

/// Models that were trained on sigmas of a range.
mod edm;

/// Models of few steps, by their names.
mod few_steps;

/// Stable Diffusion XL, and its refiner; at its full size by hand.
mod full_size;
mod refiner;
mod sdxl;

/// Models in single files: their pictures are those of diffusers.
mod single_files;

/// Keras' files: the tensors that diffusers has.
mod keras;

/// Device memory: a run takes no more than its plan says, and no step allocates.
mod memory;

/// Pictures decoded in tiles and by rows, beside those decoded in one piece.
mod tiles;

/// Numbers of any size: planned, or refused at once.
mod limits;

/// Lost devices, damaged weights, numbers that overflow: errors that name what happened, and where.
mod failures;

/// How products are best cut up on a device: tried once, remembered, with the same numbers.
mod tuning;

/// Launches timed one by one, and a device's best rates.
mod profile;

/// Arrows between crates, one name for each op, small files.
mod architecture;

/// What others' packages may be: licences, and no wgpu where it is not asked for.
mod packages;

/// Packed weights on disk: what one start leaves to the next.
mod packed_weights;
