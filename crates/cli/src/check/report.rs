//! What `calotype check` tells.

use crate::device::name;
use crate::text;
use calotype::{OpenDevice, Tier};
use calotype_testkit::check::Compared;
use serde_json::{Value, json};
use std::fmt;

/// How many departures are told in words: where a driver errs it errs often.
const TOLD: usize = 5;

/// What was checked.
pub struct Subject {
    adapter: String,
    driver: String,
    backend: String,
}

impl Subject {
    pub fn of(opened: &OpenDevice) -> Self {
        match &opened.adapter {
            Some(a) => Self { adapter: a.name.clone(), driver: a.driver.clone(), backend: a.backend.clone() },
            None => {
                let adapter = opened.executor.describe();
                Self { adapter, driver: env!("CARGO_PKG_VERSION").into(), backend: "cpu".into() }
            }
        }
    }
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({}), driver {}", self.adapter, self.backend, self.driver)
    }
}

/// What was found of a tier.
pub struct Checked {
    /// None on the CPU.
    tier: Option<Tier>,
    /// Why it was not checked.
    left_out: Option<String>,
    held: usize,
    /// Cases that the device cannot run, and says so.
    pub refused: usize,
    /// What came nearest to its bound, or furthest beyond it.
    worst: Option<Compared>,
    departures: Vec<Compared>,
}

impl Checked {
    pub fn new(tier: Option<Tier>) -> Self {
        Self { tier, left_out: None, held: 0, refused: 0, worst: None, departures: Vec::new() }
    }

    pub fn left_out(tier: Option<Tier>, why: String) -> Self {
        Self { left_out: Some(why), ..Self::new(tier) }
    }

    pub fn add(&mut self, held: Compared) {
        self.held += 1;
        // Exact ones have a bound of nothing.
        let share = |h: &Compared| h.error / h.bound.max(1e-12);
        if self.worst.as_ref().is_none_or(|worst| share(&held) > share(worst)) {
            self.worst = Some(held.clone());
        }
        if held.departs() {
            self.departures.push(held);
        }
    }

    pub fn departs(&self) -> bool {
        !self.departures.is_empty()
    }

    fn name(&self) -> String {
        self.tier.map_or("cpu".into(), |tier| tier.to_string())
    }

    fn json(&self) -> Value {
        let departures: Vec<Value> = self.departures.iter().map(record).collect();
        json!({
            "tier": self.name(),
            "runs": self.left_out.is_none(),
            "note": self.left_out,
            "held": self.held,
            "refused": self.refused,
            "worst": self.worst.as_ref().map(record),
            "departures": departures,
        })
    }
}

fn record(held: &Compared) -> Value {
    json!({
        "name": held.name,
        "shape": held.shape,
        "dtype": name(held.precision),
        "error": held.error,
        "bound": held.bound,
        "problem": held.problem,
    })
}

fn words(held: &Compared) -> String {
    let what = format!("{} {} in {}", held.name, held.shape, name(held.precision));
    match &held.problem {
        Some(problem) => format!("{what}: {problem}"),
        None => format!("{what}: off by {:.1e} of the largest, more than {:.0e}", held.error, held.bound),
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name();
        if let Some(why) = &self.left_out {
            return write!(f, "{name}: not checked: {why}");
        }
        let refused = match self.refused {
            0 => String::new(),
            n => format!(", {n} refused for want of shader-f16"),
        };
        if self.departures.is_empty() {
            write!(f, "{name}: {} agree with the CPU{refused}", self.held)?;
            return match &self.worst {
                Some(w) => {
                    let (error, bound) = (w.error, w.bound);
                    write!(f, "; nearest to its bound: {} {error:.1e} of {bound:.0e}", w.name)
                }
                None => Ok(()),
            };
        }
        write!(f, "{name}: {} of {} DEPART{refused}; in order:", self.departures.len(), self.held)?;
        for held in self.departures.iter().take(TOLD) {
            write!(f, "\n  {}", words(held))?;
        }
        match self.departures.len().saturating_sub(TOLD) {
            0 => Ok(()),
            more => write!(f, "\n  and {more} more (--json lists them)"),
        }
    }
}

/// The end: the record, or the tiers that were left out and the verdict.
pub fn finish(subject: Option<&Subject>, checked: &[Checked], json: bool) -> anyhow::Result<()> {
    let departs = checked.iter().any(Checked::departs);
    if json {
        return text::json(&json!({
            "adapter": subject.map(|s| &s.adapter),
            "driver": subject.map(|s| &s.driver),
            "backend": subject.map(|s| &s.backend),
            "departs": departs,
            "tiers": checked.iter().map(Checked::json).collect::<Vec<_>>(),
        }));
    }
    for part in checked.iter().filter(|part| part.left_out.is_some()) {
        text::result(&part.to_string())?;
    }
    let first = checked.iter().find_map(|part| Some((part.name(), part.departures.first()?)));
    match (first, subject) {
        (Some((tier, held)), Some(subject)) => {
            text::error(&format!("{subject}: tier {tier} departs first at {}", words(held)));
            Ok(())
        }
        _ => text::result("nothing departs"),
    }
}
