// What changes from one model evaluation to the next: a row of the table that a run uploads before it starts. The Rust
// struct is generated from it.
const REGISTERS: u32 = 8u; // of latent size, on which a sampler works; register 0 is the sample
// What keeps to a picture where a mask says so.
const KEEPS_OUTPUT: u32 = 1u; // the guided output
const KEEPS_SAMPLE: u32 = 2u; // the new sample
const KEEPS_INPUT: u32 = 4u; // the next input

struct Step {
    rows: array<array<vec4<f32>, 3>, REGISTERS>, // new registers over the basis: 8 registers, m, c, noise, u
    clamp: array<vec4<f32>, 3>, // c before it is clamped, over the same basis
    clamp_range: f32, // c is held within ± this; 0 for no clamp
    guidance: f32, // m = u + guidance Σ weight (c − u) of the unconditional and conditional outputs
    rescale: f32, // how far the guided output's spread is pulled to the conditional one's, 0 to 1
    momentum: f32, // how much of what guidance took before it takes again
    norm: f32, // the most that the guidance of an image may be long; 0 for no bound
    along: f32, // of what runs along the prompt's output, how much guidance takes, or gives back
    quantile: f32, // c is held within this quantile of an image's magnitudes, from 1 to clamp_range
    input_scale: f32, // multiplies the sample to give the next evaluation's input
    timestep: f32, // what the model is told of the time at this evaluation
    noise: u32, // which of the run's noise tensors this step takes
    uses_noise: u32, // 1 where it takes one
    row: u32, // which row of the table this is
    kept_by: vec4<f32>, // where the mask keeps the picture an output is .x sample + .y picture, a sample .z picture + .w noise
    keeps: u32, // which of output, sample and input keep to it
    kept: u32, // the first of three of the run's noise tensors: the mask, 1 where it keeps; the picture; its noise
}
