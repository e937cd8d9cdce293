//! Every sampler against the diffusers class of its name: tests/goldens/samplers.py says how the goldens were made.

use calotype_sampling::{
    BASIS, BetaSchedule, CLAMPED, Error, MODEL, NOISE, Prediction, Program, REGISTERS, Sampler, Schedule,
    Scheduler, SchedulerFile,
};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeSet;

const SIZE: usize = 8;
const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens");

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

/// The configuration of a case: a file's, or what a pipeline makes of it and of a choice of sampler.
fn config_of(case: &Value) -> Result<Scheduler, Error> {
    let file = SchedulerFile::alone(&case["config"].to_string())?;
    if case["pipeline"].is_null() {
        return file.own();
    }
    let file = file.as_stable_diffusion_loads_it();
    let Some(class) = case["class"].as_str() else { return file.own() };
    let sampler = Sampler::of_class(class).expect("a class");
    let schedule = case["schedule"].as_str().map(|name| name.parse().expect("a schedule"));
    file.with_sampler(Some(sampler), schedule)
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
/// float32 rounding does at t = 999. Samples: coefficients are formed
/// here in float64 and there in float32, where a solver's divided differences lose up to two digits of seven; and a
/// run that starts at sigma 4096 (zero terminal SNR) or 20291 (squared cosine) rounds samples of that size before it
/// comes down to about 1. Those few runs reach 9e-5, all others 2.5e-5.
#[test]
fn trajectories_equal_diffusers() {
    trajectories("samplers.safetensors", 1e-3);
}

/// Those of models that know sigmas by their logarithm: a quarter of it, which is 1.2 at most.
#[test]
fn trajectories_of_edms_equal_diffusers() {
    trajectories("edm_samplers.safetensors", 1e-6);
}

fn trajectories(file: &str, off: f32) {
    let bytes = std::fs::read(format!("{GOLDENS}/{file}")).expect(file);
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
        let what = format!("{case}");
        let program = match config_of(case).and_then(|c| c.program(number("steps") as usize, number("eta"))) {
            Ok(program) => program,
            Err(error) => {
                failures.push(format!("{what}: {error}"));
                continue;
            }
        };
        let ours: Vec<f32> = program.steps.iter().map(|s| s.timestep).collect();
        let theirs = &timesteps[at..at + count];
        let same = |a: f32, b: f32| if b.fract() == 0.0 { a == b } else { (a - b).abs() < off };
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

#[test]
fn what_is_not_supported_is_named() {
    let read = |json: &str| SchedulerFile::alone(json)?.own();
    let error = |json: &str| read(json).expect_err(json).to_string();
    for (json, field) in [
        (r#"{"_class_name": "FlowMatchEulerDiscreteScheduler"}"#, "FlowMatchEulerDiscreteScheduler"),
        (r#"{}"#, "_class_name"),
        (
            r#"{"_class_name": "DDIMScheduler", "thresholding": true, "dynamic_thresholding_ratio": 1.5}"#,
            "dynamic_thresholding_ratio",
        ),
        (
            r#"{"_class_name": "DDIMScheduler", "thresholding": true, "sample_max_value": 0.5}"#,
            "sample_max_value",
        ),
        (r#"{"_class_name": "DDIMScheduler", "prediction_type": "flow_prediction"}"#, "flow_prediction"),
        (r#"{"_class_name": "DDIMScheduler", "beta_schedule": "sigmoid"}"#, "sigmoid"),
        (r#"{"_class_name": "DDIMScheduler", "num_train_timesteps": "many"}"#, "many"),
        (r#"{"_class_name": "DDIMScheduler", "wobble": 3}"#, "wobble"),
        (r#"{"_class_name": "DDIMScheduler", "predict_epsilon": false}"#, "predict_epsilon"),
        (r#"{"_class_name": "PNDMScheduler", "prediction_type": "sample"}"#, "prediction_type"),
        (
            r#"{"_class_name": "DPMSolverMultistepScheduler", "variance_type": "learned_range"}"#,
            "variance_type",
        ),
        (
            r#"{"_class_name": "DPMSolverMultistepScheduler", "algorithm_type": "dpmsolver"}"#,
            "final_sigmas_type",
        ),
        (r#"{"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": true}"#, "use_flow_sigmas"),
        (
            r#"{"_class_name": "EulerDiscreteScheduler", "use_karras_sigmas": true, "use_beta_sigmas": true}"#,
            "use_beta",
        ),
        (r#"{"_class_name": "DDIMScheduler", "beta_end": Infinity}"#, "beta_end = \"Infinity\""),
        (r#"{"_class_name": "DDIMScheduler", "num_train_timesteps": 1000000000}"#, "from 2 to 1000000"),
        ("{", "scheduler_config.json: not a configuration: EOF"),
        ("[]", "scheduler_config.json: not a configuration: invalid type"),
    ] {
        let message = error(json);
        assert!(message.contains(field) && !message.contains('\n'), "{json}: {message}");
    }
    let fine =
        r#"{"_class_name": "PNDMScheduler", "thresholding": true, "_anything": 3, "unheard_of": null}"#;
    read(fine).expect("fields of other classes and empty ones do no harm");
    // As Python writes a float that JSON does not have; in a string it is nothing but words.
    let python = r#"{"_class_name": "DPMSolverMultistepScheduler", "_note": "\\ \"-Infinity", "lambda_min_clipped": -Infinity}"#;
    read(python).expect("diffusers saves this");
}

#[test]
fn the_index_says_which_class_reads_a_file() {
    let text = r#"{"_class_name": "PNDMScheduler", "skip_prk_steps": true, "clip_sample": false,
        "beta_schedule": "scaled_linear"}"#;
    let file = SchedulerFile::new("DDIMScheduler", text).expect("a file");
    let config = file.own().expect("a configuration");
    assert_eq!((file.class(), config.sampler), ("DDIMScheduler", Sampler::DDIM));
    // DDIM's own default, not PNDM's.
    assert!(config.config.set_alpha_to_one);
}

/// An unknown class says which sampler to give, and lends it all that the model was trained with.
#[test]
fn a_scheduler_that_is_not_implemented_is_exchanged() {
    let text = r#"{"_class_name": "DEISMultistepScheduler", "algorithm_type": "deis", "solver_type": "logrho",
        "beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": null,
        "prediction_type": "v_prediction"}"#;
    let file =
        SchedulerFile::new("DEISMultistepScheduler", text).expect("a file").as_stable_diffusion_loads_it();
    let message = file.own().unwrap_err().to_string();
    assert!(message.contains("DEISMultistepScheduler") && message.contains("sampler dpm++2m"), "{message}");
    assert_eq!((file.nearest().unwrap(), file.prediction_type()), (Sampler::DPM_SOLVER, "v_prediction"));
    for sampler in [Sampler::EULER, Sampler::DPM_SOLVER] {
        let config = file.with_sampler(Some(sampler), None).expect("a configuration");
        assert_eq!(
            (config.config.trained.beta_start, config.config.trained.prediction_type),
            (0.00085, Prediction::V)
        );
        assert_eq!(
            (config.config.trained.beta_schedule, config.config.steps_offset),
            (BetaSchedule::ScaledLinear, 1)
        );
    }
    // A noise schedule alone takes no other sampler.
    assert!(
        file.with_sampler(None, Some(Schedule::Karras)).unwrap_err().to_string().contains("sampler dpm++2m")
    );
    // What its own class could not do is no obstacle to another.
    let file = SchedulerFile::alone(r#"{"_class_name": "UniPCMultistepScheduler", "use_flow_sigmas": true}"#)
        .expect("a file");
    assert!(file.own().unwrap_err().to_string().contains("use_flow_sigmas"));
    file.with_sampler(Some(Sampler::EULER_ANCESTRAL), None).expect("it knows of no flow");
    // Nothing here goes with a model of flow matching.
    let flow =
        r#"{"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "shift": 3.0}"#;
    let file = SchedulerFile::alone(flow).expect("a file");
    let message = file.with_sampler(Some(Sampler::EULER), None).unwrap_err().to_string();
    assert!(message.contains("FlowMatchEulerDiscreteScheduler") && message.contains("betas"), "{message}");
}

#[test]
fn samplers_and_schedules_have_names() {
    let mut names = BTreeSet::new();
    for &sampler in Sampler::ALL {
        assert_eq!(sampler.to_string().parse::<Sampler>().expect("a sampler"), sampler);
        // As a picture's settings have it.
        let label = sampler.label().replace(' ', "_");
        assert_eq!(label.parse::<Sampler>().expect("a label"), sampler);
        for name in sampler.descriptor().names {
            assert!(
                names.insert(*name) && *name == name.to_lowercase(),
                "{name} is another's too, or has capitals"
            );
        }
    }
    for name in Schedule::names() {
        let schedule: Schedule = name.parse().expect("a schedule");
        assert_eq!(schedule.label().parse::<Schedule>().expect("a label"), schedule);
    }
    for (alias, sampler) in
        [("plms", Sampler::PNDM), ("dpmpp_2m", Sampler::DPM_SOLVER), ("DPMpp2m", Sampler::DPM_SOLVER)]
    {
        assert_eq!(alias.parse::<Sampler>().expect("a sampler"), sampler);
    }
    assert!("dpm3".parse::<Sampler>().unwrap_err().to_string().contains("euler_a"));
    let file = SchedulerFile::alone(r#"{"_class_name": "DDIMScheduler"}"#).expect("a file");
    let config = file.own().expect("a configuration");
    let message = file.with_sampler(None, Some(Schedule::Karras)).unwrap_err().to_string();
    assert!(message.contains("ddim") && message.contains("karras"), "{message}");
    assert!(config.program(0, 0.0).is_err() && config.program(1001, 0.0).is_err());
    let snr =
        r#"{"_class_name": "DDIMScheduler", "rescale_betas_zero_snr": true, "timestep_spacing": "trailing"}"#;
    let message = SchedulerFile::alone(snr)
        .and_then(|f| f.own())
        .expect("a configuration")
        .program(5, 0.0)
        .unwrap_err()
        .to_string();
    assert!(message.contains("zero terminal SNR"), "{message}");
}

/// Registers cost memory on the device: a program keeps no more history than it reads.
#[test]
fn programs_keep_only_what_they_read() {
    let base = SchedulerFile::alone(r#"{"_class_name": "DDIMScheduler"}"#).expect("a file");
    let registers = |sampler| {
        let program =
            base.with_sampler(Some(sampler), None).and_then(|c| c.program(20, 0.0)).expect("a program");
        assert_eq!(program.steps.iter().filter(|s| s.ends_step).count(), 20, "{sampler}");
        program.registers()
    };
    for (sampler, most) in [
        (Sampler::DDIM, 1),
        (Sampler::EULER, 1),
        (Sampler::EULER_ANCESTRAL, 1),
        (Sampler::LCM, 1),
        (Sampler::TCD, 1),
        (Sampler::DPM_SOLVER, 2),
        (Sampler::HEUN, 3),
        (Sampler::LMS, 4),
        (Sampler::UNIPC, 4),
        (Sampler::PNDM, 6),
    ] {
        assert_eq!(registers(sampler), most, "{sampler}");
    }
}
