// y = activation(x · weight + bias) + residual, the residual and bias where there are any. GATED: of every eight
// columns the last four are gates, and y = values · activation(gates) + residual, half as wide.
//   MOMENTS  also leaves each row's mean and squared deviations, eight columns at a time
//   NORM     x is normalised row by row (layer norm) as it is read, by such moments
//   SPLIT    sums slices of k instead, for
//   JOIN     which adds them up and does what is left to do
#variants {stored} {-, MOMENTS, NORM, SPLIT}
#variants {stored_in_panels} {ROWS} {-, MOMENTS, NORM, SPLIT}
#variants {A_F32, A_F16, A_H16} {JOIN} {-, MOMENTS}
#variants {stored_by_columns} {COOP} {split_tiles} {SPLIT}
#variants {stored_by_columns} {COOP} {tiles} {-, MOMENTS, NORM}
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
@group(0) @binding($next) var<storage, read> x: array<XV>;           // [M, K/4], or [M, K/8] for matrices
@group(0) @binding($next) var<storage, read> weight: array<WV>;      // [K, N/4], or [N, K/4], or blocks (weights)
#ifdef NORM
@group(0) @binding($next) var<storage, read> gamma: array<vec4<f32>>;   // [K/4]
@group(0) @binding($next) var<storage, read> beta: array<vec4<f32>>;    // [K/4]
@group(0) @binding($next) var<storage, read> moments: array<vec4<f32>>; // [M, K/16, 2]
#else
@group(0) @binding($next) var<storage, read> beside: array<XV>;      // [M, K/4 - x_width]: x's channels, continued
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
#import brought

var<private> x_row: vec4<u32>;

#ifdef NORM
#ifndef COOP
var<workgroup> sh_rows: array<vec2<f32>, BM>;

// A row's mean and 1 / deviation, which its threads share. A tile of matrices has no more room than it needs for its results.
fn share(row: u32, moments: vec2<f32>) { sh_rows[row] = moments; }
fn shared_of(row: u32) -> vec2<f32> { return sh_rows[row]; }
#endif
var<private> x_mean: vec4<f32>;
var<private> x_scale: vec4<f32>;
#for q in 0..2
var<private> gamma_$q: vec4<f32>; // of the k on their way
var<private> beta_$q: vec4<f32>;
#endfor

#import joined
#else
var<private> beside_row: vec4<u32>;
#endif

fn x_begin(m0: u32, local: u32) {
#ifdef NORM
    for (var r = local; r < BM; r += THREADS) {
        share(r, joined(min(m0 + r, params.m_base + params.m - 1u)));
    }
    workgroupBarrier();
#endif
}

fn x_setup(slot: u32, row: u32, m0: u32) {
    x_row[slot] = row * params.x_width + params.x_base;
#ifdef NORM
    let moments = shared_of(row - m0);
    x_mean[slot] = moments.x;
    x_scale[slot] = moments.y;
#else
    beside_row[slot] = row * (params.k / 4u - params.x_width) + params.beside_base - params.x_width;
#endif
}

fn x_tap(k: u32) {}

fn x_advance() {}

fn x_skip(k: u32) {}

// Which quad of a row k is in; one that exists.
fn k_quad(k: u32) -> u32 {
#ifdef COOP
    return k / 4u;
#else
    return min(k, params.k - 4u) / 4u;
#endif
}

fn x_along(k: u32, beyond: u32) {
#ifdef NORM
#ifdef COOP
#for q in 0..2
    gamma_$q = gamma[k_quad(k) + 2u * beyond + $qu];
    beta_$q = beta[k_quad(k) + 2u * beyond + $qu];
#endfor
#else
    gamma_0 = gamma[k_quad(k)];
    beta_0 = beta[k_quad(k)];
#endif
#endif
}

fn x_at(slot: u32, k: u32, beyond: u32) -> Brought {
#ifdef COOP
    let counts = true;
#else
    let counts = k < params.k;
#endif
    let quad = k_quad(k);
#ifndef NORM
    if (BESIDE & (quad >= params.x_width)) {
        return Brought(beside[lying(beside_row[slot] + quad) + beyond], counts);
    }
#endif
    return Brought(x[lying(x_row[slot] + quad) + beyond], counts);
}

#ifdef NORM
fn normal(slot: u32, value: vec4<f32>, gamma: vec4<f32>, beta: vec4<f32>) -> vec4<f32> {
    return fma((value - x_mean[slot]) * x_scale[slot], gamma, beta);
}
#endif

fn kept(slot: u32, b: Brought) -> SV {
#ifdef COOP
#ifdef NORM
    let low = vec4<f32>(unpack2x16float(b.value.x), unpack2x16float(b.value.y));
    let high = vec4<f32>(unpack2x16float(b.value.z), unpack2x16float(b.value.w));
    return Eight(vec4<f16>(normal(slot, low, gamma_0, beta_0)), vec4<f16>(normal(slot, high, gamma_1, beta_1)));
#else
    return eight_halves(b.value);
#endif
#elifdef NORM
    return select(SV(), normal(slot, from_a(b.value), gamma_0, beta_0), b.counts);
#else
    return select(SV(), from_a(b.value), b.counts);
#endif
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
