//! Whether a run fits, before it starts.

use crate::text::bytes;
use calotype::{AdapterReport, MemoryPlan, Model, Opened, Precision, Request};

/// A device's memory and whose it is, where that is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Memory {
    /// Such as `the memory of NVIDIA GeForce RTX 4090`.
    pub owner: String,
    /// Bytes that a run may take.
    pub bytes: u64,
}

impl Memory {
    /// The adapter's own, or for the CPU what the system has to spare.
    pub fn of(adapter: Option<&AdapterReport>) -> Option<Self> {
        match adapter {
            Some(a) => Some(Self { owner: format!("the memory of {}", a.name), bytes: a.memory? }),
            None => Some(Self { owner: "this computer's free memory".into(), bytes: free_memory()? }),
        }
    }
}

/// What a request takes on a device; on the CPU the least it can take.
pub fn plan(
    opened: &Opened,
    model: &Model,
    request: &Request,
    precision: Precision,
) -> Result<MemoryPlan, calotype::Error> {
    if opened.adapter.is_some() {
        return Ok(calotype::plan(model, request, precision, &opened.executor.caps())?);
    }
    // The CPU computes and stores in f32 whatever is asked for, weights too.
    let mut plan = calotype::plan(model, request, Precision::F32, &opened.executor.caps())?;
    let numbers: u64 = model.contents().map(|c| c.parameters).sum();
    plan.peak_bytes = plan.peak_bytes - plan.weight_bytes + 4 * numbers;
    plan.weight_bytes = 4 * numbers;
    Ok(plan)
}

/// Says what does not fit and what would help.
pub fn check(plan: &MemoryPlan, memory: Option<&Memory>, f16_helps: bool) -> Result<(), String> {
    let Some(memory) = memory.filter(|m| m.bytes < plan.peak_bytes) else { return Ok(()) };
    let ways = match f16_helps {
        true => "a smaller --batch-size, or --dtype f16",
        false => "or a smaller --batch-size",
    };
    Err(format!(
        "not enough memory: this run needs {} ({} of them weights), and {} is {}: choose a smaller --width and \
         --height, {ways}; `calotype plan` with the same flags says where it goes",
        bytes(plan.peak_bytes),
        bytes(plan.weight_bytes),
        memory.owner,
        bytes(memory.bytes)
    ))
}

/// Memory that can be had without swapping, where the system tells (Linux).
fn free_memory() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan_of(peak_bytes: u64) -> MemoryPlan {
        MemoryPlan {
            peak_bytes,
            weight_bytes: 1 << 30,
            activation_bytes: 0,
            state_bytes: 0,
            stages: Vec::new(),
        }
    }

    #[test]
    fn what_does_not_fit_is_said_with_both_figures_and_the_ways_out() {
        let memory = Memory { owner: "the memory of a small GPU".into(), bytes: 2 << 30 };
        assert!(check(&plan_of(2 << 30), Some(&memory), true).is_ok());
        assert!(check(&plan_of(u64::MAX), None, true).is_ok());
        let error = check(&plan_of(3 << 30), Some(&memory), true).unwrap_err();
        for part in ["3.00 GiB", "2.00 GiB", "a small GPU", "--width", "--batch-size", "--dtype f16"] {
            assert!(error.contains(part), "{error}");
        }
        assert!(!check(&plan_of(3 << 30), Some(&memory), false).unwrap_err().contains("f16"));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn linux_tells_its_free_memory() {
        assert!(free_memory().unwrap() > 1 << 20);
    }
}
