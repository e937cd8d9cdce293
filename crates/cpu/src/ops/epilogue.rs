use super::activation;
use calotype_graph::Activation;
use rayon::prelude::*;

/// What follows a product or a convolution: `activation(y + bias + image_bias) + residual`.
#[derive(Default)]
pub(super) struct Epilogue<'a> {
    /// `[n]`.
    pub bias: Option<&'a [f32]>,
    /// Added to every row of an image.
    pub image_bias: Option<ImageBias<'a>>,
    pub activation: Activation,
    /// Shaped as y.
    pub residual: Option<&'a [f32]>,
}

/// A row for each image, or one for all.
#[derive(Clone, Copy)]
pub(super) struct ImageBias<'a> {
    /// From the first image's row on.
    pub values: &'a [f32],
    /// From one image's row to the next; 0 where one serves all.
    pub stride: usize,
    /// Rows of y that an image has.
    pub rows: usize,
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
            if let Some(ImageBias { values, stride, rows }) = self.image_bias {
                add(y, &values[row / rows * stride..][..n]);
            }
            activation::apply(self.activation, y);
            if let Some(residual) = self.residual {
                add(y, &residual[row * n..][..n]);
            }
        });
    }
}

/// `y += x`.
pub(super) fn add(y: &mut [f32], x: &[f32]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += x);
}
