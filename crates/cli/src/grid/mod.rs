//! `calotype grid`: one sheet of labelled pictures, drawn with each value of an axis and each of the others.

mod axes;
mod sheet;

use crate::args::{GenerateArgs, GridArgs};
use crate::device::OpenLoras;
use crate::exit::Usage;
use crate::files::OutputFiles;
use crate::hashes::Hashing;
use crate::progress::RunProgress;
use crate::report::Seconds;
use crate::text::Lines;
use crate::{device, generate, interrupt, memory, wanted};
use anyhow::Context;
use axes::{Axis, Cell};
use calotype::{OpenDevice, Order, Picture};
use sheet::Labels;
use std::ffi::OsString;
use std::time::Instant;

/// Cells that one model serves.
struct Group<'a> {
    args: &'a GenerateArgs,
    found: device::FoundModel,
    /// Each with its place on the sheet.
    orders: Vec<(usize, Order)>,
}

/// What decides which model a cell is drawn with.
fn model_of(args: &GenerateArgs) -> String {
    let picture = &args.picture;
    let GenerateArgs { device, memory, words, .. } = args;
    let nets = &picture.init.control.control_net;
    let files = (&picture.model, &picture.hub, &picture.assembly, &picture.refiner, nets, &words.embedding);
    format!("{:?}", (files, device, memory))
}

/// Checks all cells, then draws them, those of a model one after another.
pub fn run(args: &GridArgs, typed: &[OsString]) -> anyhow::Result<()> {
    if args.generate.preview.preview_file.is_some() {
        return Err(Usage("--preview-file: a grid has many runs to show: leave it out".into()).into());
    }
    let (axes, mut cells) = axes::cells(args, typed)?;
    for Cell { args, .. } in &mut cells {
        wanted::gather(args)?;
    }
    // A picture that is drawn again has its own.
    if args.generate.words.from_png.is_none() {
        axes::share_seed(&mut cells, calotype::random_seed());
    }
    let own = GenerateArgs { grid: true, ..args.generate.clone() };
    let batch = own.picture.batch_size.unwrap_or(1);
    let mut files = OutputFiles::new(&own, cells.len() as u64, batch)?;
    interrupt::install()?;
    let mut loras = OpenLoras::default();
    let groups = settled(&cells, &mut loras)?;
    let largest = groups.iter().flat_map(|group| &group.orders).map(|(_, order)| order);
    if let Some(largest) = largest.max_by_key(|order| order.batch_size * order.width * order.height) {
        memory::check_grid(cells.len() as u64, largest, calotype::host_room().as_ref())?;
    }

    let mut lines = Lines::default();
    // The places of what was drawn, in the order in which it was.
    let mut places = Vec::new();
    let first = groups.first().and_then(|group| group.orders.first()).map(|(_, order)| order.clone());
    let mut opened: Option<(String, OpenDevice)> = None;
    for group in groups {
        // As a rule all cells are drawn on one device.
        let wanted = format!("{:?}", group.args.device);
        if opened.as_ref().is_none_or(|(device, _)| *device != wanted) {
            opened = Some((wanted, group.args.device.device()?.open()?));
        }
        let Some((_, opened)) = &opened else { continue };
        let precision = group.args.device.precision(opened);
        let model =
            device::model(&group.found, &group.args.device, precision, &[], &group.args.words.embedding)?;
        let mut pipeline = device::pipeline(opened, model, precision, &group.args.memory);
        for (at, mut order) in group.orders {
            interrupt::check()?;
            places.push(at);
            pipeline.set_loras(&loras.open(&cells[at].args.picture.lora)?).context("--lora")?;
            let (cell, label) = (&cells[at], format!("[{}/{}] ", places.len(), cells.len()));
            let plan = pipeline.check(&order)?;
            let (start, hashing) = (Instant::now(), Hashing::begin(&cell.args, group.found.file()));
            let output = generate::draw(&mut pipeline, &order, RunProgress::new(label, own.json))?;
            let elapsed = start.elapsed();
            order.hashes = hashing.end();
            let mut report = generate::report(&cell.args, &order, &pipeline, &output, plan.peak_bytes);
            report.cell = Some(cell.values.clone());
            files.write(&order, &output, &mut report)?;
            if let (true, Some(first)) = (places.len() == cells.len(), &first) {
                let mut drawn = placed(&files.take_kept(), &places)?;
                drawn.sort_by_key(|(at, _)| *at);
                let drawn: Vec<Picture> = drawn.into_iter().map(|(_, picture)| picture).collect();
                files.write_sheet(first, &told(&axes), &labels(&axes).draw(&drawn), &mut report)?;
            }
            report.timings = Seconds::new(&output.timings, start.elapsed() - elapsed, start.elapsed());
            report.print(&mut lines, own.json, order.noise.is_none())?;
        }
    }
    Ok(lines.end()?)
}

/// The cells' orders, by model: mistakes are told before a device is opened, with the cell that has them.
fn settled<'a>(cells: &'a [Cell], loras: &mut OpenLoras) -> anyhow::Result<Vec<Group<'a>>> {
    let mut groups: Vec<(String, Group<'_>, calotype::Model)> = Vec::new();
    for (at, Cell { values, args }) in cells.iter().enumerate() {
        let of_cell = || {
            let place: Vec<String> = values.iter().map(|(flag, value)| format!("{flag}={value}")).collect();
            format!("the cell of {}", place.join(", "))
        };
        let key = model_of(args);
        let group = match groups.iter().position(|(known, ..)| *known == key) {
            Some(group) => group,
            None => {
                let found =
                    device::find_for(&args.picture, args.device.dtype, args.json).with_context(of_cell)?;
                let precision = args.device.likely_precision();
                let model = device::model(&found, &args.device, precision, &[], &args.words.embedding)
                    .with_context(of_cell)?;
                groups.push((key, Group { args, found, orders: Vec::new() }, model));
                groups.len() - 1
            }
        };
        let (_, group, model) = &mut groups[group];
        let laid = loras.open(&args.picture.lora).with_context(of_cell)?;
        pollster::block_on(model.set_loras(&laid)).context("--lora").with_context(of_cell)?;
        let recalled = wanted::recalled(args).with_context(of_cell)?;
        let mut request = generate::request(args, recalled.as_ref()).with_context(of_cell)?;
        request.prompts = generate::prompts(args, recalled.as_ref()).with_context(of_cell)?;
        generate::fit_noise(&mut request, model).with_context(of_cell)?;
        let order = request.settle(model).with_context(of_cell)?;
        group.orders.push((at, order));
    }
    // LoRAs are changed as seldom as can be.
    let first_with =
        |at: usize| cells.iter().position(|cell| cell.args.picture.lora == cells[at].args.picture.lora);
    for (_, group, _) in &mut groups {
        group.orders.sort_by_key(|(at, _)| first_with(*at));
    }
    Ok(groups.into_iter().map(|(_, group, _)| group).collect())
}

/// Each cell's pictures as one, with its place.
fn placed(pictures: &[Picture], places: &[usize]) -> anyhow::Result<Vec<(usize, Picture)>> {
    let batch = pictures.len() / places.len().max(1);
    let cells = pictures.chunks_exact(batch.max(1)).zip(places);
    cells.map(|(pictures, at)| Ok((*at, Picture::grid(pictures, None)?))).collect()
}

fn labels(axes: &[Axis]) -> Labels {
    let of = |side: &str| {
        let axis = axes.iter().find(|axis| axis.side == side);
        axis.map_or(vec![String::new()], |axis| axis.values.iter().map(|value| axis.label(value)).collect())
    };
    Labels { columns: of("--x"), rows: of("--y"), parts: of("--z") }
}

/// What A1111's script writes behind the first picture's settings (scripts/xyz_grid.py).
fn told(axes: &[Axis]) -> String {
    let mut text = String::from(", Script: X/Y/Z plot");
    for axis in axes {
        let side = axis.side.trim_start_matches('-').to_uppercase();
        let values = axis.values.join(", ").replace('"', "\\\"");
        text += &format!(", {side} Type: {}, {side} Values: \"{values}\"", axis.flag);
    }
    text
}
