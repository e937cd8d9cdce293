//! What commands printed and drew before the upper half was rebuilt, they print and draw now: flags, JSON, settings
//! and pictures of `tests/goldens/recorded.json`, which `recorded.py` took from the program of that time.

use crate::support::{Folder, decode, goldens};
use calotype::image::{Infotext, parameters};
use serde_json::Value as Json;
use std::fs;

/// What a run took, and on what: other machines, and better programs, say otherwise.
const TAKEN: [&str; 7] =
    ["timings", "device", "peak_bytes", "planned_bytes", "activation_bytes", "state_bytes", "dispatches"];

/// Counts of a file's tensors, which now hold those that are no weights too.
const COUNTS: [&str; 2] = ["tensors", "bytes"];

/// How far a field's mean colour may be from the recorded one, of 255: half of the one that any value of the picture may be
/// away on another processor.
const APART: f64 = 0.5;

#[test]
fn what_a_command_meant_it_still_means() {
    let recorded = fs::read(goldens().join("recorded.json")).unwrap();
    let cases: Vec<Json> = serde_json::from_slice(&recorded).unwrap();
    assert!(cases.len() > 25);
    for case in &cases {
        let folder = Folder::new();
        folder.write("p.txt", "a red apple\na green pear\n");
        for command in case["commands"].as_array().unwrap() {
            run(&folder, command);
        }
        let names: Vec<_> = folder.names().into_iter().filter(|name| name != "p.txt").collect();
        assert_eq!(Json::from(names), case["files"], "{}", case["commands"]);
        for (name, picture) in case["pictures"].as_object().unwrap() {
            same_picture(&folder.read(name), picture);
        }
    }
}

/// Runs a command; its exit code and JSON are the recorded ones.
fn run(folder: &Folder, command: &Json) {
    let here = goldens();
    let spelt = |arg: &Json| match arg.as_str().unwrap() {
        model @ "sd1-tiny/model" => here.join(model).to_str().unwrap().to_string(),
        other => other.to_string(),
    };
    let args: Vec<String> = command["args"].as_array().unwrap().iter().map(spelt).collect();
    let ran = folder.command().args(&args).output().unwrap();
    let err = String::from_utf8_lossy(&ran.stderr);
    assert_eq!(ran.status.code().map(Json::from), Some(command["code"].clone()), "{args:?}: {err}");
    let out = String::from_utf8(ran.stdout).unwrap().replace(&format!("{}/", here.display()), "");
    let lines: Vec<Json> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let before = command["json"].as_array().unwrap();
    assert_eq!(lines.len(), before.len(), "{args:?}: {out}");
    for (before, now) in before.iter().zip(&lines) {
        holds(before, now, &format!("{args:?}"));
    }
}

/// Every field that there was is there, and says the same.
fn holds(before: &Json, now: &Json, place: &str) {
    match (before, now) {
        (Json::Object(before), Json::Object(now)) => {
            for (name, value) in before {
                let place = format!("{place}: {name}");
                let now = now.get(name).unwrap_or_else(|| panic!("{place} is gone"));
                match (value.as_u64(), now.as_u64()) {
                    _ if TAKEN.contains(&name.as_str()) => {}
                    (Some(then), Some(now)) if COUNTS.contains(&name.as_str()) => {
                        assert!(now >= then, "{place}: {now} where {then} was")
                    }
                    _ => holds(value, now, &place),
                }
            }
        }
        (Json::Array(before), Json::Array(now)) => {
            assert_eq!(before.len(), now.len(), "{place}");
            before.iter().zip(now).for_each(|(before, now)| holds(before, now, place));
        }
        _ => assert_eq!(before, now, "{place}"),
    }
}

/// Settings as they were told then: in another order, and nothing of whose random numbers they were.
fn told(text: &str) -> Infotext {
    let mut settings = Infotext::parse(text);
    settings.pairs.retain(|(name, value)| (&**name, &**value) != ("RNG", "CPU"));
    settings.pairs.sort();
    settings
}

fn same_picture(png: &[u8], recorded: &Json) {
    let (width, height, pixels) = decode(png);
    assert_eq!(recorded["size"], serde_json::json!([width, height]));
    assert_eq!(parameters(png).unwrap().as_deref().map(told), recorded["settings"].as_str().map(told));
    let fields = recorded["means"].as_array().unwrap();
    assert_eq!(fields.len(), width / 8 * (height / 8) * 3);
    for (i, mean) in fields.iter().enumerate() {
        let (field, channel) = (i / 3, i % 3);
        let (x, y) = (field % (width / 8) * 8, field / (width / 8) * 8);
        let sum: f64 =
            (0..64).map(|k| f64::from(pixels[((y + k / 8) * width + x + k % 8) * 3 + channel])).sum();
        let apart = (sum / 64.0 - mean.as_f64().unwrap()).abs();
        assert!(apart <= APART, "{}: field {field}, channel {channel}: {apart}", recorded["settings"]);
    }
}
