use anyhow::Result;
use calotype_graph::{Caps, Precision, lower, plan};
use calotype_pipeline::{Model, Request, parts};
use calotype_shaders::Variant;
use std::collections::BTreeMap;

/// A kernel under its overrides, as pictures launch it.
#[derive(Clone, Debug)]
pub struct Pick {
    /// The kernel.
    pub variant: &'static Variant,
    /// What its overrides are set to.
    pub overrides: Vec<(&'static str, f64)>,
    /// How often pictures' graphs launch it.
    pub launches: usize,
}

impl Pick {
    /// What it is called whatever its overrides, and however its tile is made up: `conv2d coop 128x128`.
    pub fn kind(&self) -> String {
        let defines = self.variant.defines;
        let value = |name: &str| -> Option<u32> {
            defines.iter().find_map(|d| d.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        };
        let edge = |names: [&str; 2]| Some(value(names[0])? * value(names[1])? * value("SIDE")?);
        let team = value("TEAM").unwrap_or(1);
        let tile = match (edge(["WM", "FM"]), edge(["WN", "FN"])) {
            (Some(rows), Some(columns)) => Some(format!("{rows}x{columns}")),
            (Some(rows), None) => Some(format!(
                "{} rows, heads to {}",
                rows / team,
                value("FD").zip(value("SIDE")).map_or(0, |(d, s)| d * s * team)
            )),
            _ => None,
        };
        const TILE: [&str; 14] = [
            "SIDE", "LANES", "FM", "FN", "FK", "FD", "WM", "WN", "XL", "WL", "HALVES", "BRING", "QUADS",
            "TEAM",
        ];
        const TAKEN: [&str; 5] = ["ENABLE_F16", "A_F16", "W_F16", "W_N16", "VEC4"];
        let told =
            |d: &&&str| !TAKEN.contains(d) && !d.split_once('=').is_some_and(|(n, _)| TILE.contains(&n));
        let words = defines.iter().filter(told).map(|d| d.to_lowercase());
        [self.variant.stem.to_string()].into_iter().chain(words).chain(tile).collect::<Vec<_>>().join(" ")
    }

    /// Its kind and those overrides that are on.
    pub fn name(&self) -> String {
        let on = self.overrides.iter().filter(|(_, v)| *v != 0.0);
        let words = on.map(|(n, v)| if *v == 1.0 { n.to_string() } else { format!("{n}={v}") });
        [self.kind()].into_iter().chain(words).collect::<Vec<_>>().join(" ")
    }
}

/// What a guided picture of the model takes on such a device, in f16, kernel by kernel: `side` pixels square, or of the
/// model's own size.
pub fn picks(model: &Model, side: Option<usize>, caps: &Caps) -> Result<Vec<Pick>> {
    let precision = Precision::F16;
    let request = Request { width: side, height: side, cfg_scale: Some(7.5), ..Request::new("a lighthouse") };
    let mut found: BTreeMap<String, Pick> = BTreeMap::new();
    for key in parts::run(model, &request.settle(model)?, precision) {
        for (_, graph) in &key.draw(model)?.graphs {
            let plan = plan::plan(graph, key.precision, caps)?;
            for launch in lower(graph, &plan, key.precision, caps)?.dispatches {
                let pick = Pick { variant: launch.variant, overrides: launch.overrides, launches: 0 };
                found.entry(pick.name()).or_insert(pick).launches += 1;
            }
        }
    }
    Ok(found.into_values().collect())
}
