//! Whether a run fits, before it starts.

use crate::error::{Error, Result, Shortage};
use crate::model::Model;
use crate::order::Order;
use crate::parts::MemoryPlan;
use crate::pipeline::plan;
use calotype_graph::{Caps, Error as GraphError, Precision, Room};
use calotype_tensor::{DType, Shape};

/// Fails where a port is larger than any buffer of the device.
pub(crate) fn check_ports<'a>(
    ports: impl Iterator<Item = (&'a str, Shape, DType)>,
    caps: &Caps,
) -> Result<()> {
    for (name, shape, dtype) in ports {
        let (needed, limit) = (caps.bytes(shape, dtype), caps.max_buffer);
        if needed > limit {
            return Err(GraphError::BufferLimit { node: name.into(), needed, limit }.into());
        }
    }
    Ok(())
}

/// What a picture takes in the host's memory besides what an executor there holds for it: copies of registers and pixels
/// while they are made, read and written to a file, and the pictures of the batch; or, while weights are loaded and before
/// there are activations, those that threads are laying out, of 64 MiB at a time or a larger one: as they were, as f32 and
/// in their new order.
pub(crate) fn host_bytes<'a>(
    ports: impl Iterator<Item = (&'a str, Shape)>,
    threads: usize,
    largest_weight: u64,
    activation_bytes: u64,
) -> u64 {
    const AT_ONCE: u64 = 64 << 20;
    let (mut registers, mut pixels, mut images) = (0, 0, 0);
    for (name, shape) in ports {
        if name.ends_with("registers") {
            (registers, images) = (shape.bytes(DType::F32), shape.dims()[1] as u64);
        } else if name.ends_with("pixels") {
            pixels = shape.bytes(DType::U32);
        }
    }
    let copies = 3 * (registers + pixels) + images.saturating_mul(pixels);
    let at_once = largest_weight.saturating_mul(threads as u64).min(largest_weight.max(AT_ONCE));
    let loading = at_once.saturating_mul(3);
    copies.max(loading.saturating_sub(activation_bytes))
}

/// Fails where a plan takes more than there is: says what it needs, what there is, and what would fit.
pub fn fits(
    plan: &MemoryPlan,
    room: Option<&Room>,
    (model, order): (&Model, &Order),
    precision: Precision,
    caps: &Caps,
) -> Result<()> {
    let Some(room) = room.filter(|room| room.bytes < plan.peak_bytes) else { return Ok(()) };
    let size = |order: &Order| largest(room, model, order, precision, caps);
    let f16 = if caps.host.is_none() && precision == Precision::F32 { ", or --dtype f16" } else { "" };
    let one = Order { batch_size: 1, ..plain(order) };
    let remedy = if let Some(size) = size(order)? {
        let fewer = if order.batch_size > 1 { ", or a smaller --batch-size" } else { "" };
        format!("choose a smaller --width and --height (of this shape at most {size} fits){fewer}{f16}")
    } else if let Some(size) = size(&one)? {
        format!("choose a smaller --batch-size (of this shape at most {size} fits at 1){f16}")
    } else {
        "no --width and --height are small enough: choose a smaller model, or free some memory".into()
    };
    Err(Error::NotEnoughMemory(Box::new(Shortage {
        needed: bytes(plan.peak_bytes),
        weights: bytes(plan.weight_bytes),
        owner: room.owner.clone(),
        free: bytes(room.bytes),
        remedy,
        backend: if caps.host.is_some() { " --backend cpu" } else { "" },
    })))
}

/// An order whose memory is another's, for any batch.
fn plain(order: &Order) -> Order {
    let [prompts, negative_prompts] = [(); 2].map(|()| vec![String::new()]);
    Order { prompts, negative_prompts, noise: None, ..order.clone() }
}

/// The largest size of an order's shape that fits, as `width x height`.
fn largest(
    room: &Room,
    model: &Model,
    order: &Order,
    precision: Precision,
    caps: &Caps,
) -> Result<Option<String>> {
    let factor = model.config.vae.factor();
    let [height, width] = [order.height, order.width].map(|side| side / factor);
    let steps = height.min(width);
    let side = |of: usize, step: usize| (of * step / steps).max(1) * factor;
    let fits = |step: usize| {
        let [width, height] = [width, height].map(|of| side(of, step));
        let smaller = Order { width, height, ..plain(order) };
        plan(model, &smaller, precision, caps).is_ok_and(|plan| plan.peak_bytes <= room.bytes)
    };
    // Of the steps up to `low` all fit, from `high` on none.
    let (mut low, mut high) = (0, steps + 1);
    while low + 1 < high {
        let middle = low.midpoint(high);
        if fits(middle) {
            low = middle;
        } else {
            high = middle;
        }
    }
    Ok((low > 0).then(|| format!("{}x{}", side(width, low), side(height, low))))
}

/// Bytes as people read them: `512 B`, `3.4 MiB`, `1.92 GiB`.
pub fn bytes(n: u64) -> String {
    let value = n as f64;
    match n {
        0..1024 => format!("{n} B"),
        1024..1_048_576 => format!("{:.1} KiB", value / 1024.0),
        1_048_576..1_073_741_824 => format!("{:.1} MiB", value / 1_048_576.0),
        _ => format!("{:.2} GiB", value / 1_073_741_824.0),
    }
}
