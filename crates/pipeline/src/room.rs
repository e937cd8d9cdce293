//! Whether a run fits, before it starts.

use crate::budget::Budget;
use crate::error::{Error, Remedy, Result, Shortage};
use crate::model::Model;
use crate::order::Order;
use crate::parts::{MemoryPlan, plan_within};
use calotype_graph::{Caps, Precision};

/// Fails where a plan takes more than there is: says what it needs, what there is, and what would fit.
pub fn fits(
    plan: &MemoryPlan,
    budget: &Budget,
    (model, order): (&Model, &Order),
    precision: Precision,
    caps: &Caps,
) -> Result<()> {
    let Some(room) = budget.limit().filter(|room| room.bytes < plan.peak_bytes) else { return Ok(()) };
    let size = |order: &Order| largest((budget, room.bytes), model, order, precision, caps);
    let f16 = caps.host.is_none() && precision == Precision::F32;
    let one = Order { batch_size: 1, ..plain(order) };
    let remedy = if let Some(largest) = size(order)? {
        Remedy::Size { largest, batch: order.batch_size > 1, f16 }
    } else if let Some(largest) = size(&one)? {
        Remedy::Batch { largest, f16 }
    } else {
        Remedy::Model
    };
    let (needed, weights, host) = (plan.peak_bytes, plan.weight_bytes, caps.host.is_some());
    Err(Error::NotEnoughMemory(Box::new(Shortage { needed, weights, room, remedy, host })))
}

/// An order whose memory is another's, for any batch.
fn plain(order: &Order) -> Order {
    let [prompts, negative_prompts] = [(); 2].map(|()| vec![String::new()]);
    Order { prompts, negative_prompts, noise: None, ..order.clone() }
}

/// The largest `[width, height]` of an order's shape that fits.
fn largest(
    (budget, limit): (&Budget, u64),
    model: &Model,
    order: &Order,
    precision: Precision,
    caps: &Caps,
) -> Result<Option<[usize; 2]>> {
    let factor = model.config.vae.factor();
    let [height, width] = [order.height, order.width].map(|side| side / factor);
    let steps = height.min(width);
    let side = |of: usize, step: usize| (of * step / steps).max(1) * factor;
    let fits = |step: usize| {
        let [width, height] = [width, height].map(|of| side(of, step));
        let smaller = Order { width, height, ..plain(order) };
        plan_within(budget, model, &smaller, precision, caps).is_ok_and(|plan| plan.peak_bytes <= limit)
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
    Ok((low > 0).then(|| [width, height].map(|of| side(of, low))))
}
