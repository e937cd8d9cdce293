// y = activation(x · weight + bias) + residual, the residual and bias where there are any. GATED: of every eight
// columns the last four are gates, and y = values · activation(gates) + residual, half as wide.
//   MOMENTS  also leaves each row's mean and squared deviations, eight columns at a time
//   NORM     x is normalised row by row (layer norm) as it is read, by such moments
//   SPLIT    sums slices of k instead, for
//   JOIN     which adds them up and does what is left to do
#variants {A_F32 W_F32, A_F32 W_F16, A_F32 W_H16, A_F16 W_F16, A_H16 W_H16} {-, MOMENTS, NORM, SPLIT}
#variants {A_F32 W_F32, A_F32 W_H16, A_H16 W_H16} {ROWS} {-, MOMENTS, NORM, SPLIT}
#variants {A_F32, A_F16, A_H16} {JOIN} {-, MOMENTS}
#variants {A_F16 W_F16} {COOP} {split_tiles} {SPLIT}
#variants {A_F16 W_F16} {COOP} {tiles} {-, MOMENTS, NORM}
#import storage
#import activations

struct Params {
    m: u32,      // rows of this dispatch
    n: u32,      // columns
    k: u32,      // inner length
    k_slice: u32, // of a workgroup: all of k, but for SPLIT and JOIN
    m_base: u32, // first row of this dispatch
    x_base: u32, // added (wrapping) to vec4 indices: the bound windows begin there
    residual_base: u32,
    y_base: u32,
    y_width: u32, // vec4s of a row of y
    x_width: u32, // vec4s of a row of x; what lies beside it begins there
    beside_base: u32,
    eps: f32,     // added to the variance
}
override BIAS: bool = false;
override RESIDUAL: bool = false;
override GATED: bool = false;
override BESIDE: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
#ifdef JOIN
@group(0) @binding($next) var<storage, read> sums: array<vec4<f32>>; // [slices, M, N/4]
#else
@group(0) @binding($next) var<storage, read> x: array<AV>;           // [M, K/4]
@group(0) @binding($next) var<storage, read> weight: array<WV>;      // [K, N/4]
#ifdef NORM
@group(0) @binding($next) var<storage, read> gamma: array<vec4<f32>>;   // [K/4]
@group(0) @binding($next) var<storage, read> beta: array<vec4<f32>>;    // [K/4]
@group(0) @binding($next) var<storage, read> moments: array<vec4<f32>>; // [M, K/16, 2]
#else
@group(0) @binding($next) var<storage, read> beside: array<AV>;      // [M, K/4 - x_width]: x's channels, continued
#endif
#endif
#ifdef SPLIT
@group(0) @binding($next) var<storage, read_write> sums: array<vec4<f32>>; // [slices, M, N/4]
#else
@group(0) @binding($next) var<storage, read> bias: array<vec4<f32>>; // [N/4]
@group(0) @binding($next) var<storage, read> residual: array<AV>;    // as y
@group(0) @binding($next) var<storage, read_write> y: array<AV>;     // [M, N/4], or [M, N/8] where gated
#ifdef MOMENTS
@group(0) @binding($next) var<storage, read_write> moments: array<vec2<f32>>; // [M, N/8]
#endif
#endif

#ifndef JOIN
var<private> x_row: array<u32, 4>;

#ifdef NORM
var<workgroup> sh_rows: array<vec2<f32>, BM>; // mean and 1 / deviation
var<private> x_norm: array<vec2<f32>, 4>;

// Joins a row's moments (Chan, Golub and LeVeque 1979), those of eight columns at a time, two at a time.
fn joined(row: u32) -> vec2<f32> {
    let count = params.k / 16u;
    let begin = row * count;
    let pivot = moments[begin].x;
    var d = vec2<f32>(0.0);
    var squares = vec2<f32>(0.0);
    var inside = vec2<f32>(0.0);
    for (var i = 0u; i < count; i++) {
        let m = moments[begin + i];
        let off = m.xz - pivot;
        d += off;
        squares = fma(off, off, squares);
        inside += m.yw;
    }
    let parts = f32(2u * count);
    let mean = (d.x + d.y) / parts;
    let between = (squares.x + squares.y) / parts - mean * mean;
    let variance = max(between, 0.0) + (inside.x + inside.y) / f32(params.k);
    return vec2<f32>(pivot + mean, 1.0 / sqrt(variance + params.eps));
}
#else
var<private> beside_row: array<u32, 4>;
#endif

fn x_begin(m0: u32, local: u32) {
#ifdef NORM
    for (var r = local; r < BM; r += THREADS) {
        sh_rows[r] = joined(min(m0 + r, params.m_base + params.m - 1u));
    }
    workgroupBarrier();
#endif
}

fn x_setup(slot: u32, row: u32, m0: u32) {
    x_row[slot] = row * params.x_width + params.x_base;
#ifdef NORM
    x_norm[slot] = sh_rows[row - m0];
#else
    beside_row[slot] = row * (params.k / 4u - params.x_width) + params.beside_base - params.x_width;
#endif
}

fn x_tap(k: u32) {}

fn x_advance() {}

fn x_skip(k: u32) {}

fn x_at(slot: u32, k: u32) -> vec4<f32> {
    if (k >= params.k) {
        return vec4<f32>(0.0);
    }
#ifdef NORM
    let v = (from_a(x[x_row[slot] + k / 4u]) - x_norm[slot].x) * x_norm[slot].y;
    return fma(v, gamma[k / 4u], beta[k / 4u]);
#else
    if (BESIDE && k / 4u >= params.x_width) {
        return from_a(beside[beside_row[slot] + k / 4u]);
    }
    return from_a(x[x_row[slot] + k / 4u]);
#endif
}

fn w_at(k: u32, column: u32) -> vec4<f32> {
    if (k >= params.k || column >= params.n / 4u) {
        return vec4<f32>(0.0);
    }
    return from_w(weight[k * (params.n / 4u) + column]);
}
#import gemm_slice
#endif

#ifndef SPLIT
fn biased(column: u32, value: vec4<f32>) -> vec4<f32> {
    return select(value, value + bias[column], BIAS);
}

// Returns what is stored, as it will be read.
fn store(row: u32, column: u32, value: vec4<f32>) -> vec4<f32> {
    var v = value;
    if (RESIDUAL) {
        v += from_a(residual[row * params.y_width + column + params.residual_base]);
    }
    let stored = to_a(v);
    y[row * params.y_width + column + params.y_base] = stored;
    return from_a(stored);
}

fn finish(row: u32, column: u32, a: vec4<f32>, b: vec4<f32>) {
    let width = params.n / 4u;
    if (GATED) {
        if (column + 1u < width) {
            store(row, column / 2u, biased(column, a) * activate(biased(column + 1u, b)));
        }
        return;
    }
#ifdef MOMENTS
    if (column + 1u < width) {
        let u = store(row, column, activate(biased(column, a)));
        let v = store(row, column + 1u, activate(biased(column + 1u, b)));
        let mean = (lanes(u) + lanes(v)) / 8.0;
        let du = u - mean;
        let dv = v - mean;
        moments[row * (width / 2u) + column / 2u] = vec2<f32>(mean, lanes(du * du) + lanes(dv * dv));
    }
#else
    if (column < width) {
        store(row, column, activate(biased(column, a)));
    }
    if (column + 1u < width) {
        store(row, column + 1u, activate(biased(column + 1u, b)));
    }
#endif
}
#endif

#import gemm
