// y = activation(x · weight + bias) + residual, the residual and bias where there are any. GATED: of every eight
// columns the last four are gates, and y = values · activation(gates) + residual, half as wide.
#import storage
#import activations

struct Params {
    m: u32,      // rows of this dispatch
    n: u32,      // columns
    k: u32,      // inner length
    m_base: u32, // first row of this dispatch
    x_base: u32, // added (wrapping) to vec4 indices: the bound windows begin there
    residual_base: u32,
    y_base: u32,
    y_width: u32, // vec4s of a row of y
}
override BIAS: bool = false;
override RESIDUAL: bool = false;
override GATED: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;           // [M, K/4]
@group(0) @binding(2) var<storage, read> weight: array<WV>;      // [K, N/4]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [N/4]
@group(0) @binding(4) var<storage, read> residual: array<AV>;    // as y
@group(0) @binding(5) var<storage, read_write> y: array<AV>;     // [M, N/4], or [M, N/8] where gated

var<private> x_row: array<u32, 4>;

fn x_setup(slot: u32, row: u32) {
    x_row[slot] = row * (params.k / 4u) + params.x_base;
}

fn x_tap(k: u32) {}

fn x_advance() {}

fn x_skip(k: u32) {}

fn x_at(slot: u32, k: u32) -> vec4<f32> {
    if (k >= params.k) {
        return vec4<f32>(0.0);
    }
    return from_a(x[x_row[slot] + k / 4u]);
}

fn w_at(k: u32, column: u32) -> vec4<f32> {
    if (k >= params.k || column >= params.n / 4u) {
        return vec4<f32>(0.0);
    }
    return from_w(weight[k * (params.n / 4u) + column]);
}

fn biased(column: u32, value: vec4<f32>) -> vec4<f32> {
    return select(value, value + bias[column], BIAS);
}

fn store(row: u32, column: u32, value: vec4<f32>) {
    var v = value;
    if (RESIDUAL) {
        v += from_a(residual[row * params.y_width + column + params.residual_base]);
    }
    y[row * params.y_width + column + params.y_base] = to_a(v);
}

fn finish(row: u32, column: u32, a: vec4<f32>, b: vec4<f32>) {
    let width = params.n / 4u;
    if (GATED) {
        if (column + 1u < width) {
            store(row, column / 2u, biased(column, a) * activate(biased(column + 1u, b)));
        }
        return;
    }
    if (column < width) {
        store(row, column, activate(biased(column, a)));
    }
    if (column + 1u < width) {
        store(row, column + 1u, activate(biased(column + 1u, b)));
    }
}

#ifdef ROWS
#import gemm_rows
#else
#ifdef COOP
#import gemm_coop
#else
#import gemm
#endif
#endif
