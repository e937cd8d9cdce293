/// What is not implemented: field and values.
///
/// `class`: a scheduler that is not implemented, without another sampler. For the rest: flows and learned variances; truth values where numbers are meant, which Python takes for 0 and 1; betas that nobody looks at or fewer than
/// there are timesteps; and what once made a model predict the sample, which diffusers passes over today.
#[rustfmt::skip]
pub const VALUES: &[(&str, &[&str])] = &[
    ("beta_end", &["false"]),
    ("beta_start", &[r#""""#, "false"]),
    ("class", &[r#""DDPMParallelScheduler""#, r#""DDPMScheduler""#, r#""DEISMultistepScheduler""#, r#""DPMSolverSinglestepScheduler""#]),
    ("lambda_min_clipped", &["false", "true"]),
    ("original_inference_steps", &["50.0"]),
    ("predict_epsilon", &["false"]),
    ("prediction_type", &[r#""flow_prediction""#]),
    ("solver_order", &["true"]),
    ("timestep_scaling", &["false", "true"]),
    ("trained_betas", &["2 values"]),
    ("use_flow_sigmas", &[r#""false""#, r#""words""#, "0.5", "1", "true"]),
    ("variance_type", &[r#""learned_range""#]),
];

/// Field and value that are read here though diffusers stops at them or draws with numbers that are not finite.
pub const READ_HERE: &[(&str, &str)] = &[
    // One, off, or another solver's name: older releases take them.
    ("steps_offset", "1.0"),
    ("use_beta_sigmas", "null"),
    ("use_exponential_sigmas", "null"),
    ("use_karras_sigmas", "null"),
    ("algorithm_type", "\"deis\""),
    // diffusers divides by zero in a step whose weight is zero.
    ("beta_start", "0"),
    ("solver_type", "\"bh1\""),
    // The model's own class stops at them, and the chosen sampler does not look.
    ("algorithm_type", "0"),
    ("algorithm_type", "0.5"),
    ("solver_type", "\"\""),
    ("use_karras_sigmas", "[]"),
];
