//! Whether a run fits, before it starts.

use crate::error::{Error, Result, Shortage};
use crate::model::Model;
use crate::order::Order;
use crate::parts::{MemoryPlan, plan};
use calotype_graph::{Caps, Precision, Room};

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
