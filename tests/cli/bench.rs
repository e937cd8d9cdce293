//! `calotype bench`: what its record holds, that equal work gives equal pictures, and what `--compare` says.

use crate::support::{Folder, Said, goldens, has_adapter, json_lines};
use serde_json::{Value as Json, json};
use std::sync::LazyLock;

/// The quickest run there is: a tiny model in the place of the built-in one.
fn quick(more: &[&'static str]) -> Vec<&'static str> {
    static TINY: LazyLock<String> =
        LazyLock::new(|| goldens().join("sd1-tiny/model").to_string_lossy().into_owned());
    let flags = ["--backend", "cpu", "--steps", "2", "--repeats", "2"];
    [&["bench", "builtin", "-m", TINY.as_str()][..], &flags, more].concat()
}

fn bench(folder: &Folder, more: &[&'static str]) -> Said {
    folder.run(&quick(more))
}

fn record(folder: &Folder, more: &[&'static str]) -> Json {
    let said = bench(folder, &[&["--json", "-"], more].concat());
    let [record] = &json_lines(&said)[..] else {
        panic!("the record is all there is on stdout: {}", said.out)
    };
    record.clone()
}

fn positive(json: &Json, path: &str) -> f64 {
    let value = json.pointer(path).and_then(Json::as_f64).unwrap_or_else(|| panic!("{path}: {json}"));
    assert!(value > 0.0 && value.is_finite(), "{path}: {value}");
    value
}

#[test]
fn a_record_says_what_ran_on_what_and_how_long_it_took() {
    let folder = Folder::new();
    let record = record(&folder, &["--ops"]);
    assert!(record["runs"][0]["settings"]["model"].as_str().unwrap().ends_with("sd1-tiny/model"), "{record}");
    assert_eq!(record["schema"], "calotype-bench/1");
    assert_eq!(record["program"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(record["device"]["name"].as_str().unwrap().starts_with("CPU"), "{record}");
    let run = &record["runs"][0];
    let settings = &run["settings"];
    assert_eq!((&run["preset"], &settings["seed"]), (&"builtin".into(), &42.into()));
    assert_eq!(
        (&settings["steps"], &settings["evaluations"], &settings["width"]),
        (&2.into(), &2.into(), &64.into())
    );
    for part in ["total", "open", "weights", "compile", "text", "first_step", "other_steps", "decode"] {
        positive(run, &format!("/cold/{part}"));
    }
    let cold = &run["cold"];
    let parts = ["open", "weights", "tuning", "compile", "text", "first_step", "other_steps", "decode"];
    let sum: f64 = parts.iter().map(|part| cold[part].as_f64().unwrap()).sum();
    let total = positive(run, "/cold/total");
    assert!(sum <= total && sum >= 0.8 * total, "the parts are the whole: {cold}");
    for what in ["batch", "text", "step", "decode"] {
        let samples = &run["warm"][what];
        let [median, min, max] =
            ["median", "min", "max"].map(|which| positive(run, &format!("/warm/{what}/{which}")));
        assert!(min <= median && median <= max, "{samples}");
        assert_eq!(samples["samples"].as_array().unwrap().len(), 2, "{samples}");
    }
    assert_eq!(run["tuned"], 0, "the CPU has one kernel for everything");
    assert!(run["warm"]["submit"].is_null(), "the CPU has no other time than the host's: {run}");
    // Two evaluations, the prompts and the VAE are a batch.
    let [batch, step, text, decode] =
        ["batch", "step", "text", "decode"].map(|what| positive(run, &format!("/warm/{what}/min")));
    assert!(2.0 * step + text + decode <= 1.01 * positive(run, "/warm/batch/max"), "{run}");
    assert!(batch > step);
    assert!(positive(run, "/peak_bytes") > 1e6);
    assert!(positive(run, "/plan/unet_flops") > 1e6);

    let ops = &run["ops"];
    assert_eq!(ops["clock"], "host");
    positive(ops, "/ceilings/product/per_second");
    positive(ops, "/ceilings/copy/per_second");
    let stages = ops["stages"].as_array().unwrap();
    let named =
        |name: &str| stages.iter().find(|s| s["stage"] == name).unwrap_or_else(|| panic!("{name}: {ops}"));
    assert_eq!((&named("unet")["times"], &named("text encoder")["times"]), (&2.into(), &2.into()));
    for stage in stages {
        let rows = stage["ops"].as_array().unwrap();
        let sum = |field: &str| -> f64 {
            rows.iter().map(|row| row.pointer(field).unwrap().as_f64().unwrap()).sum()
        };
        assert_eq!(sum("/dispatches"), stage["dispatches"].as_f64().unwrap(), "{stage}");
        assert!(
            rows.iter()
                .all(|row| row["kernels"][0].is_string() && row["shapes"].as_str().unwrap().contains("→"))
        );
        assert!(sum("/seconds/min") <= positive(stage, "/seconds/max"), "{stage}");
    }
    let products = named("unet")["ops"].as_array().unwrap().iter().filter(|row| row["op"] == "matmul");
    assert!(
        products.clone().count() > 2 && products.clone().all(|row| row["flops"].as_u64() > Some(0)),
        "{ops}"
    );
}

#[test]
fn equal_work_draws_the_same_picture_and_other_work_another() {
    let folder = Folder::new();
    let hash = |more: &[&'static str]| {
        let run = record(&folder, more)["runs"][0].clone();
        assert_eq!(run["repeatable"], true, "{run}");
        run["pictures"].clone()
    };
    let first = hash(&[]);
    assert_eq!(first[0].as_str().map(str::len), Some(64), "{first}");
    assert_eq!(first, hash(&[]));
    assert_ne!(first, hash(&["--seed", "43"]));
    assert_ne!(first, hash(&["--sampler", "euler"]));
    let two = hash(&["-b", "2"]);
    assert_eq!(two.as_array().map(Vec::len), Some(2));
    assert_ne!(two[0], two[1]);
}

#[test]
fn tables_are_for_people_and_files_for_programs() {
    let folder = Folder::new();
    let said = bench(&folder, &["--ops", "--trace", "trace.json", "--json", "record.json"]);
    for word in
        ["builtin", "a UNet step, ms", "first picture", "text encoder", "pictures", "of ceiling", "matmul"]
    {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
    assert_eq!(folder.names(), ["record.json", "trace.json"]);
    let trace: Json = serde_json::from_slice(&folder.read("trace.json")).unwrap();
    let events = trace["traceEvents"].as_array().unwrap();
    let launches: Vec<&Json> = events.iter().filter(|e| e["ph"] == "X").collect();
    let record: Json = serde_json::from_slice(&folder.read("record.json")).unwrap();
    let stages = record["runs"][0]["ops"]["stages"].as_array().unwrap();
    let dispatches: u64 = stages.iter().map(|s| s["dispatches"].as_u64().unwrap()).sum();
    assert_eq!(launches.len() as u64, dispatches, "every launch is an event");
    let mut end = 0.0;
    for event in launches {
        let [begin, lasted] = ["ts", "dur"].map(|field| event[field].as_f64().unwrap());
        assert!(begin >= end - 1.0 && lasted >= 0.0, "one after another: {event}");
        assert!(event["args"]["node"].is_string(), "{event}");
        end = begin + lasted;
    }
    let said = bench(&folder, &["--markdown"]);
    assert!(said.out.contains("| warm | median |") && said.out.contains("|---|---:|"), "{}", said.out);
}

#[test]
fn several_presets_run_apart_and_stand_in_one_record() {
    let folder = Folder::new();
    let said = bench(&folder, &["builtin", "--json", "-"]);
    let runs = json_lines(&said)[0]["runs"].as_array().unwrap().clone();
    assert_eq!(runs.len(), 2);
    assert_eq!(runs[0]["pictures"], runs[1]["pictures"]);
    assert!(runs.iter().all(|run| run["cold"]["weights"].as_f64() > Some(0.0)), "each starts cold: {runs:?}");
}

#[test]
fn a_comparison_tells_noise_from_change() {
    let folder = Folder::new();
    let base = record(&folder, &["--ops"]);
    let write = |name: &str, change: &dyn Fn(&mut Json)| {
        let mut record = base.clone();
        change(&mut record["runs"][0]);
        folder.write(name, record.to_string());
    };
    let step = |run: &mut Json, samples: &[f64]| {
        let mut sorted = samples.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (least, most) = (sorted[0], sorted[samples.len() - 1]);
        run["warm"]["step"] =
            json!({"median": sorted[samples.len() / 2], "min": least, "max": most, "samples": samples});
    };
    write("base.json", &|run| step(run, &[0.100, 0.102, 0.104, 0.106]));
    write("noise.json", &|run| step(run, &[0.101, 0.103, 0.105, 0.107]));
    write("slow.json", &|run| step(run, &[0.120, 0.122, 0.124, 0.126]));
    write("fast.json", &|run| step(run, &[0.080, 0.082, 0.084, 0.086]));
    write("few.json", &|run| step(run, &[0.300]));
    let told = |after: &str| {
        let said = folder.run(&["bench", "--compare", "base.json", after]);
        said.out
            .lines()
            .find(|line| line.starts_with("a UNet step"))
            .unwrap_or_else(|| panic!("{}", said.out))
            .to_string()
    };
    for (after, word) in [
        ("base.json", "within noise"),
        ("noise.json", "within noise"),
        ("slow.json", "SLOWER"),
        ("fast.json", "faster"),
        ("few.json", "too few"),
    ] {
        assert!(told(after).contains(word), "{after}: {}", told(after));
    }
    assert!(told("slow.json").contains("1.19"), "{}", told("slow.json"));

    write("other.json", &|run| run["pictures"] = json!(["0".repeat(64)]));
    let said = folder.run(&["bench", "--compare", "base.json", "other.json"]);
    assert!(said.out.contains("pictures: NOT the same"), "{}", said.out);
    write("work.json", &|run| run["settings"]["steps"] = json!(50));
    let said = folder.run(&["bench", "--compare", "base.json", "work.json", "--markdown"]);
    assert!(
        said.out.contains("NOT the same work: steps 2 and 50") && said.out.contains("|---|"),
        "{}",
        said.out
    );
    write("tuned.json", &|run| run["tuned"] = json!(37));
    let said = folder.run(&["bench", "--compare", "base.json", "tuned.json"]);
    assert!(
        said.out.contains("chosen by: the built-in table, before; tuning, for 37 products"),
        "{}",
        said.out
    );
    // A record of a version that knew no tuning.
    write("older.json", &|run| {
        run.as_object_mut().unwrap().remove("tuned");
        run["cold"].as_object_mut().unwrap().remove("tuning");
    });
    let said = folder.run(&["bench", "--compare", "older.json", "base.json"]);
    assert!(!said.out.contains("chosen by"), "{}", said.out);
    write("alone.json", &|run| run["preset"] = json!("sd15-512"));
    let said = folder.run(&["bench", "--compare", "base.json", "alone.json"]);
    assert!(said.out.contains("sd15-512 is in the second record only"), "{}", said.out);
}

#[test]
fn a_sweep_grows_and_is_drawn() {
    let folder = Folder::new();
    let more =
        ["--sweep", "--sizes", "64,32", "--batches", "1,2", "--json", "sweep.json", "--plot", "sweep.svg"];
    let said = bench(&folder, &more);
    assert!(said.out.contains("64x64, 1") && said.out.contains("of floor"), "{}", said.out);
    let record: Json = serde_json::from_slice(&folder.read("sweep.json")).unwrap();
    let points = record["sweep"]["points"].as_array().unwrap();
    let at: Vec<(u64, u64)> =
        points.iter().map(|p| (p["side"].as_u64().unwrap(), p["batch_size"].as_u64().unwrap())).collect();
    assert_eq!(at, [(32, 1), (64, 1), (32, 2)]);
    assert!(points[1]["flops"].as_u64() > points[0]["flops"].as_u64());
    for point in points {
        positive(point, "/step/median");
        positive(point, "/planned_bytes");
    }
    assert!(positive(&points[1], "/floor") > positive(&points[0], "/floor"), "{points:?}");
    let svg = String::from_utf8(folder.read("sweep.svg")).unwrap();
    assert!(
        svg.starts_with("<svg") && svg.ends_with("</svg>\n") && svg.matches("<circle").count() == 8,
        "{svg}"
    );

    let said = bench(
        &folder,
        &["--sweep", "--sizes", "32,512", "--batches", "1", "--most", "0.000001", "--json", "-"],
    );
    let sweep = &json_lines(&said)[0]["sweep"];
    assert!(sweep["left_out"][0].as_str().unwrap().contains("512x512"), "{sweep}");
}

#[test]
fn mistakes_are_told_before_anything_is_measured() {
    let folder = Folder::new();
    folder.write("no.json", "{}");
    folder.write("old.json", r#"{"schema": "calotype-bench/0"}"#);
    folder.write("mine.json", "mine");
    folder.fails(1, &["bench", "--compare", "no.json", "no.json"], &["no.json", "has no schema"]);
    folder.fails(
        1,
        &["bench", "--compare", "old.json", "no.json"],
        &["calotype-bench/0", "calotype-bench/1"],
    );
    folder.fails(1, &["bench", "--compare", "mine.json", "no.json"], &["mine.json", "no record"]);
    folder.fails(1, &["bench", "--compare", "none.json", "no.json"], &["none.json"]);
    folder.fails(2, &["bench", "sd15-513"], &["sd15-513", "none of that name"]);
    folder.fails(2, &["bench", "--repeats", "0"], &["--repeats"]);
    folder.fails(2, &["bench", "--plot", "a.svg"], &["required"]);
    folder.fails(2, &quick(&["-W", "65"]), &["--width 65", "64 or 72"]);
    folder.fails(2, &quick(&["-b", "0"]), &["--batch-size 0"]);
    folder.fails(1, &quick(&["--json", "mine.json"]), &["mine.json", "exists", "--overwrite"]);
    folder.fails(2, &["bench", "builtin", "sd15-512", "--trace", "t.json"], &["--trace", "only one"]);
    let long = quick(&["-W", "65536", "-H", "65536"]);
    folder.fails(1, &long, &["not enough memory"]);
}

#[test]
fn on_an_adapter_launches_are_timed_and_profiling_leaves_runs_alone() {
    if !has_adapter() {
        return;
    }
    let folder = Folder::new();
    let mut args = quick(&["--adapter", "0", "--no-autotune", "--ops", "--json", "-"]);
    args.retain(|flag| !["--backend", "cpu"].contains(flag));
    let record = json_lines(&folder.run(&args))[0].clone();
    let run = &record["runs"][0];
    assert!(record["device"]["driver"].is_string() && record["device"]["backend"] != "cpu", "{record}");
    assert_eq!((&run["repeatable"], &run["tuned"]), (&true.into(), &0.into()));
    positive(run, "/warm/submit/median");
    let stages = run["ops"]["stages"].as_array().unwrap();
    let unet = stages.iter().find(|s| s["stage"] == "unet").unwrap();
    assert_eq!(unet["dispatches"], run["plan"]["unet_dispatches"], "every launch of the plan is timed");
    positive(unet, "/seconds/median");
    assert!(run["peak_bytes"].as_u64() <= run["plan"]["peak_bytes"].as_u64(), "{run}");
}
