//! The shape of the code: arrows between crates, names that ops share, rooms that stay small.

use calotype_testkit::cases;
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The crates in their order, each with those of ours that it may use. Tests may use the testkit, and executors
/// to run on, besides.
const ARROWS: &[(&str, &[&str])] = &[
    ("calotype-tensor", &[]),
    ("calotype-shaders", &[]),
    ("calotype-graph", &["calotype-tensor", "calotype-shaders"]),
    ("calotype-cpu", &["calotype-tensor", "calotype-graph"]),
    ("calotype-gpu", &["calotype-tensor", "calotype-shaders", "calotype-graph"]),
    ("calotype-weights", &["calotype-tensor"]),
    ("calotype-hub", &["calotype-weights"]),
    ("calotype-models", &["calotype-tensor", "calotype-graph", "calotype-weights"]),
    ("calotype-pipeline", &["calotype-tensor", "calotype-graph", "calotype-weights", "calotype-models"]),
    ("calotype-testkit", &["calotype-tensor", "calotype-graph"]),
    (
        "calotype",
        &[
            "calotype-tensor",
            "calotype-graph",
            "calotype-cpu",
            "calotype-gpu",
            "calotype-weights",
            "calotype-hub",
            "calotype-models",
            "calotype-pipeline",
        ],
    ),
    // Thin shells. A page has no files and never blocks, so it awaits the pipeline itself.
    ("calotype-cli", &["calotype", "calotype-weights", "calotype-testkit"]),
    (
        "calotype-web",
        &[
            "calotype-tensor",
            "calotype-graph",
            "calotype-gpu",
            "calotype-weights",
            "calotype-models",
            "calotype-pipeline",
        ],
    ),
];

/// Of our own crates, what tests may use besides what the crate itself does.
const IN_TESTS: &[&str] = &["calotype-testkit", "calotype-cpu"];

#[test]
fn arrows_point_one_way() {
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .no_deps()
        .other_options(vec!["--offline".into()])
        .exec()
        .expect("cargo metadata");
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let name = package.name.as_str();
        // Chores may use anything.
        if name == "xtask" {
            continue;
        }
        let Some((_, allowed)) = ARROWS.iter().find(|(n, _)| *n == name) else {
            wrong.push(format!("{name} is not in the order of crates"));
            continue;
        };
        for dependency in &package.dependencies {
            let to = dependency.name.as_str();
            let test = dependency.kind == cargo_metadata::DependencyKind::Development;
            let ours = to.starts_with("calotype");
            if ours && !(allowed.contains(&to) || test && IN_TESTS.contains(&to)) {
                wrong.push(format!("{name} must not depend on {to}"));
            }
            if to == "wgpu" && name != "calotype-gpu" {
                wrong.push(format!("{name} must not depend on wgpu: only calotype-gpu does"));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Stems of the files in a folder that end so.
fn stems(folder: &Path, extension: &str) -> BTreeSet<String> {
    let files = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|e| e == extension));
    files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect()
}

/// Kernels that are a part of an op, or another way to compute one, and whose they are.
fn op_of(stem: &str) -> &str {
    match stem {
        "group_norm_partial" | "group_norm_finish" | "group_norm_apply" => "group_norm",
        "guidance_spread" => "sampler_step",
        other => ["_naive", "_rows", "_coop"].iter().find_map(|way| other.strip_suffix(way)).unwrap_or(other),
    }
}

/// Files beside the CPU's ops that are parts of several.
const PARTS: &[&str] = &["mod", "epilogue", "exp"];

#[test]
fn an_op_has_one_name_everywhere() {
    let shaders = stems(&root().join("shaders"), "wgsl");
    let functions = stems(&root().join("crates/cpu/src/ops"), "rs");
    let cases: BTreeSet<String> = cases().iter().map(|case| case.stem().to_string()).collect();
    for stem in &shaders {
        let op = op_of(stem);
        assert!(functions.contains(op), "shaders/{stem}.wgsl: there is no crates/cpu/src/ops/{op}.rs");
        assert!(cases.contains(op), "shaders/{stem}.wgsl: the testkit has no case {op}");
    }
    // The other way round: what the CPU does, a GPU does too.
    let kernels: BTreeSet<&str> = shaders.iter().map(|stem| op_of(stem)).collect();
    for op in functions.iter().filter(|f| !PARTS.contains(&f.as_str())) {
        assert!(kernels.contains(op.as_str()), "crates/cpu/src/ops/{op}.rs: there is no shader {op}");
    }
}

/// Visits every file of ours below a folder.
fn visit(folder: &Path, each: &mut dyn FnMut(&Path)) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            if !["target", "goldens", ".git", ".venv"].contains(&name.as_str()) {
                visit(&path, each);
            }
        } else {
            each(&path);
        }
    }
}

#[test]
fn rooms_are_small() {
    let mut large = Vec::new();
    for folder in ["src", "crates", "shaders", "tests", "examples"] {
        let folder = root().join(folder);
        if !folder.is_dir() {
            continue;
        }
        visit(&folder, &mut |path| {
            let most = match path.extension().and_then(|e| e.to_str()) {
                Some("rs") => 450,
                Some("wgsl") => 220,
                _ => return,
            };
            let lines = std::fs::read_to_string(path).unwrap().lines().count();
            if lines > most {
                large.push(format!("{} has {lines} lines, more than {most}", path.display()));
            }
        });
    }
    assert!(large.is_empty(), "{}", large.join("\n"));
}

/// What an error's message holds is no cause of it: printing the chain of causes would say it twice.
#[test]
fn errors_say_what_the_system_said_once() {
    let mut wrong = Vec::new();
    for folder in ["src", "crates"] {
        visit(&root().join(folder), &mut |path| {
            if path.extension().is_none_or(|e| e != "rs") {
                return;
            }
            let text = std::fs::read_to_string(path).unwrap();
            // thiserror takes a field of this name for the cause.
            let messages =
                text.split("#[error(").skip(1).map(|rest| rest.split(")]").next().unwrap_or_default());
            if messages.into_iter().any(|message| message.contains("{source")) {
                wrong.push(format!(
                    "{}: a message holds its source: give the field another name",
                    path.display()
                ));
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn shader_files_are_named_after_what_they_compute() {
    for stem in stems(&root().join("shaders"), "wgsl") {
        for part in stem.split('_') {
            let typed = ["f16", "f32", "h16", "nvidia", "amd", "intel", "apple"].contains(&part);
            let sized = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
            assert!(!typed && !sized, "shaders/{stem}.wgsl: names hold no type, size or vendor");
        }
    }
}
