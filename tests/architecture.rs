//! The shape of the code: arrows between crates, names that ops share, rooms that stay small.

mod circles;
mod files;
mod names;

use calotype_graph::ops::Operation;
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
    ("calotype-field", &[]),
    ("calotype-shaders", &[]),
    ("calotype-localhost", &[]),
    ("calotype-graph", &["calotype-tensor", "calotype-shaders", "calotype-field"]),
    ("calotype-cpu", &["calotype-tensor", "calotype-graph"]),
    ("calotype-gpu", &["calotype-tensor", "calotype-shaders", "calotype-field", "calotype-graph"]),
    ("calotype-weights", &["calotype-tensor"]),
    ("calotype-hub", &["calotype-field", "calotype-weights", "calotype-models"]),
    ("calotype-sampling", &["calotype-field"]),
    ("calotype-models", &["calotype-tensor", "calotype-graph", "calotype-weights", "calotype-sampling"]),
    (
        "calotype-pipeline",
        &[
            "calotype-tensor",
            "calotype-field",
            "calotype-graph",
            "calotype-weights",
            "calotype-models",
            "calotype-sampling",
        ],
    ),
    ("calotype-testkit", &["calotype-tensor", "calotype-graph"]),
    (
        "calotype",
        &[
            "calotype-tensor",
            "calotype-field",
            "calotype-graph",
            "calotype-cpu",
            "calotype-gpu",
            "calotype-weights",
            "calotype-hub",
            "calotype-models",
            "calotype-pipeline",
        ],
    ),
    // Asks drivers' compilers.
    ("calotype-kernels", &["calotype-shaders", "calotype-graph", "calotype-gpu", "calotype-pipeline"]),
    // Thin shells. A page has no files and never blocks, so it awaits the pipeline itself.
    ("calotype-bench", &["calotype"]),
    ("calotype-worker", &["calotype"]),
    ("calotype-serve", &["calotype", "calotype-worker"]),
    (
        "calotype-cli",
        &[
            "calotype",
            "calotype-bench",
            "calotype-weights",
            "calotype-testkit",
            "calotype-worker",
            "calotype-serve",
        ],
    ),
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
const IN_TESTS: &[&str] = &["calotype-testkit", "calotype-localhost", "calotype-cpu"];

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
        "free_u_sums" | "free_u_means" | "free_u_range" => "free_u",
        "group_norm_partial" | "group_norm_finish" => "group_norm",
        "guidance_spread" | "guidance_products" | "sampler_bound" => "sampler_step",
        other => ["_naive", "_rows", "_coop"].iter().find_map(|way| other.strip_suffix(way)).unwrap_or(other),
    }
}

/// Where ops have their files, and what lies there besides: parts of several ops, and cases of several fused.
const PLACES: &[(&str, &[&str])] = &[
    ("crates/graph/src/ops", &["mod"]),
    ("crates/cpu/src/ops", &["mod", "epilogue", "exp"]),
    ("crates/testkit/src/cases", &["mod", "fused"]),
];

macro_rules! stems {
    ($($stem:ident $name:ident,)*) => { &[$((stringify!($stem), calotype_graph::ops::$name::NAME)),*] };
}

/// Every op: the stem of its files, and its name in graphs.
const OPS: &[(&str, &str)] = calotype_graph::each_op!(stems);

#[test]
fn an_op_has_one_name_everywhere() {
    let ops: BTreeSet<String> = OPS.iter().map(|(stem, _)| stem.to_string()).collect();
    for (stem, name) in OPS {
        assert_eq!(stem, name, "an op's name in graphs is its files' stem");
    }
    for (folder, others) in PLACES {
        let mut files = stems(&root().join(folder), "rs");
        files.retain(|stem| !others.contains(&stem.as_str()));
        assert_eq!(files, ops, "{folder} holds one file for each op, under its name");
    }
    let kernels = stems(&root().join("shaders"), "wgsl");
    let computed: BTreeSet<String> = kernels.iter().map(|stem| op_of(stem).to_string()).collect();
    assert_eq!(computed, ops, "shaders holds a file for each op, under its name");
    let cases: BTreeSet<String> = cases().iter().map(|case| case.stem().to_string()).collect();
    let tested: BTreeSet<String> = cases.into_iter().filter(|stem| stem != "fused").collect();
    assert_eq!(tested, ops, "every op has cases, under its name");
}

/// The files of `crates/graph/src` below the graph itself, in their order: each knows only those before it. So an op's
/// file can hold the op's launches without knowing graphs, plans know nothing of lowering, and graphs nothing of executors.
const BELOW_GRAPHS: &[&[&str]] = &[
    &["error", "precision", "value", "cuts/tiles", "source", "stream"],
    &["cuts/product"],
    &["caps"],
    &["cuts"],
    &["recording", "places"],
    &["launch"],
    &["ops"],
    &["host"],
    &["graph"],
    &["splits", "segments"],
    &["plan"],
    &["lower", "passes", "pack", "quant", "executor"],
];

/// What looks upwards all the same: what is known of a device names the function by which plain code tells its scratch, op by
/// op. Only the plan calls it.
const UPWARDS: (&str, &str) = ("caps", "host::Host;");

#[test]
fn rooms_of_the_graph_know_only_those_below() {
    let room = |path: &str| -> Option<usize> {
        let fits = |name: &str| path == name || path.starts_with(&format!("{name}/"));
        let best =
            BELOW_GRAPHS.iter().enumerate().flat_map(|(at, row)| row.iter().map(move |name| (at, name)));
        best.filter(|(_, name)| fits(name)).max_by_key(|(_, name)| name.len()).map(|(at, _)| at)
    };
    let source = root().join("crates/graph/src");
    let mut wrong = Vec::new();
    visit(&source, &mut |path| {
        let own = path.strip_prefix(&source).unwrap().with_extension("").to_string_lossy().replace('\\', "/");
        if own == "lib" {
            return;
        }
        let own = own.trim_end_matches("/mod").to_string();
        let Some(level) = room(&own) else { return wrong.push(format!("{own} is in no room")) };
        let text = std::fs::read_to_string(path).unwrap();
        // Tests may build what they test with whatever there is.
        let text = text.split("#[cfg(test)]").next().unwrap_or_default();
        let uses = text.lines().map(|line| line.trim_start_matches("pub "));
        for line in uses.filter_map(|line| line.strip_prefix("use crate::")) {
            if (own.as_str(), line) == UPWARDS {
                continue;
            }
            let to = room(&line.trim_end_matches(';').replace("::", "/"));
            // The topmost may use what the crate shows to others.
            if to.is_some_and(|to| to > level) || to.is_none() && level + 1 < BELOW_GRAPHS.len() {
                wrong.push(format!("{own} must not use {line}: it is no room below its own"));
            }
        }
    });
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
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
                Some("rs") => 400,
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

/// A library does not know how its user writes what is to be changed: it names fields, and a shell spells them.
#[test]
fn libraries_speak_of_no_flags() {
    let libraries = [
        "field", "tensor", "shaders", "graph", "cpu", "gpu", "weights", "hub", "sampling", "models",
        "pipeline",
    ];
    let folders = libraries.map(|name| format!("crates/{name}/src")).into_iter().chain(["src".into()]);
    let mut wrong = Vec::new();
    for folder in folders {
        visit(&root().join(folder), &mut |path| {
            let text = std::fs::read_to_string(path).unwrap_or_default();
            if path.extension().is_some_and(|e| e == "rs") && !path.to_string_lossy().contains("peer") {
                let code = text.split("#[cfg(test)]").next().unwrap_or_default();
                let lines = code.lines().filter(|line| !line.trim_start().starts_with("//"));
                wrong.extend(
                    lines.filter(|line| flagged(line)).map(|line| format!("{}: {line}", path.display())),
                );
            }
        });
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    for line in
        ["use --dtype f32", "\"--width", "(--overwrite)", "see `calotype plan`", "give it with -m FOLDER"]
    {
        assert!(flagged(line), "{line}");
    }
    assert!(!["a--b", "x - m", "models--own--tiny", "calotype plans"].iter().any(|line| flagged(line)));
}

/// Whether a line has a flag in it, or a command.
fn flagged(line: &str) -> bool {
    let within = |at: usize| line[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-');
    let flag =
        |(at, _): (usize, &str)| !within(at) && line[at + 2..].starts_with(|c: char| c.is_ascii_lowercase());
    line.match_indices("--").any(flag) || line.contains("`calotype ") || line.contains(" -m ")
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
            let mut messages =
                text.split("#[error(").skip(1).map(|rest| rest.split(")]").next().unwrap_or_default());
            if messages.any(|message| message.contains("{source")) {
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
