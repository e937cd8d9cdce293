//! BOFT: rotations in stages, each of which mixes outputs that lie further apart.

use super::algebra::{Weight, add_scaled};
use super::kind::{Kind, Piece, Shapes, Values, Wrong, misfit};
use super::oft::{gains, rescale_fits, rotations};
use Piece::{Blocks, Rescale};

/// `blocks` `[stages, k, b, b]`: stage i takes rows `2^i · b/2` apart together, two of each group of such runs by turns, and
/// turns them in blocks of b; at strength m each stage by `m·R + (1 − m)·I`. Alpha and `rescale` are OFT's (Liu et al. 2024,
/// arXiv:2311.06243; LyCORIS' `functional/boft.py`).
pub(super) struct Boft;

impl Kind for Boft {
    fn name(&self) -> &'static str {
        "BOFT"
    }

    fn pieces(&self) -> &'static [Piece] {
        &[Blocks, Rescale]
    }

    fn tells(&self, shapes: &Shapes) -> bool {
        shapes.has(Blocks) && shapes.of(Blocks).len() != 3
    }

    fn plain_alpha(&self) -> bool {
        true
    }

    fn lacks(&self, _shapes: &Shapes) -> Option<Piece> {
        None
    }

    fn check(&self, shapes: &Shapes, weight: &[usize]) -> Result<(), Wrong> {
        let outputs = weight.first().copied().unwrap_or(0);
        let fits = match shapes.of(Blocks) {
            [stages, blocks, b, c] => {
                let reach = u32::try_from(*stages).ok().and_then(|n| b.checked_shl(n)).map(|reach| reach / 2);
                b == c
                    && b.is_multiple_of(2)
                    && *b > 0
                    && blocks.checked_mul(*b) == Some(outputs)
                    && reach.is_some_and(|reach| reach > 0 && outputs.is_multiple_of(reach))
            }
            _ => false,
        };
        if fits { rescale_fits(shapes, weight) } else { Err(misfit(shapes, Blocks, weight)) }
    }

    fn apply(&self, weight: &mut Weight, values: &Values, factor: Option<f64>, strength: f64) {
        let blocks = &values[&Blocks];
        let (rows, columns, b) = (weight.rows(), weight.columns(), blocks.shape[3]);
        let turns = rotations(blocks, factor, rows, false);
        let mut now: Vec<f64> = weight.values.iter().map(|v| f64::from(*v)).collect();
        for (stage, turns) in turns.chunks(blocks.shape[1]).enumerate() {
            let apart = (1 << stage) * (b / 2);
            // The row that lies at a place of a stage's order.
            let row = |at: usize| (at / (2 * apart) * 2 + at % 2) * apart + at / 2 % apart;
            let mut next = vec![0.0; now.len()];
            for at in 0..rows {
                let (block, i) = (at / b, at % b);
                let sum = &mut next[row(at) * columns..][..columns];
                for j in 0..b {
                    let own = if i == j { 1.0 - strength } else { 0.0 };
                    let by = strength * turns[block][i * b + j] + own;
                    add_scaled(sum, by, now[row(block * b + j) * columns..][..columns].iter().copied());
                }
            }
            now = next;
        }
        let gains = gains(values, strength);
        for (i, (w, v)) in weight.values.iter_mut().zip(now).enumerate() {
            *w = (v * gains(i / columns)) as f32;
        }
    }
}
