use gemm::Parallelism;

/// A matrix inside a slice, its rows and columns at any stride.
#[derive(Clone, Copy)]
pub(crate) struct Matrix<'a> {
    pub values: &'a [f32],
    pub rows: usize,
    pub columns: usize,
    pub row_stride: usize,
    pub column_stride: usize,
}

impl<'a> Matrix<'a> {
    /// `[rows, columns]` whose rows lie `row_stride` apart.
    pub fn new(values: &'a [f32], rows: usize, columns: usize, row_stride: usize) -> Self {
        Self { values, rows, columns, row_stride, column_stride: 1 }
    }

    pub fn transposed(self) -> Self {
        Self {
            values: self.values,
            rows: self.columns,
            columns: self.rows,
            row_stride: self.column_stride,
            column_stride: self.row_stride,
        }
    }

    fn fits(&self) -> bool {
        let last = (self.rows - 1) * self.row_stride + (self.columns - 1) * self.column_stride;
        last < self.values.len()
    }
}

/// On how many threads a product runs.
#[derive(Clone, Copy)]
pub(crate) enum Threads {
    /// The calling one: its caller is parallel already.
    One,
    /// All of them.
    All,
}

/// `y = scale · a b`, where y is `[a.rows, b.columns]` without gaps.
pub(crate) fn product(y: &mut [f32], scale: f32, a: Matrix<'_>, b: Matrix<'_>, threads: Threads) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert!(k == b.rows && y.len() == m * n, "[{m}, {k}] times [{}, {n}] into {} values", b.rows, y.len());
    if m * n == 0 {
        return;
    }
    if k == 0 {
        y.fill(0.0);
        return;
    }
    for (part, y) in y.chunks_mut(ROWS * n).enumerate() {
        let first = part * ROWS;
        let values = &a.values[first * a.row_stride..];
        multiply(y, scale, Matrix { values, rows: ROWS.min(m - first), ..a }, b, threads);
    }
}

/// Rows that are multiplied at a time: `gemm` packs a slice of them, some 512 numbers of each, which is 32 MiB.
const ROWS: usize = 1 << 14;

fn multiply(y: &mut [f32], scale: f32, a: Matrix<'_>, b: Matrix<'_>, threads: Threads) {
    let (m, n, k) = (a.rows, b.columns, a.columns);
    assert!(y.len() == m * n && a.fits() && b.fits(), "a matrix reaches past its values");
    let parallelism = match threads {
        Threads::One => Parallelism::None,
        Threads::All => Parallelism::Rayon(0),
    };
    let stride = |s: usize| s as isize;
    // SAFETY: y holds m·n values, the last element of a and of b lies inside its slice, and y, borrowed
    // mutably, overlaps neither.
    unsafe {
        gemm::gemm(
            m,
            n,
            k,
            y.as_mut_ptr(),
            1,
            stride(n),
            false,
            a.values.as_ptr(),
            stride(a.column_stride),
            stride(a.row_stride),
            b.values.as_ptr(),
            stride(b.column_stride),
            stride(b.row_stride),
            0.0,
            scale,
            false,
            false,
            false,
            parallelism,
        );
    }
}
