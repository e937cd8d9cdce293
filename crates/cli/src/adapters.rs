//! `calotype adapters`.

use crate::args::AdaptersArgs;
use crate::text::{self, bytes, table};
use calotype::{AdapterReport, Backend, Choice, Device, TierReport, preferred};
use serde_json::json;

const NONE: &str = "no GPU found. To get one going, install its driver with Vulkan, Metal or DX12 support (on Linux \
     also the package libvulkan1; `vulkaninfo --summary` then lists it). Until then everything runs on the CPU, slowly";

/// Lists every adapter.
pub fn run(args: &AdaptersArgs) -> anyhow::Result<()> {
    let found = pollster::block_on(calotype::adapters(Backend::Auto));
    // Software is slower than the CPU executor.
    let default = preferred(&found).filter(|at| found[*at].kind != "cpu");
    if args.json {
        let json = |a: &AdapterReport| json(a, &opened(a), default == Some(a.index));
        return text::json(&found.iter().map(json).collect::<Vec<_>>());
    }
    if found.is_empty() {
        text::note(NONE);
        return Ok(());
    }
    let head = ["", "name", "api", "kind", "memory", "buffer", "binding", "f16", "subgroups", "timestamps"];
    let mut rows = vec![head.map(String::from).to_vec()];
    let yes = |is: bool| if is { "yes" } else { "no" }.to_string();
    for a in &found {
        rows.push(vec![
            a.index.to_string(),
            a.name.clone(),
            a.backend.clone(),
            a.kind.clone(),
            a.memory.map_or("?".into(), bytes),
            bytes(a.max_buffer),
            bytes(a.max_binding),
            yes(a.f16),
            yes(a.subgroups),
            yes(a.timestamps),
        ]);
    }
    text::result(&table(&rows, &[0, 4, 5, 6]))?;
    for a in &found {
        let matrices = match a.cooperative.is_empty() {
            true => "no cooperative matrices".to_string(),
            false => format!("cooperative matrices {}", a.cooperative.join(", ")),
        };
        let workgroup = bytes(a.workgroup_memory.into());
        let (driver, api) = (&a.driver, api(a));
        text::result(&format!(
            "{}: driver {driver}; workgroup memory {workgroup}; {matrices}{api}",
            a.index
        ))?;
        text::result(&format!("{}: kernels: {}", a.index, words(&opened(a))))?;
    }
    if let Some(at) = default.filter(|_| found.len() > 1) {
        text::result(&format!("{at}: taken where no flag chooses"))?;
    }
    if found.iter().all(|a| a.kind == "cpu") {
        text::note(
            "only software renderers: they run when --backend or --adapter asks for them, slower than --backend cpu. \
             For a GPU install its driver with Vulkan, Metal or DX12 support",
        );
    }
    Ok(())
}

/// What one API alone has to tell.
fn api(a: &AdapterReport) -> String {
    let families = match a.families.is_empty() {
        true => String::new(),
        false => format!("; GPU families {}", a.families.join(", ")),
    };
    match a.compiler {
        None => families,
        Some("FXC") => "; shader compiler FXC, which has neither f16 nor subgroups: put Microsoft's DXC \
             (dxcompiler.dll) beside the program, or use --backend vulkan"
            .into(),
        Some(compiler) => format!("; shader compiler {compiler}"),
    }
}

/// What opening an adapter tells: what became of each tier of kernels, and of how many products the best cut is known.
struct Tried {
    tiers: Vec<TierReport>,
    tuned: usize,
}

/// Tries an adapter, or says why it could not be opened.
fn opened(a: &AdapterReport) -> Result<Tried, String> {
    let choice = Choice { adapter: Some(a.index.to_string()), ..Choice::default() };
    let opened = Device::Gpu(choice).open().map_err(|e| e.to_string())?;
    let tuned = opened.executor.caps().tuned.len();
    Ok(Tried { tiers: opened.adapter.map(|a| a.tiers).unwrap_or_default(), tuned })
}

fn words(tried: &Result<Tried, String>) -> String {
    let of = |t: &TierReport| match t.used {
        true => format!("{} ({})", t.tier, t.note),
        false => format!("not {} ({})", t.tier, t.note),
    };
    match tried {
        Ok(Tried { tiers, tuned }) => {
            let names = std::iter::once("plain".to_string()).chain(tiers.iter().map(of));
            let names = names.collect::<Vec<_>>().join(", ");
            match tuned {
                0 => format!("{names}; chosen by the built-in table"),
                _ => format!(
                    "{names}; chosen by tuning for {tuned} products, by the built-in table for others"
                ),
            }
        }
        Err(why) => why.clone(),
    }
}

fn json(a: &AdapterReport, tried: &Result<Tried, String>, default: bool) -> serde_json::Value {
    let tier = |t: &TierReport| json!({"tier": t.tier.to_string(), "used": t.used, "note": t.note});
    let tiers = match tried {
        Ok(tried) => json!(tried.tiers.iter().map(tier).collect::<Vec<_>>()),
        Err(why) => json!(why),
    };
    json!({
        "index": a.index,
        "name": a.name,
        "backend": a.backend,
        "kind": a.kind,
        "driver": a.driver,
        "default": default,
        "memory": a.memory,
        "families": a.families,
        "compiler": a.compiler,
        "max_buffer": a.max_buffer,
        "max_binding": a.max_binding,
        "workgroup_memory": a.workgroup_memory,
        "f16": a.f16,
        "subgroups": a.subgroups,
        "timestamps": a.timestamps,
        "cooperative": a.cooperative,
        "tiers": tiers,
        "tuned": tried.as_ref().map_or(0, |tried| tried.tuned),
    })
}
