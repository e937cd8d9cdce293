//! Schedulers' files under a folder's index, with and without another sampler, as diffusers takes them
//! (`tests/goldens/config_variants.py`): each runs to the same sample, or is refused by name and value.

use calotype_sampling::{BASIS, CLAMPED, Error, MODEL, NOISE, Program, REGISTERS, Sampler, SchedulerFile};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, BTreeSet};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens/config_variants.json");

type Vector = [f32; 3];

#[path = "scheduler_variants/refused.rs"]
mod refused;

fn vector(value: &Value) -> Vector {
    std::array::from_fn(|i| value[i].as_f64().unwrap() as f32)
}

fn dot(row: &[f32; BASIS], basis: &[Vector; BASIS]) -> Vector {
    std::array::from_fn(|i| row.iter().zip(basis).map(|(k, v)| k * v[i]).sum())
}

/// What stands in for the UNet.
fn model(x: &Vector, t: f32) -> Vector {
    let t = f64::from(t);
    let (gain, shift) = ((0.3 * (t / 1000.0).cos()) as f32, (0.1 * (t / 100.0).sin()) as f32);
    x.map(|x| gain * x + shift)
}

/// The starting scale, the timesteps and the last sample.
fn run(program: &Program, start: &Vector, noise: &[Vector]) -> Vec<f32> {
    let mut basis = [[0.0; 3]; BASIS];
    basis[0] = start.map(|v| v * program.init_noise_sigma);
    for step in &program.steps {
        basis[MODEL] = model(&basis[0].map(|v| v * step.input_scale), step.timestep);
        basis[CLAMPED] = [0.0; 3];
        basis[NOISE] = step.noise.map_or([0.0; 3], |n| noise[n]);
        if let Some(clamp) = &step.clamp {
            let values = dot(&clamp.row, &basis);
            let bound = clamp.quantile.map(|share| {
                let mut sorted = values.map(f32::abs);
                sorted.sort_by(f32::total_cmp);
                let place = share * (sorted.len() - 1) as f32;
                let [low, high] = [place.floor(), place.ceil()].map(|place| sorted[place as usize]);
                (low + (high - low) * place.fract()).clamp(1.0, clamp.range)
            });
            let range = bound.unwrap_or(clamp.range);
            basis[CLAMPED] = values.map(|v| v.clamp(-range, range) / bound.unwrap_or(1.0));
        }
        let registers: Vec<Vector> = step.rows.iter().map(|row| dot(row, &basis)).collect();
        basis[..REGISTERS].copy_from_slice(&registers);
    }
    let timesteps = program.steps.iter().map(|step| step.timestep);
    [program.init_noise_sigma].into_iter().chain(timesteps).chain(basis[0]).collect()
}

/// Timesteps and the scale to a thousandth, as in `samplers.rs`, where also the sample's bound is argued.
fn equal(ours: &[f32], theirs: &[f32]) -> bool {
    let largest = theirs[theirs.len().saturating_sub(3)..].iter().fold(0.0f32, |most, v| most.max(v.abs()));
    let bound = |i: usize| match i {
        0 => 1e-5 * theirs[0].abs(),
        i if i < theirs.len() - 3 => 2e-3,
        _ => 1e-4 * largest,
    };
    ours.len() == theirs.len() && (0..ours.len()).all(|i| (ours[i] - theirs[i]).abs() <= bound(i))
}

/// All variants, `[[class in the index, changes, chosen sampler], outcome]`.
fn cases(golden: &Value) -> Vec<Value> {
    let list = |value: &Value| value.as_array().unwrap().clone();
    let mut cases = list(&golden["cases"]);
    for of in list(&golden["fields"]) {
        let field = of[1].as_str().unwrap();
        cases.extend(list(&of[2]).iter().map(|tried| json!([[of[0], { field: tried[0] }, null], tried[1]])));
    }
    cases
}

/// The file, which names the index's class unless it is changed.
fn changed(base: &Map<String, Value>, class: &Value, changes: &Value) -> String {
    let mut file = base.clone();
    file.insert("_class_name".into(), class.clone());
    for (field, value) in changes.as_object().unwrap() {
        match value.as_str() {
            Some("(absent)") => drop(file.remove(field)),
            _ => drop(file.insert(field.clone(), value.clone())),
        }
    }
    Value::Object(file).to_string()
}

fn sampler(class: &str) -> Sampler {
    Sampler::of_class(class).expect("an implemented class")
}

#[test]
fn files_are_taken_as_diffusers_takes_them() {
    let golden: Value = serde_json::from_slice(&std::fs::read(GOLDEN).unwrap()).unwrap();
    let golden = &golden["scheduler"];
    let base = golden["base"].as_object().unwrap();
    let (start, noise) = (vector(&golden["start"]), golden["noise"].as_array().unwrap());
    let noise: Vec<Vector> = noise.iter().map(vector).collect();
    let floats = |list: &Value| list.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
    let theirs: Vec<Vec<f32>> = golden["outcomes"].as_array().unwrap().iter().map(floats).collect();
    let cases = cases(golden);
    let (mut wrong, mut refused) = (Vec::new(), BTreeMap::<String, BTreeSet<String>>::new());
    let (mut same, mut neither, mut lenient) = (0, 0, BTreeSet::new());
    for case in &cases {
        let [class, changes, chosen] = [0, 1, 2].map(|i| &case[0][i]);
        let tell = || -> Result<Vec<f32>, Error> {
            let file = SchedulerFile::new(class.as_str().unwrap(), &changed(base, class, changes))?;
            let file = file.as_stable_diffusion_loads_it();
            let config = match chosen.as_str() {
                Some(class) => file.with_sampler(Some(sampler(class)), None)?,
                None => file.own()?,
            };
            Ok(run(&config.program(6, config.sampler.descriptor().eta)?, &start, &noise))
        };
        match (tell(), case[1].as_u64().map(|i| &theirs[i as usize])) {
            (Ok(ours), Some(theirs)) if equal(&ours, theirs) => same += 1,
            (Ok(ours), Some(theirs)) => wrong.push(format!("{}: {ours:?} not {theirs:?}", case[0])),
            (Err(_), None) => neither += 1,
            (Ok(_), None) => {
                let known = |(field, value): &(&str, &str)| match &changes[*field] {
                    Value::Null => changes.get(field).is_some() && *value == "null",
                    given => value.parse().is_ok_and(|value: Value| value == *given),
                };
                let found: Vec<_> = refused::READ_HERE.iter().filter(|entry| known(entry)).collect();
                if found.is_empty() {
                    wrong.push(format!("{}: read, though diffusers does not run it", case[0]));
                }
                lenient.extend(found);
            }
            (Err(error), Some(_)) => {
                let (field, value) = match error {
                    Error::Scheduler { field, value, .. } => (field, value),
                    // Names the class, and the way out.
                    error if error.to_string().contains("sampler") => ("class".into(), class.to_string()),
                    error => panic!("{}: {error}", case[0]),
                };
                refused.entry(field).or_default().insert(value);
            }
        }
    }
    println!("{} variants, {same} run the same, {neither} are read by neither", cases.len());
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
    let listed: BTreeMap<String, BTreeSet<String>> = refused::VALUES
        .iter()
        .map(|(f, v)| (f.to_string(), v.iter().map(|v| v.to_string()).collect()))
        .collect();
    assert_eq!(refused, listed, "what is refused is not what refused.rs lists");
    assert_eq!(lenient, refused::READ_HERE.iter().collect(), "not all of READ_HERE occurs");
}
