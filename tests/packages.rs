//! What is built from other people's packages: under licences that we may pass on, and without wgpu where it is not asked
//! for.

use std::path::Path;
use std::process::Command;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The licences of `deny.toml`.
fn allowed() -> Vec<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let list = text.split_once("\nallow = [").and_then(|(_, rest)| rest.split_once(']')).expect("a list").0;
    list.split('"').skip(1).step_by(2).map(String::from).collect()
}

/// Whether a package's licence, an SPDX expression (or the older `A/B` for a choice), leaves a choice that is allowed.
/// AND is read as binding less than OR, which refuses more than SPDX where there are no brackets, and never less.
fn permits(expression: &str, allowed: &[String]) -> bool {
    let plain = expression.replace(['(', ')'], " ").replace('/', " OR ");
    plain.split(" AND ").all(|all| all.split(" OR ").any(|one| allowed.iter().any(|a| a == one.trim())))
}

#[test]
fn every_package_has_a_licence_that_is_allowed() {
    let allowed = allowed();
    let metadata = cargo_metadata::MetadataCommand::new()
        .manifest_path(root().join("Cargo.toml"))
        .other_options(vec!["--locked".into()])
        .exec()
        .expect("cargo metadata, for which packages of other systems are fetched: cargo fetch --locked");
    assert!(metadata.packages.len() > 100, "{} packages are not all", metadata.packages.len());
    let refused = metadata.packages.iter().filter_map(|package| {
        let licence = package.license.as_deref().unwrap_or("no licence");
        (!permits(licence, &allowed)).then(|| format!("{} {}: {licence}", package.name, package.version))
    });
    let refused: Vec<String> = refused.collect();
    assert!(refused.is_empty(), "not among the licences of deny.toml:\n{}", refused.join("\n"));
}

#[test]
fn licences_are_read_as_what_they_leave_to_choose() {
    let allowed = ["MIT", "Apache-2.0"].map(String::from);
    for expression in ["MIT", "MIT/Apache-2.0", "GPL-3.0 OR MIT", "(MIT OR GPL-3.0) AND Apache-2.0"] {
        assert!(permits(expression, &allowed), "{expression}");
    }
    for expression in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR Apache-2.0) AND GPL-3.0", "no licence", ""] {
        assert!(!permits(expression, &allowed), "{expression}");
    }
}

#[test]
fn the_library_on_the_cpu_alone_has_no_wgpu() {
    let names = |features: &[&str]| -> Vec<String> {
        let mut command = Command::new(env!("CARGO"));
        command.current_dir(root()).args(["tree", "--locked", "-p", "calotype", "--prefix", "none"]);
        let output = command.args(["-e", "normal,build", "--format", "{p}"]).args(features).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let text = String::from_utf8(output.stdout).unwrap();
        let mut names: Vec<String> =
            text.lines().filter_map(|line| line.split(' ').next()).map(String::from).collect();
        names.sort();
        names.dedup();
        names
    };
    let wgpu = |names: &[String]| names.iter().any(|name| name.starts_with("wgpu"));
    assert!(wgpu(&names(&[])), "with everything there is wgpu: else this test looks for the wrong name");
    let lean = names(&["--no-default-features", "--features", "cpu"]);
    assert!(!wgpu(&lean) && !lean.contains(&"ureq".into()), "{}", lean.join(" "));
}
