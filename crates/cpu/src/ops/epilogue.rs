use super::activation;
use calotype_graph::Activation;
use rayon::prelude::*;

/// What follows a product or a convolution: `activation(y + bias + image_bias) + residual`.
pub(super) struct Epilogue<'a> {
    /// `[n]`.
    pub bias: Option<&'a [f32]>,
    /// `[images or 1, n]`, and how many rows of y an image has.
    pub image_bias: Option<(&'a [f32], usize)>,
    pub activation: Activation,
    /// Shaped as y.
    pub residual: Option<&'a [f32]>,
}

impl Epilogue<'_> {
    /// Finishes rows of `n` values, of which `first` is the first.
    pub fn apply(&self, y: &mut [f32], first: usize, n: usize) {
        let nothing = self.bias.is_none() && self.image_bias.is_none() && self.residual.is_none();
        if nothing && self.activation == Activation::None || n == 0 {
            return;
        }
        y.par_chunks_mut(n).enumerate().for_each(|(i, y)| {
            let row = first + i;
            if let Some(bias) = self.bias {
                add(y, bias);
            }
            if let Some((bias, rows)) = self.image_bias {
                let image = if bias.len() == n { 0 } else { row / rows };
                add(y, &bias[image * n..][..n]);
            }
            activation::apply(self.activation, y);
            if let Some(residual) = self.residual {
                add(y, &residual[row * n..][..n]);
            }
        });
    }
}

fn add(y: &mut [f32], x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
}
