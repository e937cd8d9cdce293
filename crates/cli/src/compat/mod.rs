//! `calotype compat`: the programs that came first, with their flags and their defaults.

mod files;
mod img2img;
mod keras;
mod script;
mod txt2img;

use crate::args::{CompatArgs, DeviceArgs, HubArgs, MemoryArgs, Program};
use crate::{device, interrupt};
use calotype::{Model, Pipeline, Precision, Request};

/// Draws as one of them does.
pub fn run(args: &CompatArgs) -> anyhow::Result<()> {
    match &args.program {
        Program::Txt2img(args) => txt2img::run(args),
        Program::Img2img(args) => img2img::run(args),
        Program::Keras(args) => keras::run(args),
    }
}

/// A model on a device, once it is sure that it can do what is asked for. Pictures' values are cut to 8 bits.
fn open(
    (name, hub): (Option<&str>, &HubArgs),
    (flags, precision): (&DeviceArgs, Option<Precision>),
    request: &Request,
    prepare: &dyn Fn(&mut Model) -> anyhow::Result<()>,
) -> anyhow::Result<Pipeline> {
    let place = device::find(name, hub, flags.dtype, false)?;
    interrupt::install()?;
    let open = |precision| -> anyhow::Result<Model> {
        let mut model = place.open(precision)?;
        model.quant = flags.quant.unwrap_or_default();
        prepare(&mut model)?;
        device::settle(request, &mut model)?;
        Ok(model)
    };
    let stored = |likely: Precision| if flags.dtype.is_none() { precision.unwrap_or(likely) } else { likely };
    let guess = stored(flags.likely_precision());
    let mut model = open(guess)?;
    let opened = flags.device()?.open()?;
    let precision = stored(flags.precision(&opened));
    if precision != guess {
        model = open(precision)?;
    }
    let mut pipeline = device::pipeline(&opened, model, precision, &MemoryArgs::default());
    pipeline.truncate();
    pipeline.check(&pipeline.settle(request)?)?;
    Ok(pipeline)
}
