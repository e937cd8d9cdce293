use crate::driver::{Compiled, Driver};
use crate::loops::{Loop, main_loop};
use crate::picks::Pick;
use crate::spirv::spirv;
use anyhow::Result;
use serde::{Deserialize, Serialize};

/// What a driver makes of kernels.
#[derive(Debug, Serialize, Deserialize)]
pub struct Survey {
    /// What it is called in tables.
    pub device: String,
    /// The driver and its version.
    pub driver: String,
    /// Counted by kernel.
    pub kernels: Vec<Counted>,
}

/// What a driver makes of one.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Counted {
    /// Its kind, and the overrides that are on.
    pub name: String,
    /// What it is whatever its overrides: `conv2d coop 128x128`.
    pub kind: String,
    /// How often pictures launch it.
    pub launches: usize,
    /// Why it did not compile.
    pub failed: Option<String>,
    /// Instructions in all.
    pub instructions: Option<f64>,
    /// Cycles as the compiler reckons them, every loop once (NVK, Intel) or weighted alike (RADV's latency).
    pub cycles: Option<f64>,
    /// Registers of a thread; of a vector of threads on RADV and Intel.
    pub registers: Option<f64>,
    /// Registers that it puts to memory, or takes from it.
    pub spills: f64,
    /// The main loop, where its assembly can be read.
    pub main_loop: Option<Loop>,
}

/// What drivers call them.
const INSTRUCTIONS: &[&str] = &["Instructions", "Instruction count", "Instruction Count"];
const CYCLES: &[&str] = &["Latency", "Static cycle count", "Cycle Count", "Cycles"];
const REGISTERS: &[&str] = &["VGPRs", "Number of GPRs", "GRF registers", "GPRs", "Registers"];
const SPILLS: &[&str] = &[
    "Spilled VGPRs",
    "Spills to memory",
    "Fills from memory",
    "Spill Count",
    "Fill Count",
    "Spills",
    "Fills",
];

/// Compiles what was picked; `each` is given what came of every one.
pub fn measure(driver: &Driver, picks: &[Pick], each: &mut dyn FnMut(&Pick, &Compiled)) -> Vec<Counted> {
    let made = |pick: &Pick| -> Result<Compiled> {
        driver.compile(pick.variant, &spirv(pick.variant, &pick.overrides)?)
    };
    let mut kernel = |pick: &Pick| {
        let (compiled, failed) = match made(pick) {
            Ok(compiled) => (compiled, None),
            Err(why) => (Compiled { statistics: Vec::new(), texts: Vec::new() }, Some(format!("{why:#}"))),
        };
        each(pick, &compiled);
        let found = |names: &'static [&str]| {
            compiled.statistics.iter().filter(|(n, _)| names.contains(&n.as_str())).map(|(_, v)| *v)
        };
        Counted {
            name: pick.name(),
            kind: pick.kind(),
            launches: pick.launches,
            failed,
            instructions: found(INSTRUCTIONS).next(),
            cycles: found(CYCLES).next(),
            registers: found(REGISTERS).next(),
            spills: found(SPILLS).sum(),
            main_loop: compiled.texts.iter().find_map(|(title, text)| main_loop(title, text)),
        }
    };
    picks.iter().map(&mut kernel).collect()
}
