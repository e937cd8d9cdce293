//! The little linear algebra that changes take. Sums are formed in f64.

use calotype_tensor::parallel::prelude::*;

/// A shape's first axis, and the product of the others.
pub(super) fn matrix(shape: &[usize]) -> [usize; 2] {
    [shape.first().copied().unwrap_or(1), shape.iter().skip(1).product()]
}

/// A tensor's numbers.
pub(crate) struct Array {
    pub shape: Vec<usize>,
    pub values: Vec<f32>,
}

impl Array {
    /// The first axis.
    pub fn rows(&self) -> usize {
        matrix(&self.shape)[0]
    }

    /// All other axes.
    pub fn columns(&self) -> usize {
        matrix(&self.shape)[1]
    }

    /// Its rows as columns.
    pub fn transposed(&self) -> Self {
        let (rows, columns) = (self.rows(), self.columns());
        let values = (0..columns).flat_map(|c| (0..rows).map(move |r| self.values[r * columns + c]));
        Self { shape: vec![columns, rows], values: values.collect() }
    }

    pub fn to_f64(&self) -> Vec<f64> {
        self.values.iter().map(|v| f64::from(*v)).collect()
    }
}

/// A weight while it is changed, `[out, in, …]`, or a bias.
pub(crate) struct Weight<'a> {
    pub shape: &'a [usize],
    pub values: &'a mut [f32],
}

impl Weight<'_> {
    /// The first axis.
    pub fn rows(&self) -> usize {
        matrix(self.shape)[0]
    }

    /// All other axes.
    pub fn columns(&self) -> usize {
        matrix(self.shape)[1]
    }

    /// The second axis.
    pub fn inputs(&self) -> usize {
        self.shape.get(1).copied().unwrap_or(1)
    }

    /// Adds a row at a time, `factor` times what `write` writes over given the row's number and the row as it is.
    pub fn add(&mut self, factor: f64, write: impl Fn(usize, &[f32], &mut [f64]) + Sync) {
        let columns = self.columns();
        if self.values.is_empty() {
            return;
        }
        let rows = self.values.par_chunks_mut(columns).enumerate();
        rows.for_each_init(
            || vec![0.0; columns],
            |sum, (at, row)| {
                write(at, row, sum);
                for (w, v) in row.iter_mut().zip(&*sum) {
                    *w = (f64::from(*w) + factor * v) as f32;
                }
            },
        );
    }
}

/// `left · right`, `[rows, rank]` times `[rank, columns]`.
pub(super) struct Product {
    rank: usize,
    left: Vec<f64>,
    right: Vec<f64>,
}

impl Product {
    /// Of two tensors, whose axes but the first are taken as one.
    pub fn new(left: &Array, right: &Array) -> Self {
        Self { rank: right.rows(), left: left.to_f64(), right: right.to_f64() }
    }

    /// Tucker's form: `Σ core[i, j, …] · a[i, out] · b[j, in]`.
    pub fn tucker(core: &Array, a: &Array, b: &Array) -> Self {
        let ([ranks, others], inputs, outputs) = ([core.rows(), core.shape[1]], b.columns(), a.columns());
        let taps = core.columns() / others;
        let mut right = vec![0.0; ranks * inputs * taps];
        for (core, right) in core.values.chunks(others * taps).zip(right.chunks_mut(inputs * taps)) {
            for (core, b) in core.chunks(taps).zip(b.values.chunks(inputs)) {
                for (b, right) in b.iter().zip(right.chunks_mut(taps)) {
                    add_scaled(right, f64::from(*b), core.iter().map(|v| f64::from(*v)));
                }
            }
        }
        let left =
            (0..outputs).flat_map(|out| (0..ranks).map(move |i| f64::from(a.values[i * outputs + out])));
        Self { rank: ranks, left: left.collect(), right }
    }

    /// Writes a row.
    pub fn row(&self, at: usize, sum: &mut [f64]) {
        sum.fill(0.0);
        let columns = sum.len();
        for (left, right) in self.left[at * self.rank..][..self.rank].iter().zip(self.right.chunks(columns)) {
            add_scaled(sum, *left, right.iter().copied());
        }
    }

    /// All of it.
    pub fn all(&self, rows: usize) -> Vec<f64> {
        let columns = self.right.len() / self.rank;
        let mut all = vec![0.0; rows * columns];
        all.par_chunks_mut(columns).enumerate().for_each(|(at, row)| self.row(at, row));
        all
    }
}

/// `sum += factor · values`.
pub(super) fn add_scaled(sum: &mut [f64], factor: f64, values: impl IntoIterator<Item = f64>) {
    sum.iter_mut().zip(values).for_each(|(sum, v)| *sum += factor * v);
}

/// Cayley's transform `(I + Q)(I − Q)⁻¹` of a skew-symmetric matrix, which is a rotation (Cayley 1846).
pub(super) fn cayley(q: &[f64], n: usize) -> Vec<f64> {
    let with_unit = |sign: f64| {
        let mut m: Vec<f64> = q.iter().map(|v| sign * v).collect();
        m.iter_mut().step_by(n + 1).for_each(|v| *v += 1.0);
        m
    };
    // The two commute.
    solve(with_unit(-1.0), with_unit(1.0), n)
}

/// `a⁻¹ · b` by elimination with pivots in columns.
fn solve(mut a: Vec<f64>, mut b: Vec<f64>, n: usize) -> Vec<f64> {
    for at in 0..n {
        let pivot = (at..n).max_by(|x, y| a[x * n + at].abs().total_cmp(&a[y * n + at].abs())).unwrap_or(at);
        for column in 0..n {
            a.swap(at * n + column, pivot * n + column);
            b.swap(at * n + column, pivot * n + column);
        }
        let by = a[at * n + at];
        let [own_a, own_b] = [&mut a, &mut b].map(|m| {
            m[at * n..][..n].iter_mut().for_each(|v| *v /= by);
            m[at * n..][..n].to_vec()
        });
        for row in (0..n).filter(|row| *row != at) {
            let by = -a[row * n + at];
            add_scaled(&mut a[row * n..][..n], by, own_a.iter().copied());
            add_scaled(&mut b[row * n..][..n], by, own_b.iter().copied());
        }
    }
    b
}
