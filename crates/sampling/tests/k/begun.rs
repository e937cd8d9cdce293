//! Samplers over timesteps that begin from a picture: tests/goldens/begun.py says how the goldens were made.

use super::GOLDENS;
use super::played::{Ran, SIZE, Vector, apart, choice, file, run};
use calotype_sampling::Stretch;
use serde_json::Value;

#[test]
fn runs_from_pictures_equal_their_peers() {
    let text = std::fs::read_to_string(format!("{GOLDENS}/begun.json")).expect("a golden");
    let golden: Value = serde_json::from_str(&text).expect("JSON");
    let numbers = |value: &Value| -> Vec<f32> {
        value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number") as f32).collect()
    };
    let vector = |value: &Value| -> Vector { numbers(value).try_into().expect("eight values") };
    let (picture, noise) = (vector(&golden["picture"]), vector(&golden["noise"]));
    let mut failures = Vec::new();
    for case in golden["cases"].as_array().expect("a list") {
        let of = |name: &str| case[name].as_u64().expect("a number") as usize;
        let stretch = Stretch::After(of("begin"));
        let chosen = choice(case).and_then(|own| own.settle_stretch(&file("epsilon"), of("steps"), stretch));
        let mut chosen = match chosen {
            Ok(chosen) => chosen,
            Err(error) => {
                failures.push(format!("{case}: {error}"));
                continue;
            }
        };
        let [signal, added] = chosen.program.steps[0].level.expect("a level");
        let start = std::array::from_fn(|i| signal * picture[i] + added * noise[i]);
        chosen.program.init_noise_sigma = 1.0;
        let Ran { told, end, .. } = run(&chosen, &start, &[[0.0; SIZE]; 64]);
        let times = numbers(&case["timesteps"]);
        let same = told.len() == times.len() && told.iter().zip(&times).all(|(a, b)| (a - b).abs() < 2e-3);
        let off = apart(&end, &vector(&case["end"]));
        if !same || off.is_nan() || off > 2e-4 {
            failures.push(format!("{case}: {off:e} off, timesteps {told:?}"));
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
}
