//! `calotype convert`.

use crate::args::ConvertArgs;
use crate::device;
use crate::exit::{Interrupted, Usage};
use crate::interrupt;
use crate::text::{self, bytes};
use anyhow::Context;
use calotype::convert::{How, ModelForm, Written, convert};
use calotype::{Assembly, DType, Error, Lora, ModelPlace, image};
use calotype_weights::Error as Weights;
use std::path::Path;
use std::rc::Rc;

/// Writes a model as another file.
pub fn run(args: &ConvertArgs) -> anyhow::Result<()> {
    let (path, layout) = (&args.output, ModelForm::of(&args.output)?);
    if let (Some(quant), true) = (args.quant, layout != ModelForm::Gguf) {
        return Err(Usage(format!("--quant {quant}: only a .gguf holds blocks: end OUT in .gguf")).into());
    }
    if path.is_dir() || layout != ModelForm::Folder {
        image::check(path, args.overwrite)?;
    }
    apart(args)?;
    for lora in &args.lora {
        Lora::find(&lora.file).map_err(Error::from).context(LORA)?;
    }
    let parts = args
        .assembly
        .parts()
        .map(|(role, name)| Ok((role, device::find(Some(name), &args.hub, None, false)?)));
    let with = Assembly { parts: parts.collect::<Result<_, Error>>()?, hints: args.assembly.hints() };
    let place = device::find(Some(&args.model), &args.hub, None, false)?;
    if place == ModelPlace::BuiltIn || args.model.starts_with("synthetic:") {
        return Err(Usage(format!(
            "{}: it is not made of files: name a file, a folder or a model of the hub",
            args.model
        ))
        .into());
    }
    let loras = args.lora.iter().map(|lora| {
        let opened = Lora::open(&lora.file).map_err(Error::from).context(LORA)?;
        Ok((Rc::new(opened), lora.scale))
    });
    let loras = loras.collect::<anyhow::Result<_>>()?;
    // Halves are taken where halves are asked for, and else what is most exact.
    let variant = (args.dtype == Some(DType::F16)).then_some("fp16");
    let files = place.files(variant, &with)?;
    let how = How { dtype: args.dtype, quant: args.quant, loras, hints: with.hints };
    interrupt::install()?;
    let done = convert(files, path, &how, args.overwrite, &mut |_| !interrupt::asked());
    match done {
        Ok(written) => text::result(&told(path, &written)),
        Err(Error::Weights(Weights::Stopped)) => Err(Interrupted.into()),
        Err(error) => Err(error.into()),
    }
}

const LORA: &str = "--lora";

fn told(path: &Path, written: &Written) -> String {
    let types: Vec<String> = written.encodings.iter().map(|(name, n)| format!("{n} {name}")).collect();
    let mut line = format!("{}: {}, tensors: {}", path.display(), bytes(written.bytes), types.join(", "));
    if written.whole > 0 {
        line += &format!("; {} matrices have rows of no whole number of blocks, and stay", written.whole);
    }
    line
}

/// What is read is not replaced.
fn apart(args: &ConvertArgs) -> anyhow::Result<()> {
    let Ok(output) = args.output.canonicalize() else { return Ok(()) };
    let model = [("IN", Path::new(&args.model))];
    let loras = args.lora.iter().map(|lora| (LORA, lora.file.as_path()));
    for (flag, input) in model.into_iter().chain(loras).chain(args.assembly.inputs()) {
        if input.canonicalize().is_ok_and(|input| output.starts_with(input)) {
            let why =
                format!("OUT: {} belongs to what {flag} reads; choose another name", args.output.display());
            return Err(Usage(why).into());
        }
    }
    Ok(())
}
