//! What must hold across crates: one binary, one file per kind of truth. Tests of a single crate are its own.

/// Devices to test on, error measures, and the tiny models with what diffusers got from them.
mod support;

/// Text states, UNet and VAE of the tiny models, on each device, as diffusers computes them.
mod golden;

/// Every sampler's whole way, step by step, as diffusers takes it.
mod trajectories;

/// Prompts to pictures, as diffusers draws them; the same seed, the same picture.
mod end_to_end;
