use super::{Context, vector};
use crate::error::Error;
use crate::recording::Binding;
use crate::value::ValueId;

/// What a pointwise kernel is given of an operand.
#[derive(Clone)]
pub(crate) enum Part {
    /// The rows that belong to those of the output that a launch writes.
    Rows(ValueId),
    /// All of it, whichever they are.
    Whole(Binding),
}

/// The rows that one launch writes, counted in the kernel's vectors: four channels each, or one.
pub(crate) struct Band {
    /// Channels of a vector.
    pub vector: usize,
    /// Vectors of a row of the output.
    pub width: u32,
    /// Vectors that are written.
    pub count: u32,
    /// The first of them.
    pub first: u32,
    /// Of each operand and of the output: what is added to an index of the whole, and the first vector of the band.
    windows: Vec<[u32; 2]>,
}

impl Band {
    /// What a shader adds (wrapping) to an index of the whole of operand `at` to land in what is bound. The output comes
    /// after the operands.
    pub fn base(&self, at: usize) -> u32 {
        self.windows[at][0]
    }

    /// The band's first vector in what is bound of operand `at`.
    pub fn begin(&self, at: usize) -> u32 {
        self.windows[at][1]
    }
}

impl Context<'_> {
    /// Launches the kernel `stem`, a thread for each vector of `out`, in as few bands of rows as bindings allow. It binds
    /// `operands` in their order, then `out`; `params` makes its parameters for a band.
    pub fn pointwise<P: bytemuck::Pod>(
        &mut self,
        stem: &str,
        overrides: &[(&'static str, f64)],
        operands: &[Part],
        out: ValueId,
        params: impl Fn(&Band) -> P,
    ) -> Result<(), Error> {
        let parts: Vec<Part> = operands.iter().cloned().chain([Part::Rows(out)]).collect();
        let by_rows = |part: &Part| match part {
            Part::Rows(v) => Some(*v),
            Part::Whole(_) => None,
        };
        let values: Vec<ValueId> = parts.iter().filter_map(by_rows).collect();
        let channels: Vec<usize> = values.iter().map(|v| self.shape(*v).channels()).collect();
        let vector = vector(&channels);
        let variant = self.vectored(stem, vector)?;
        let (all, width) = (self.shape(out).rows(), self.shape(out).channels());
        let band = self.rows_that_fit(all, &values).max(1);
        for first in (0..all).step_by(band) {
            let rows = band.min(all - first);
            let (mut bindings, mut windows) = (Vec::new(), Vec::new());
            for part in &parts {
                let (binding, window) = match part {
                    Part::Rows(v) => {
                        let channels = self.shape(*v).channels();
                        let window = self.window(*v, first * channels..(first + rows) * channels)?;
                        let (at, base) = ((first * channels / vector) as u32, window.base(vector));
                        (window.binding, [base, at.wrapping_add(base)])
                    }
                    Part::Whole(binding) => (binding.clone(), [0; 2]),
                };
                bindings.push(binding);
                windows.push(window);
            }
            let count = rows * width / vector;
            let band = Band {
                vector,
                width: (width / vector) as u32,
                count: count as u32,
                first: (first * width / vector) as u32,
                windows,
            };
            let groups = self.flat(count);
            self.dispatch(variant, overrides, params(&band), bindings, groups);
        }
        Ok(())
    }
}
