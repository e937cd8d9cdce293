//! Numbers of any size, and memory that is limited: a run draws, or says at once what does not fit.

use crate::support::{Folder, calotype, json_lines, tiny};
use proptest::prelude::*;
use std::ffi::OsStr;
use std::process::{Command, Output};
use std::time::{Duration, Instant};

/// Address space for commands that have to make do with little, in KiB.
const LITTLE: u64 = 3 << 20;

/// Runs `calotype` with so many KiB of address space.
fn limited(folder: &Folder, kib: u64, args: &[&str]) -> Output {
    let own = calotype(folder.path());
    let mut command = Command::new("sh");
    command.args(["-c", "ulimit -v \"$0\" && exec \"$@\"", &kib.to_string()]).arg(own.get_program());
    command.args(own.get_args()).args(args).current_dir(folder.path());
    for (name, value) in own.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    // glibc sets 64 MiB of addresses aside for a thread that finds the heap in use: by chance, without this.
    command.env("MALLOC_ARENA_MAX", "1");
    command.env("RAYON_NUM_THREADS", "2").env_remove::<&OsStr>("RUST_LOG".as_ref()).output().unwrap()
}

/// The exit code of a command that was neither killed nor gave up in a panic, and what it said of a failure: one line.
fn ended(output: &Output, args: &[&str]) -> (i32, String) {
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    let code = output.status.code().unwrap_or_else(|| panic!("{args:?}: {}: {said}", output.status));
    assert!([0, 1, 2].contains(&code) && !said.contains("panicked"), "{args:?}: {code}: {said}");
    assert!(code == 0 || said.contains("error: "), "{args:?}: {said}");
    (code, said)
}

fn number() -> impl Strategy<Value = String> {
    let words =
        ["0", "1", "8", "9", "64", "512", "65528", "65536", "65544", "10001", "1000000", "4294967295"];
    let words = words.map(String::from).to_vec();
    prop_oneof![
        3 => prop::sample::select(words),
        2 => (0u32..64, -8i128..9).prop_map(|(bits, off)| ((1i128 << bits) + off).to_string()),
        1 => any::<i128>().prop_map(|n| n.to_string()),
    ]
}

#[test]
fn numbers_of_any_size_are_planned_or_refused_in_little_time_and_memory() {
    let (folder, tiny) = (Folder::new(), tiny());
    let config = ProptestConfig { cases: 60, failure_persistence: None, ..ProptestConfig::default() };
    let flags = ["-W", "-H", "-b", "--steps", "--cfg-scale"];
    let which = (prop::sample::subsequence(flags.to_vec(), 1..4), prop::collection::vec(number(), 3));
    proptest!(config, |((flags, numbers) in which, cpu in any::<bool>(), draws in any::<bool>())| {
        let mut given: Vec<String> = flags.iter().zip(&numbers).map(|(f, n)| format!("{f}={n}")).collect();
        given.iter_mut().filter(|g| !g.starts_with("--")).for_each(|g| *g = g.replace('=', ""));
        let mut args = vec![if draws { "generate" } else { "plan" }, "-m", &tiny];
        if draws {
            args.extend(["a cat", "-o", "a.png", "--overwrite"]);
        }
        if draws || cpu {
            args.extend(["--backend", "cpu"]);
        }
        args.extend(given.iter().map(String::as_str));
        // What would be drawn for minutes is another test's business.
        let long = |flag: &str, most: i128| {
            let own = flags.iter().zip(&numbers).find(|(f, _)| **f == flag);
            own.is_some_and(|(_, n)| n.parse().is_ok_and(|n: i128| (1..most).contains(&n)))
        };
        prop_assume!(!draws || !long("--steps", 1001) && ["-W", "-H", "-b"].iter().all(|side| !long(side, 65_537)));
        let start = Instant::now();
        let output = limited(&folder, LITTLE, &args);
        ended(&output, &args);
        prop_assert!(start.elapsed() < Duration::from_secs(60), "{args:?} took {:?}", start.elapsed());
    });
}

/// Around the size where memory ends, every run draws or says that it does not fit.
#[test]
fn where_memory_ends_runs_are_refused_and_never_killed() {
    let (folder, tiny) = (Folder::new(), tiny());
    let args = |width: usize| {
        let width = width.to_string();
        let all = ["generate", "a cat", "--backend", "cpu", "-m", &tiny, "--steps", "1", "--seed", "1"];
        let more = ["-H", "64", "--overwrite", "-o", "a.png", "-W", &width];
        all.iter().chain(&more).map(|s| s.to_string()).collect::<Vec<_>>()
    };
    let draws = |kib: u64, width: usize| {
        let args = args(width);
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        let output = limited(&folder, kib, &args);
        let (code, said) = ended(&output, &args);
        if code == 1 {
            assert!(said.contains("not enough memory") && said.contains("ulimit -v"), "{said}");
        }
        code == 0
    };
    // A little more than the least picture takes, so that the first that does not fit is soon drawn too.
    let least = (112u64..1024).step_by(8).find(|mib| draws(mib << 10, 64)).expect("1 GiB is enough");
    let kib = (least + 16) << 10;
    // The first width of these that is refused, by halves.
    let (mut low, mut high) = (64, 16_384);
    assert!(draws(kib, low) && !draws(kib, high), "{kib} KiB are not between what these take");
    while high - low > 256 {
        let middle = (low + high) / 128 * 64;
        if draws(kib, middle) { low = middle } else { high = middle }
    }
    println!("under {kib} KiB {low}x64 is drawn, {high}x64 refused");
    (low..=high).step_by(40).for_each(|width| {
        draws(kib, width);
    });

    // What is refused does not fit by much: the plan without a limit says how much it would take.
    let width = high.to_string();
    let planned = json_lines(&folder.run(&[
        "plan",
        "--json",
        "--backend",
        "cpu",
        "-m",
        &tiny,
        "-H",
        "64",
        "-W",
        &width,
    ]));
    let planned = planned[0]["peak_bytes"].as_u64().unwrap();
    assert!(planned > (kib << 10) / 4, "{planned} bytes are refused under {kib} KiB");
}
