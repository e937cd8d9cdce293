//! A stand-in for a model, and programs run with it.

use calotype_sampling::{
    Attempt, BASIS, CLAMPED, Chosen, Error, MODEL, NOISE, REGISTERS, SamplerChoice, SchedulerFile, Step,
    UNCONDITIONAL,
};
use serde_json::Value;

pub const SIZE: usize = 8;

pub type Vector = [f32; SIZE];

/// Stable Diffusion's.
pub fn file(prediction: &str) -> SchedulerFile {
    let text = format!(
        r#"{{"_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012,
            "beta_schedule": "scaled_linear", "prediction_type": "{prediction}"}}"#
    );
    SchedulerFile::alone(&text).expect("a scheduler")
}

/// The golden's stand-in for a model: the guided output and the unconditional one.
fn model(x: &Vector, t: f32) -> [Vector; 2] {
    let t = f64::from(t);
    let linear = |gain: f64, shift: f64| x.map(|x| (gain * f64::from(x) + shift) as f32);
    [
        linear(0.3 * (t / 1000.0).cos(), 0.1 * (t / 100.0).sin()),
        linear(0.2 * (t / 900.0).cos(), 0.05 * (t / 80.0).cos()),
    ]
}

fn dot(row: &[f32; BASIS], basis: &[Vector; BASIS]) -> Vector {
    std::array::from_fn(|i| row.iter().zip(basis).map(|(k, v)| k * v[i]).sum())
}

/// What a run leaves behind.
pub struct Ran {
    /// What the model is told at each evaluation, and what it sees.
    pub told: Vec<f32>,
    pub seen: Vec<Vector>,
    pub draws: usize,
    pub end: Vector,
}

pub fn run(chosen: &Chosen, start: &Vector, noise: &[Vector]) -> Ran {
    let program = &chosen.program;
    let used: Vec<usize> = (0..program.draws.len()).filter(|i| program.draws[*i].used).collect();
    let mut basis = [[0.0; SIZE]; BASIS];
    basis[0] = std::array::from_fn(|i| {
        start[i] * program.init_noise_sigma
            + if program.first_noise == 0.0 { 0.0 } else { noise[0][i] * program.first_noise }
    });
    let mut ran = Ran { told: Vec::new(), seen: Vec::new(), draws: program.draws.len(), end: basis[0] };
    evaluate(&program.steps, &mut basis, &mut ran, |n| noise[used[n]]);
    if let Some(mut adaptive) = chosen.adaptive.clone() {
        ran.draws = 0;
        loop {
            let mut registers: Vec<f32> = basis[..REGISTERS].concat();
            if let Attempt::Taken { noise: added, draw } = adaptive.judge(&mut registers) {
                ran.draws = draw + 1;
                for (x, z) in registers.iter_mut().zip(&noise[draw]) {
                    *x += added as f32 * z;
                }
            }
            for (register, values) in basis.iter_mut().zip(registers.chunks_exact(SIZE)) {
                register.copy_from_slice(values);
            }
            let steps = adaptive.steps().expect("an end");
            if steps.is_empty() {
                break;
            }
            evaluate(&steps, &mut basis, &mut ran, |_| unreachable!("noise is added at the end"));
        }
    }
    Ran { end: basis[0], ..ran }
}

fn evaluate(steps: &[Step], basis: &mut [Vector; BASIS], ran: &mut Ran, noise: impl Fn(usize) -> Vector) {
    for step in steps {
        let input = basis[0].map(|v| v * step.input_scale);
        ran.told.push(step.timestep);
        ran.seen.push(input);
        [basis[MODEL], basis[UNCONDITIONAL]] = model(&input, step.timestep);
        basis[CLAMPED] = [0.0; SIZE];
        basis[NOISE] = step.noise.map_or([0.0; SIZE], &noise);
        let registers: Vec<Vector> = step.rows.iter().map(|row| dot(row, basis)).collect();
        basis[..REGISTERS].copy_from_slice(&registers);
    }
}

pub fn choice(case: &Value) -> Result<SamplerChoice, Error> {
    let knob = |name: &str| case["knobs"][name].as_f64();
    let text = |name: &str| case[name].as_str();
    Ok(SamplerChoice {
        sampler: text("sampler").map(str::parse).transpose()?,
        schedule: text("schedule").map(str::parse).transpose()?,
        dialect: text("dialect").map(str::parse).transpose()?,
        eta: knob("eta"),
        s_noise: knob("s_noise"),
        s_churn: knob("s_churn"),
        s_tmin: knob("s_tmin"),
        s_tmax: knob("s_tmax"),
        ..SamplerChoice::default()
    })
}

/// How far two vectors lie apart, of the larger's largest value.
pub fn apart(a: &Vector, b: &Vector) -> f32 {
    let largest = b.iter().fold(1e-3f32, |most, v| most.max(v.abs()));
    a.iter().zip(b).fold(0.0f32, |most, (a, b)| most.max((a - b).abs())) / largest
}
