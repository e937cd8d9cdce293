//! Every sampler against the diffusers class of its name: tests/goldens/samplers.py says how the goldens were made.

use calotype_pipeline::samplers::{BASIS, CLAMPED, MODEL, NOISE, Program, REGISTERS, SchedulerConfig};
use safetensors::SafeTensors;
use serde_json::Value;

const SIZE: usize = 8;
const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens/samplers.safetensors");

type Vector = [f32; SIZE];

/// The golden's stand-in for a model.
fn model(x: &Vector, t: f32) -> Vector {
    let t = f64::from(t);
    let (gain, shift) = ((0.3 * (t / 1000.0).cos()) as f32, (0.1 * (t / 100.0).sin()) as f32);
    x.map(|x| gain * x + shift)
}

fn dot(row: &[f32; BASIS], basis: &[Vector; BASIS]) -> Vector {
    std::array::from_fn(|i| row.iter().zip(basis).map(|(k, v)| k * v[i]).sum())
}

/// The sample after each evaluation: what an executor does, in eight numbers.
fn run(program: &Program, start: &Vector, noise: &[Vector]) -> Vec<Vector> {
    let mut basis = [[0.0; SIZE]; BASIS];
    basis[0] = start.map(|v| v * program.init_noise_sigma);
    program
        .steps
        .iter()
        .map(|step| {
            basis[MODEL] = model(&basis[0].map(|v| v * step.input_scale), step.timestep);
            basis[CLAMPED] = [0.0; SIZE];
            basis[NOISE] = step.noise.map_or([0.0; SIZE], |n| noise[n]);
            if let Some(clamp) = &step.clamp {
                basis[CLAMPED] = dot(&clamp.row, &basis).map(|v| v.clamp(-clamp.range, clamp.range));
            }
            let registers: Vec<Vector> = step.rows.iter().map(|row| dot(row, &basis)).collect();
            basis[..REGISTERS].copy_from_slice(&registers);
            basis[0]
        })
        .collect()
}

fn floats(file: &SafeTensors, name: &str) -> Vec<f32> {
    let bytes = file.tensor(name).expect(name).data();
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

fn vectors(values: &[f32]) -> Vec<Vector> {
    values.chunks_exact(SIZE).map(|v| v.try_into().expect("eight values")).collect()
}

/// Bounds. Timesteps are equal where they are whole. A fractional timestep is `(low - log sigma) / (low - high)`
/// between float32 logarithms some 5e-3 apart, of which numpy's are off by up to a few units in the last place
/// (2.4e-7 near 4): 1e-3 of a timestep covers it, and moves a model's sinusoidal embedding by less than its own
/// float32 rounding does at t = 999. Samples: coefficients are formed here in float64 and there in float32, where
/// the solvers' divided differences lose up to three digits of seven.
#[test]
fn trajectories_equal_diffusers() {
    let bytes = std::fs::read(GOLDEN).expect("tests/goldens/samplers.safetensors");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
    let text = &header.metadata().as_ref().expect("metadata")["cases"];
    let cases: Vec<Value> = serde_json::from_str(text).expect("cases");
    let file = SafeTensors::deserialize(&bytes).expect("tensors");
    let start = vectors(&floats(&file, "start"))[0];
    let noise = vectors(&floats(&file, "noise"));
    let timesteps = floats(&file, "timesteps");
    let samples = vectors(&floats(&file, "samples"));

    let (mut worst, mut failures) = (0.0f32, Vec::new());
    for case in &cases {
        let number = |name: &str| case[name].as_f64().expect("a number");
        let (at, count) = (number("at") as usize, number("count") as usize);
        let what = format!("{} steps {} eta {}", case["config"], case["steps"], case["eta"]);
        let config = SchedulerConfig::from_json(&case["config"].to_string());
        let program = match config.and_then(|c| c.program(number("steps") as usize, number("eta"))) {
            Ok(program) => program,
            Err(error) => {
                failures.push(format!("{what}: {error}"));
                continue;
            }
        };
        let ours: Vec<f32> = program.steps.iter().map(|s| s.timestep).collect();
        let theirs = &timesteps[at..at + count];
        let same = |a: f32, b: f32| if b.fract() == 0.0 { a == b } else { (a - b).abs() < 1e-3 };
        if ours.len() != count || !ours.iter().zip(theirs).all(|(&a, &b)| same(a, b)) {
            failures.push(format!("{what}: timesteps {ours:?} not {theirs:?}"));
            continue;
        }
        let sigma = number("init_noise_sigma") as f32;
        if (program.init_noise_sigma / sigma - 1.0).abs() > 1e-6 {
            failures.push(format!("{what}: init sigma {} not {sigma}", program.init_noise_sigma));
        }
        for (i, (a, b)) in run(&program, &start, &noise).iter().zip(&samples[at..at + count]).enumerate() {
            let largest = b.iter().fold(0.0f32, |m, v| m.max(v.abs()));
            let error = a.iter().zip(b).fold(0.0f32, |m, (a, b)| m.max((a - b).abs())) / largest;
            worst = worst.max(error);
            if error.is_nan() || error > 1e-4 {
                failures.push(format!("{what}: evaluation {i} is {error:e} off: {a:?} not {b:?}"));
                break;
            }
        }
    }
    println!("{} cases, worst relative error {worst:e}", cases.len());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
}
