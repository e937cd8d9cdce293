//! Samplers and schedules by A1111's, k-diffusion's and ComfyUI's rules: tests/goldens/k_samplers.py says how the goldens
//! were made.

use calotype_sampling::{Dialect, Program, Sampler, SamplerChoice};
use played::{Ran, SIZE, Vector, apart, choice, file, run};
use safetensors::SafeTensors;
use serde_json::Value;
use std::collections::BTreeSet;

#[path = "k/begun.rs"]
mod begun;
#[path = "k/played.rs"]
mod played;

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens");
fn vectors(file: &SafeTensors, name: &str) -> Vec<Vector> {
    let values: Vec<f32> = floats(file, name);
    values.chunks_exact(SIZE).map(|v| v.try_into().expect("eight values")).collect()
}

fn floats(file: &SafeTensors, name: &str) -> Vec<f32> {
    let bytes = file.tensor(name).expect(name).data();
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]])).collect()
}

/// Coefficients are rounded to float32 and samples are as large as the noise, 14.6 at the start: what is left of that where
/// the sample has come down to 1 is some 1e-5, and divided differences lose a digit more. Timesteps come from logarithms of
/// alphas that are float32.
#[test]
fn trajectories_equal_their_peers() {
    let met = hold("k_samplers");
    let with: BTreeSet<&str> =
        Sampler::ALL.iter().filter(|s| s.descriptor().k.is_some()).map(|s| s.name()).collect();
    assert_eq!(met, with, "every sampler has a golden");
}

/// seeds.py says how CompVis' and KerasCV's were made.
#[test]
fn trajectories_equal_those_of_the_first_programs() {
    assert_eq!(hold("seeds"), BTreeSet::from(["ddim", "pndm", "dpm++2m"]));
    let bytes = std::fs::read(format!("{GOLDENS}/seeds.safetensors")).expect("a golden");
    let refused = listed(&bytes, "refused");
    assert_eq!(refused.len(), 3);
    for case in refused {
        let steps = case["steps"].as_u64().expect("a number") as usize;
        let error =
            choice(&case).and_then(|choice| choice.settle(&file("epsilon"), steps)).expect_err("no run");
        assert!(error.to_string().contains("in dialect compvis"), "{error}");
    }
}

/// A list of cases in a file's metadata.
fn listed(bytes: &[u8], name: &str) -> Vec<Value> {
    let (_, header) = SafeTensors::read_metadata(bytes).expect("a header");
    serde_json::from_str(&header.metadata().as_ref().expect("metadata")[name]).expect("cases")
}

/// Holds every case of a file, and says which samplers it has.
fn hold(name: &str) -> BTreeSet<&'static str> {
    let bytes = std::fs::read(format!("{GOLDENS}/{name}.safetensors")).expect("a golden");
    let cases = listed(&bytes, "cases");
    let golden = SafeTensors::deserialize(&bytes).expect("tensors");
    let (start, noise) = (vectors(&golden, "start")[0], vectors(&golden, "noise"));
    let (times, inputs, ends) =
        (floats(&golden, "timesteps"), vectors(&golden, "inputs"), vectors(&golden, "ends"));
    let (mut failures, mut worst, mut met) = (Vec::new(), 0.0f32, BTreeSet::new());
    for (case, end) in cases.iter().zip(&ends) {
        let number = |name: &str| case[name].as_u64().expect("a number") as usize;
        let (at, count) = (number("at"), number("count"));
        let file = file(case["prediction"].as_str().expect("a prediction"));
        let chosen = choice(case).and_then(|choice| choice.settle(&file, number("steps")));
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error) => {
                failures.push(format!("{case}: {error}"));
                continue;
            }
        };
        met.insert(chosen.sampler.name());
        let Ran { told, seen, draws, end: last } = run(&chosen, &start, &noise);
        // Where an adaptive step ends hangs on what two orders differ by, in float32.
        let bound = if chosen.adaptive.is_some() { 0.1 } else { 2e-3 };
        let same = told.len() == count && told.iter().zip(&times[at..]).all(|(a, b)| (a - b).abs() < bound);
        let off = seen
            .iter()
            .zip(&inputs[at..at + count])
            .map(|(a, b)| apart(a, b))
            .fold(apart(&last, end), f32::max);
        worst = worst.max(off);
        if !same {
            failures.push(format!("{case}: timesteps {told:?}, not {:?}", &times[at..at + count]));
        } else if draws != number("draws") {
            failures.push(format!("{case}: {draws} draws"));
        } else if off.is_nan() || off > 2e-4 {
            failures.push(format!("{case}: {off:e} off, {last:?} not {end:?}"));
        }
    }
    println!("{} cases, worst relative error {worst:e}", cases.len());
    assert!(failures.is_empty(), "{} of {}:\n{}", failures.len(), cases.len(), failures.join("\n"));
    met
}

#[test]
fn schedules_equal_their_peers() {
    let text = std::fs::read_to_string(format!("{GOLDENS}/k_schedules.json")).expect("a golden");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    let mut failures = Vec::new();
    for case in golden["schedules"].as_array().expect("a list") {
        let [name, dialect] = [0, 1].map(|i| case[i].as_str().expect("a name"));
        let steps = case[2].as_u64().expect("a number") as usize;
        let theirs: Vec<f64> =
            case[3].as_array().expect("levels").iter().map(|v| v.as_f64().expect("a level")).collect();
        let (name, xl) = name.strip_suffix("_xl").map_or((name, false), |name| (name, true));
        let choice = SamplerChoice {
            xl,
            sampler: Some(Sampler::EULER),
            schedule: Some(name.parse().expect("a schedule")),
            dialect: Some(dialect.parse().expect("a dialect")),
            ..SamplerChoice::default()
        };
        let ours = choice.settle(&file("epsilon"), steps).map(|chosen| levels(&chosen.program));
        let same = ours.as_ref().is_ok_and(|ours| {
            ours.len() == theirs.len() - 1 && ours.iter().zip(&theirs).all(|(a, b)| (a - b).abs() < bound(*b))
        });
        if !same {
            failures.push(format!("{name} {dialect} {steps}: {ours:?}, not {theirs:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}

/// Of a sigma that is told by a float32 scale `1 / sqrt(sigma^2 + 1)`, which is off by 6e-8 of itself.
fn bound(sigma: f64) -> f64 {
    1e-7 * (sigma * sigma + 1.0) / sigma
}

/// The sigmas at which a program evaluates, from how its input is scaled.
fn levels(program: &Program) -> Vec<f64> {
    program.steps.iter().map(|step| (1.0 / f64::from(step.input_scale).powi(2) - 1.0).sqrt()).collect()
}

#[test]
fn what_a_dialect_has_not_is_said() {
    let settle = |choice: SamplerChoice, steps| {
        choice.settle(&file("epsilon"), steps).map_err(|error| error.to_string())
    };
    let of = |sampler: &str, dialect: &str| SamplerChoice {
        sampler: Some(sampler.parse().expect("a sampler")),
        dialect: Some(dialect.parse().expect("a dialect")),
        ..SamplerChoice::default()
    };
    for (choice, steps, word) in [
        (of("dpm2", "diffusers"), 4, "sampler_dialect k"),
        (
            SamplerChoice { schedule: Some("simple".parse().unwrap()), ..of("euler", "diffusers") },
            4,
            "sampler_dialect",
        ),
        (SamplerChoice { sigmas: Some(vec![3.0, 1.0]), ..of("euler", "diffusers") }, 4, "sigmas"),
        (SamplerChoice { sigmas: Some(vec![1.0, 3.0]), ..of("euler", "k") }, 4, "falling"),
        (SamplerChoice { schedule: Some("karras".parse().unwrap()), ..of("ddim", "k") }, 4, "schedule"),
        (of("ddim", "k"), 1, "2 steps"),
        (of("euler", "compvis"), 10, "ddim, pndm, dpm++2m"),
        (of("plms", "keras"), 10, "ddim"),
        (SamplerChoice { s_churn: Some(1.0), ..of("ddim", "compvis") }, 10, "s_churn"),
        (SamplerChoice { schedule: Some("karras".parse().unwrap()), ..of("ddim", "keras") }, 10, "schedule"),
        (SamplerChoice { eta: Some(0.5), ..of("plms", "compvis") }, 10, "eta"),
        (SamplerChoice { eta: Some(0.5), ..of("ddim", "keras-0.3") }, 10, "eta"),
        (of("ddim", "keras"), 1001, "1000"),
        (of("ddim", "compvis"), 27, "take 28"),
        (of("plms", "compvis"), 501, "take 500"),
        (of("ddim", "compvis"), 2000, "take 500"),
        (SamplerChoice { schedule: Some("turbo".parse().unwrap()), ..of("euler", "comfy") }, 12, "steps"),
    ] {
        let message = settle(choice, steps).expect_err(word);
        assert!(message.contains(word) && !message.contains('\n'), "{message}");
    }
    // The dialect follows from what is asked for.
    let chosen = |choice: SamplerChoice| settle(choice, 4).expect("a program").dialect.to_string();
    assert_eq!(
        chosen(SamplerChoice { sampler: Some(Sampler::EULER), ..SamplerChoice::default() }),
        "diffusers"
    );
    assert_eq!(chosen(SamplerChoice { sampler: Some(Sampler::DPM2), ..SamplerChoice::default() }), "k");
    assert_eq!(chosen(SamplerChoice { s_churn: Some(1.0), ..SamplerChoice::default() }), "k");
    let by_hand = SamplerChoice { sigmas: Some(vec![10.0, 3.0, 0.5]), ..of("euler", "k") };
    let found = levels(&settle(by_hand, 20).expect("a program").program);
    assert!(found.iter().zip([10.0, 3.0, 0.5]).all(|(a, b)| (a - b).abs() < 1e-5) && found.len() == 3);
    let by_hand = SamplerChoice { timesteps: Some(vec![999.0, 499.0]), ..of("euler", "k") };
    let told: Vec<f32> =
        settle(by_hand, 20).expect("a program").program.steps.iter().map(|s| s.timestep).collect();
    assert!((told[0] - 999.0).abs() < 1e-3 && (told[1] - 499.0).abs() < 1e-3 && told.len() == 2);
}

/// No sampler divides by zero in a short run: it draws, or says why not.
#[test]
fn short_runs_draw_or_say_why_not() {
    for &sampler in Sampler::ALL {
        for dialect in ["k", "comfy", "compvis", "keras", "keras-0.3"] {
            let dialect: Dialect = dialect.parse().expect("a dialect");
            if sampler.descriptor().method(dialect).is_none() {
                continue;
            }
            for steps in 1..=4 {
                let choice = SamplerChoice {
                    sampler: Some(sampler),
                    dialect: Some(dialect),
                    ..SamplerChoice::default()
                };
                match choice.settle(&file("epsilon"), steps) {
                    Ok(chosen) => {
                        let Ran { end, .. } = run(&chosen, &[1.0; SIZE], &[[0.5; SIZE]; 64]);
                        assert!(end.iter().all(|v| v.is_finite()), "{sampler} {dialect} {steps}");
                        assert!(!chosen.program.steps.is_empty());
                    }
                    Err(error) => {
                        let message = error.to_string();
                        assert!(
                            message.contains("steps") && message.contains(sampler.name()),
                            "{sampler}: {message}"
                        );
                    }
                }
            }
        }
    }
}
