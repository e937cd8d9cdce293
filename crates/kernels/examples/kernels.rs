//! What a Vulkan driver's compiler makes of the kernels: see `HELP` below and docs/kernels.md.

use anyhow::{Context, Result, bail, ensure};
use calotype_gpu::{Backend, prospects};
use calotype_graph::Quant;
use calotype_kernels::{Driver, Pick, Survey, bytes, measure, notes, picks, rewrite, spirv, without_strides};
use calotype_pipeline::Model;
use calotype_shaders::VARIANTS;
use std::path::{Path, PathBuf};

const HELP: &str = "\
What a Vulkan driver's compiler makes of the kernels (docs/kernels.md).

kernels measure NAME [OPTION...]  compiles what guided pictures of Stable Diffusion 1.5 (512x512) and of the built-in model
                                  take in f16, the former with weights in blocks too, on the first Vulkan adapter, and
                                  prints a record as JSON; fails where a kernel does not compile
  --model MODEL                   of this folder only, at its own size, or of synthetic:sd15
  --only TEXT                     only kernels whose name contains it
  --trusted                       with the driver's bounds checks off
  --texts FOLDER                  also writes their assembly, statistics and SPIR-V there
kernels table DOCUMENT SURVEY...  writes such surveys into a document's table; what it says of before stays, unless --anew
kernels notes DOCUMENT SURVEY...  tells what is worse than the table, and what should not be: it never fails
kernels spirv FOLDER              every variant's SPIR-V, for spirv-val, but for the strides that naga gives arrays in
                                  workgroup memory; needs no driver";

fn main() -> Result<()> {
    let mut args = std::env::args().skip(1);
    match (args.next().as_deref(), args.next()) {
        (Some("measure"), Some(name)) => compile(name, args),
        (Some("table"), Some(document)) => {
            let (flags, paths): (Vec<String>, Vec<String>) = args.partition(|arg| arg == "--anew");
            let table = rewrite(&read(&document)?, &records(&paths)?, !flags.is_empty());
            std::fs::write(&document, table.with_context(|| format!("{document} has no table"))?)?;
            Ok(())
        }
        (Some("notes"), Some(document)) => {
            let records = records(&args.collect::<Vec<_>>())?;
            let notes = notes(&read(&document)?, &records);
            for record in &records {
                println!("{}: {} kernels compile ({})", record.device, record.kernels.len(), record.driver);
            }
            notes.iter().for_each(|note| println!("note: {note}"));
            Ok(())
        }
        (Some("spirv"), Some(folder)) => modules(Path::new(&folder)),
        _ => bail!("{HELP}"),
    }
}

fn read(path: &str) -> Result<String> {
    std::fs::read_to_string(path).with_context(|| path.to_string())
}

fn records(paths: &[String]) -> Result<Vec<Survey>> {
    paths.iter().map(|path| serde_json::from_str(&read(path)?).with_context(|| path.clone())).collect()
}

/// A file's name for a kernel's.
fn file(name: &str) -> String {
    name.replace(", ", "_").replace([' ', '='], "_").replace(['[', ']'], "")
}

fn compile(name: String, mut args: impl Iterator<Item = String>) -> Result<()> {
    let (mut models, mut only, mut trusted, mut texts) = (Vec::new(), None, false, None::<PathBuf>);
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} wants a value"));
        match arg.as_str() {
            "--model" => models.push(value()?),
            "--only" => only = Some(value()?),
            "--trusted" => trusted = true,
            "--texts" => texts = Some(value()?.into()),
            _ => bail!("what is {arg}?\n{HELP}"),
        }
    }
    if models.is_empty() {
        models = ["synthetic:sd15", "models/emoji"].map(String::from).to_vec();
    }
    let found = pollster::block_on(prospects(Backend::Vulkan));
    let (report, caps) = found.first().context("there is no Vulkan adapter")?;
    let mut picked = Vec::new();
    for name in models {
        let large = name == "synthetic:sd15";
        let mut model = Model::open(&name, None)?;
        let quants: &[Quant] = if large { &[Quant::Off, Quant::Q8_0, Quant::Q4_0] } else { &[Quant::Off] };
        for quant in quants {
            model.quant = *quant;
            for pick in picks(&model, large.then_some(512), caps)? {
                match picked.iter_mut().find(|p: &&mut Pick| p.name() == pick.name()) {
                    Some(known) => known.launches += pick.launches,
                    None => picked.push(pick),
                }
            }
        }
    }
    picked.retain(|pick| only.as_ref().is_none_or(|text| pick.name().contains(text)));
    if let Some(folder) = &texts {
        std::fs::create_dir_all(folder)?;
    }
    let mut written = Ok(());
    let kernels = measure(&Driver::open(!trusted)?, &picked, &mut |pick, compiled| {
        let Some(folder) = &texts else { return };
        let write = || -> Result<()> {
            let path = |ending: &str| folder.join(format!("{}.{ending}", file(&pick.name())));
            std::fs::write(path("spv"), bytes(&spirv(pick.variant, &pick.overrides)?))?;
            let told: Vec<String> = compiled.statistics.iter().map(|(n, v)| format!("{n}: {v}\n")).collect();
            std::fs::write(path("txt"), told.concat())?;
            for (title, text) in &compiled.texts {
                std::fs::write(path(&title.to_lowercase().replace(' ', "-")), text)?;
            }
            Ok(())
        };
        if written.is_ok() {
            written = write();
        }
    });
    written?;
    let failed: Vec<&str> = kernels.iter().filter(|k| k.failed.is_some()).map(|k| &*k.name).collect();
    ensure!(!kernels.is_empty(), "no kernel is called so");
    let failed = failed.join("\n");
    let record = Survey { device: name, driver: report.driver.clone(), kernels };
    println!("{}", serde_json::to_string_pretty(&record)?);
    ensure!(failed.is_empty(), "{} does not compile:\n{failed}", record.driver);
    Ok(())
}

fn modules(folder: &Path) -> Result<()> {
    std::fs::create_dir_all(folder)?;
    for variant in VARIANTS {
        let path = folder.join(format!("{}.spv", file(&variant.label())));
        let module = spirv(variant, &[]).with_context(|| variant.label())?;
        std::fs::write(path, bytes(&without_strides(&module)))?;
    }
    Ok(())
}
