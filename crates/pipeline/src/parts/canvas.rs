//! What a denoising loop is drawn for.

use crate::order::Order;
use calotype_graph::ops::Guide;
use calotype_models::changes::{FreeU, Weakened};

/// What decides the shapes of the denoising loop.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Canvas {
    /// Images at once.
    pub batch: usize,
    /// Pixels.
    pub height: usize,
    /// Pixels.
    pub width: usize,
    /// Prompts an image.
    pub prompts: usize,
    /// Whether the model sees the unconditional batch too.
    pub guided: bool,
    /// What becomes of the guided output.
    pub guide: Guide,
    /// Whether guidance remembers what it took.
    pub memory: bool,
    /// Whether clean samples are held within a quantile of their magnitudes.
    pub bounded: bool,
    /// Rows of the step table: model evaluations, rounded up so that another number of steps need not recompile.
    pub rows: usize,
    /// Noise tensors that the sampler adds, and what it keeps of a picture.
    pub noises: usize,
    /// Places of the text that is attended to.
    pub tokens: usize,
    /// How the UNet takes its skip connections, where not as they are.
    pub free_u: Option<FreeU>,
    /// Images for which the UNet is made worse.
    pub weakened: Option<Weakened>,
    /// How many layers of the UNet's way up are computed at each evaluation, where that is not all.
    pub layers: Option<usize>,
    /// The model's nets that steer it, a bit each.
    pub nets: u32,
}

impl Canvas {
    /// How many batches the model sees at once.
    pub fn parts(&self) -> usize {
        self.prompts + usize::from(self.guided)
    }

    /// Whether a net steers it.
    pub(crate) fn has_net(&self, n: usize) -> bool {
        self.nets >> n & 1 == 1
    }

    /// Those that the evaluations of an order's run take: where some are guided and others are not, first that of the guided
    /// ones.
    pub fn all_of(order: &Order, guided: bool) -> Vec<Self> {
        let mut all = vec![Self::of(order, guided)];
        for canvas in Self::each(order, guided) {
            if !all.contains(&canvas) {
                all.push(canvas);
            }
        }
        all
    }

    /// That of each of them.
    pub fn each(order: &Order, guided: bool) -> Vec<Self> {
        let first = Self::of(order, guided);
        let prompts = first.prompts.saturating_sub(order.guidance.prompts()).max(1);
        let own = Self { prompts, weakened: None, ..first };
        let of = |(guides, leads_away): (bool, bool)| match (guides || !guided, leads_away) {
            (false, _) => Self { guided: false, guide: Guide::Sum, ..own },
            (true, false) if first.weakened.is_some() => own,
            (true, _) => first,
        };
        let canvases = order.guides().into_iter().zip(order.leads_away()).map(of);
        canvases.zip(order.nets()).map(|(canvas, nets)| Self { nets, ..canvas }).collect()
    }

    /// What an order's run decides.
    pub fn of(order: &Order, guided: bool) -> Self {
        let weakened = order.guidance.away_from().map(|(by, ..)| Weakened {
            by,
            first: order.batch_size,
            images: order.batch_size,
        });
        Self {
            batch: order.batch_size,
            height: order.height,
            width: order.width,
            prompts: order.prompts_an_image(),
            guided,
            guide: if guided { order.guidance.guide(order.cfg_rescale) } else { Guide::Sum },
            memory: guided && order.guidance.remembers(),
            bounded: order.program.is_bounded(),
            rows: order.program.steps.len().next_multiple_of(64),
            noises: order.program.noises + order.kept_tensors(),
            tokens: order.tokens,
            free_u: order.free_u,
            weakened,
            layers: order.cache.layers(),
            nets: order.nets().into_iter().max().unwrap_or(0),
        }
    }
}
