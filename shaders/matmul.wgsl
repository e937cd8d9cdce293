// y = activation(x · weight + bias) + residual, the residual and bias where there are any.
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
    residual_width: u32, // 0 where one residual row serves all rows, else n / 4
}
override BIAS: bool = false;
override RESIDUAL: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;           // [M, K/4]
@group(0) @binding(2) var<storage, read> weight: array<WV>;      // [K, N/4]
@group(0) @binding(3) var<storage, read> bias: array<vec4<f32>>; // [N/4]
@group(0) @binding(4) var<storage, read> residual: array<AV>;    // [M, N/4]
@group(0) @binding(5) var<storage, read_write> y: array<AV>;     // [M, N/4]

var<private> x_row: array<u32, 4>;

fn x_setup(slot: u32, row: u32) {
    x_row[slot] = row * (params.k / 4u) + params.x_base;
}

fn x_tap(k: u32) {}

fn x_advance() {}

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

fn finish(row: u32, column: u32, value: vec4<f32>) {
    if (column >= params.n / 4u) {
        return;
    }
    var v = value;
    if (BIAS) {
        v += bias[column];
    }
    v = activate(v);
    if (RESIDUAL) {
        v += from_a(residual[row * params.residual_width + column + params.residual_base]);
    }
    y[row * (params.n / 4u) + column + params.y_base] = to_a(v);
}

#ifdef ROWS
#import gemm_rows
#else
#import gemm
#endif
