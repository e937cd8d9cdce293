//! `calotype check`: an adapter and its driver, held against the CPU executor.

mod report;
mod stages;

use crate::args::{BackendName, CheckArgs};
use crate::text::Told;
use crate::{device, interrupt, text};
use calotype::{Backend, Choice, Device, OpenDevice, Precision, Tier, Tuning};
use calotype_testkit::cases;
use calotype_testkit::check::{Compared, Oracle, in_its_own_way};
use report::{Checked, Subject};
use stages::Stages;

/// Checks, and fails where anything departs.
pub fn run(args: &CheckArgs) -> anyhow::Result<()> {
    interrupt::install()?;
    let cpu = Device::Cpu.open()?;
    let mut oracle = Oracle::new(&*cpu.executor);
    let mut stages = stages(args)?;
    let mut subject = None;
    let mut checked = Vec::new();
    for (tier, found) in devices(args)? {
        let opened = match found {
            Ok(opened) => opened,
            Err(why) => {
                checked.push(Checked::left_out(tier, why));
                continue;
            }
        };
        let told = subject.get_or_insert_with(|| Subject::of(&opened));
        if checked.is_empty() && !args.json {
            text::result(&told.to_string())?;
        }
        let mut part = Checked::new(tier);
        ops(&opened, tier, args, &mut oracle, &mut part)?;
        if let Some(stages) = &mut stages {
            for held in stages.hold(&opened, precision(args, tier))? {
                interrupt::check()?;
                part.add(held);
            }
        }
        if !args.json {
            text::result(&part.to_string())?;
        }
        checked.push(part);
    }
    report::finish(subject.as_ref(), &checked, args.json)?;
    if checked.iter().any(Checked::departs) { Err(Told.into()) } else { Ok(()) }
}

/// The model to compare, where there is one.
fn stages(args: &CheckArgs) -> anyhow::Result<Option<Stages>> {
    if args.ops {
        return Ok(None);
    }
    if args.model.is_none() && cfg!(not(feature = "builtin")) {
        text::note(
            "this program has no built-in model: only ops are compared; name a model with -m for the rest",
        );
        return Ok(None);
    }
    let place = device::find(args.model.as_deref(), &args.hub, args.device.dtype, args.json)?;
    Ok(Some(Stages::new(place, args.device.quant.unwrap_or_default())))
}

/// Each tier's device, or why there is none: all that the adapter has, or the one that was asked for.
type TierDevice = (Option<Tier>, Result<OpenDevice, String>);

fn devices(args: &CheckArgs) -> anyhow::Result<Vec<TierDevice>> {
    if args.device.backend == BackendName::Cpu {
        text::note("--backend cpu: the CPU executor is held against itself, which shows only that it runs");
        return Ok(vec![(None, Ok(args.device.device()?.open()?))]);
    }
    let backend = match args.device.device()? {
        Device::Gpu(choice) => choice.backend,
        _ => Backend::Auto,
    };
    let asked = args.device.tier.tier();
    let mut found = Vec::new();
    let mut software = false;
    for tier in Tier::ALL.into_iter().filter(|t| asked.is_none_or(|asked| asked == *t)) {
        if tier == Tier::Coop && software && asked.is_none() {
            let why = "left out where shaders run in software: --tier coop checks it";
            found.push((Some(tier), Err(why.to_string())));
            continue;
        }
        let adapter = args.device.adapter.clone();
        let choice = Choice { backend, adapter, tier: Some(tier), tuning: Tuning::Off, ..Choice::default() };
        match Device::Gpu(choice).open() {
            Ok(opened) => {
                software = opened.adapter.as_ref().is_some_and(|a| a.kind == "cpu");
                found.push((Some(tier), Ok(opened)));
            }
            Err(e @ calotype::Error::Device { .. }) if asked.is_none() && tier != Tier::Plain => {
                found.push((Some(tier), Err(e.to_string())));
            }
            Err(e) => return Err(e.into()),
        }
    }
    Ok(found)
}

/// The plain tier's own precision is f32: what it makes of halves is the browsers' business. The others are about f16.
fn precision(args: &CheckArgs, tier: Option<Tier>) -> Precision {
    let usual = if matches!(tier, None | Some(Tier::Plain)) { Precision::F32 } else { Precision::F16 };
    args.device.dtype.map_or(usual, |dtype| dtype.precision())
}

fn ops(
    opened: &OpenDevice,
    tier: Option<Tier>,
    args: &CheckArgs,
    oracle: &mut Oracle<'_>,
    part: &mut Checked,
) -> anyhow::Result<()> {
    let precision = precision(args, tier);
    for case in cases().iter().filter(|case| in_its_own_way(tier.unwrap_or(Tier::Plain), case)) {
        interrupt::check()?;
        let held: Option<Compared> =
            oracle.hold(&*opened.executor, case, precision).map_err(calotype_error)?;
        match held {
            Some(held) => part.add(held),
            None => part.refused += 1,
        }
    }
    Ok(())
}

/// The oracle itself failed: memory, as a rule.
fn calotype_error(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow::anyhow!("the CPU executor, which is the reference, failed: {error}")
}
