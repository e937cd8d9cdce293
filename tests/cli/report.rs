//! `--json`, `plan`, `adapters`, `inspect`.

use crate::support::{Folder, goldens, has_adapter, json_lines, tiny};

#[test]
fn json_is_one_line_a_run_and_all_there_is_on_stdout() {
    let folder = Folder::new();
    let args =
        ["a cat", "--seed", "7", "-o", "cat.png", "--json", "--sampler", "euler", "--scheduler", "karras"];
    let said = folder.draw(&args);
    let [run] = &json_lines(&said)[..] else { panic!("{}", said.out) };
    for (field, value) in
        [("sampler", "euler"), ("scheduler", "karras"), ("dtype", "f32"), ("model", &tiny())]
    {
        assert_eq!(run[field], value, "{field}");
    }
    assert_eq!((&run["few_steps"], &run["loras"]), (&serde_json::Value::Null, &serde_json::json!([])));
    assert_eq!(run["files"], serde_json::json!(["cat.png"]));
    assert_eq!((&run["width"], &run["height"], &run["steps"]), (&64.into(), &64.into(), &2.into()));
    assert!(run["device"].as_str().unwrap().starts_with("CPU"), "{run}");
    assert!(run["peak_bytes"].as_u64() > Some(1 << 20), "{run}");
    let time = |stage: &str| run["timings"][stage].as_f64().unwrap_or_else(|| panic!("{stage}: {run}"));
    let parts: f64 = ["load", "text", "denoise", "decode", "write"].map(time).iter().sum();
    assert!(parts > 0.0 && parts <= time("total") * 1.05 + 1e-3, "{run}");
    assert!(!said.err.contains("steps"), "no progress where a program listens: {}", said.err);
}

#[test]
fn a_plan_of_stable_diffusion_needs_no_gpu() {
    let folder = Folder::new();
    let said = folder.run(&["plan", "-m", "synthetic:sd15", "--json"]);
    let plan = &json_lines(&said)[0];
    let bytes = |name: &str| plan[name].as_u64().unwrap_or_else(|| panic!("{name}: {plan}"));
    assert_eq!((&plan["width"], &plan["guided"]), (&512.into(), &true.into()));
    assert_eq!(bytes("peak_bytes"), bytes("weight_bytes") + bytes("activation_bytes") + bytes("state_bytes"));
    let stages = plan["stages"].as_array().unwrap();
    assert_eq!(
        stages.iter().map(|s| s["weight_bytes"].as_u64().unwrap()).sum::<u64>(),
        bytes("weight_bytes")
    );
    if plan["adapter"].is_null() {
        assert_eq!((&plan["dtype"], &plan["fits"]), (&"f16".into(), &serde_json::Value::Null));
        assert!(bytes("peak_bytes") <= 2600 << 20, "SD 1.5 at 512x512 in f16: {plan}");
    }
    let said = folder.run(&["plan", "-m", "synthetic:sd15"]);
    for word in ["text encoder", "vae", "peak", "GiB", "512x512"] {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
}

#[test]
fn a_plan_tells_how_weights_are_stored() {
    let folder = Folder::new();
    let planned = |quant: &str| {
        let said = folder.run(&["plan", "-m", "synthetic:sd15", "--quant", quant, "--json"]);
        json_lines(&said).remove(0)
    };
    let [whole, blocks] = ["none", "q8_0"].map(planned);
    if blocks["weight_types"].get("q8_0").is_some() {
        let bytes = |plan: &serde_json::Value| plan["weight_bytes"].as_u64().unwrap();
        assert!(bytes(&blocks) * 100 <= bytes(&whole) * 62, "{blocks} {whole}");
        let types = blocks["weight_types"].as_object().unwrap();
        assert_eq!(types.values().map(|n| n.as_u64().unwrap()).sum::<u64>(), bytes(&blocks));
        let said = folder.run(&["plan", "-m", "synthetic:sd15", "--quant", "q4_0"]).out;
        assert!(said.contains("q4_0 "), "{said}");
    } else {
        // The CPU computes with their numbers.
        assert_eq!(blocks["weight_bytes"], whole["weight_bytes"], "{blocks}");
    }
}

#[test]
fn a_plan_grows_with_what_is_asked_for() {
    let folder = Folder::new();
    let tiny = tiny();
    let peak = |more: &[&str]| {
        let args = [&["plan", "--backend", "cpu", "--json", "-m", &tiny], more].concat();
        json_lines(&folder.run(&args))[0]["peak_bytes"].as_u64().unwrap()
    };
    let base = peak(&[]);
    assert!(peak(&["-W", "128"]) > base && peak(&["-b", "4"]) > base);
    assert!(peak(&["--cfg-scale", "1"]) < base);
    let said = folder.run(&["plan", "--backend", "cpu", "-W", "65536", "-H", "65536"]);
    assert!(said.out.contains("does not fit") || said.out.contains("not known"), "{}", said.out);
    assert!(said.out.contains("what threads and the loading of weights take"), "{}", said.out);
}

#[test]
fn inspect_says_what_a_model_holds() {
    let folder = Folder::new();
    let place = goldens().join("sd2-tiny/model");
    let model = &json_lines(&folder.run(&["inspect", place.to_str().unwrap(), "--json"]))[0];
    assert_eq!(model["prediction_type"], "v_prediction");
    assert_eq!(
        (&model["class"], &model["scheduler"]),
        (&"StableDiffusionPipeline".into(), &"DDIMScheduler".into())
    );
    let unet = &model["components"][1];
    assert_eq!((&unet["name"], &unet["class"]), (&"unet".into(), &"UNet2DConditionModel".into()));
    assert_eq!(unet["dtypes"]["f16"], unet["tensors"]);
    assert_eq!(unet["bytes"].as_u64(), unet["parameters"].as_u64().map(|n| n * 2));

    let said = folder.run(&["inspect", "synthetic:sd15"]);
    for word in ["CLIPTextModel", "859.5 M", "epsilon", "PNDMScheduler", "512x512", "49408"] {
        assert!(said.out.contains(word), "{word}: {}", said.out);
    }
    assert!(folder.run(&["inspect"]).out.starts_with("builtin"));
}

#[test]
fn adapters_are_listed_or_the_way_to_one_is_told() {
    let folder = Folder::new();
    let said = folder.run(&["adapters"]);
    match has_adapter() {
        true => assert!(said.out.contains("f16") && said.out.lines().count() >= 3, "{}", said.out),
        false => assert!(said.err.contains("libvulkan1"), "{}", said.err),
    }
}

/// Nor have layers that the system brings along: machines with no GPU mostly have no desktop that could be asked for one.
#[test]
fn nothing_is_said_of_adapters_but_what_a_person_needs() {
    let folder = Folder::new();
    for args in [&["adapters"][..], &["adapters", "--json"]] {
        let mut command = folder.command();
        command.env_remove("XDG_RUNTIME_DIR").env_remove("WAYLAND_DISPLAY");
        let said = String::from_utf8(command.args(args).output().unwrap().stderr).unwrap();
        let ours =
            |line: &str| line.starts_with("only software renderers") || line.starts_with("no GPU found");
        assert!(said.lines().count() <= 1 && said.lines().all(ours), "{args:?}: {said}");
    }
}

#[test]
fn on_an_adapter_a_run_keeps_to_its_plan() {
    if !has_adapter() {
        return;
    }
    let folder = Folder::new();
    let tiny = tiny();
    let args = ["generate", "a cat", "--adapter", "0", "--steps", "2", "--seed", "1", "--json", "-m", &tiny];
    for dtype in ["f32", "f16"] {
        let run = &json_lines(&folder.run(&[&args[..], &["--dtype", dtype]].concat()))[0];
        assert_eq!(run["dtype"], dtype);
        assert!(run["peak_bytes"].as_u64() <= run["planned_bytes"].as_u64(), "{run}");
    }
}
