//! Noise along a path: torchsde's Brownian intervals, by the goldens of tests/goldens/k_samplers.py.

use calotype_sampling::noise::Path;
use calotype_sampling::{Draw, Sampler, SamplerChoice, SchedulerFile};
use serde_json::Value;
use std::collections::BTreeMap;

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens");

/// Stable Diffusion's.
const FILE: &str = r#"{"_class_name": "EulerDiscreteScheduler", "beta_start": 0.00085, "beta_end": 0.012,
    "beta_schedule": "scaled_linear", "prediction_type": "epsilon"}"#;

/// torchsde's tree, seed by seed and weight by weight.
#[test]
fn brownian_paths_are_torchsdes() {
    let text = std::fs::read_to_string(format!("{GOLDENS}/k_schedules.json")).expect("a golden");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    for case in golden["brownian"].as_array().expect("a list") {
        let entropy: u64 = case[0].as_str().expect("an entropy").parse().expect("a number");
        let [start, end] = [1, 2].map(|i| case[i].as_f64().expect("a sigma"));
        let path = Path::new(entropy, [0.0291675, 14.614642]);
        let ours: BTreeMap<String, f64> = path
            .terms(start, end)
            .into_iter()
            .filter(|(_, weight)| weight.abs() > 1e-12)
            .map(|(seed, weight)| (seed.to_string(), weight))
            .collect();
        let theirs = case[3].as_object().expect("weights");
        assert_eq!(ours.len(), theirs.len(), "{entropy} {start} {end}");
        for (seed, weight) in theirs {
            let weight = weight.as_f64().expect("a weight");
            assert!(
                (ours[seed] - weight).abs() < 1e-9,
                "{entropy} {start} {end} {seed}: {} {weight}",
                ours[seed]
            );
        }
        let length: f64 = ours.values().map(|weight| weight * weight).sum();
        // To six decimals, as the ends are.
        assert!((length / (end - start) - 1.0).abs() < 1e-4 || end - start < 1e-5, "{length}");
    }
}

#[test]
fn stretches_of_a_step_are_correlated() {
    let mut path = Path::new(7, [0.03, 14.6]);
    let normals =
        |seed: u32, out: &mut [f32]| calotype_sampling::noise::Generator::new(seed.into()).randn(out);
    let mut draw = |from, to| path.noise(from, to, 4096, &normals);
    let (short, long) = (draw(4.0, 3.0), draw(4.0, 2.0));
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f32>() / 4096.0;
    // Half of the longer stretch is the shorter.
    assert!((product(&short, &long) - 0.5f32.sqrt()).abs() < 0.06);
    assert!((product(&long, &long) - 1.0).abs() < 0.1);
    assert_eq!(draw(4.0, 3.0), short, "asked again it gives the same");
}

#[test]
fn brownian_draws_name_their_stretch() {
    let choice = SamplerChoice { sampler: Some(Sampler::DPMPP_SDE), ..SamplerChoice::default() };
    let program =
        choice.settle(&SchedulerFile::alone(FILE).expect("a scheduler"), 3).expect("a program").program;
    let stretches: Vec<_> = program.draws.iter().map(|drawn| drawn.draw).collect();
    let [Draw::Brownian { from: a, to: middle }, Draw::Brownian { from: b, to: end }, ..] = stretches[..]
    else {
        panic!("{stretches:?}");
    };
    assert!(a == b && a == program.span[1] && end < middle && middle < a, "{stretches:?}");
}
