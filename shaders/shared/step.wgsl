// What changes from one model evaluation to the next: a row of the table that a run uploads before it starts.
// `graph::ops::sampler_step` writes it.
struct Step {
    rows: array<vec4<f32>, 24>, // 8 registers' new values over the basis (8 registers, m, c, noise, -)
    clamp: array<vec4<f32>, 3>, // c before it is clamped, over the same basis
    clamp_range: f32,           // 0: no clamp
    guidance: f32,
    rescale: f32,
    input_scale: f32, // of the next evaluation
    timestep: f32,
    noise: u32,       // which of the run's noise tensors
    uses_noise: u32,
    row: u32,         // of the table: this one
}
