// matmul with one thread an output and no vectors: for channel counts that are no multiple of four, and the
// plain twin that the tiled kernel is measured against.
#variants {A_F32 W_F32, A_F32 W_F16, A_F16 W_F16} {VEC1}
#import storage
#import activations
#import flat

struct Params {
    m: u32,
    n: u32,
    k: u32,
    k_slice: u32,
    m_base: u32,
    x_base: u32,
    residual_base: u32,
    y_base: u32,
    y_width: u32, // n
    x_width: u32, // k
    beside_base: u32,
    eps: f32,
}
override BIAS: bool = false;
override RESIDUAL: bool = false;
// Never so: these come by fours.
override GATED: bool = false;
override BESIDE: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;        // [M, K]
@group(0) @binding(2) var<storage, read> weight: array<WV>;   // [K, N]
@group(0) @binding(3) var<storage, read> bias: array<f32>;    // [N]
@group(0) @binding(4) var<storage, read> residual: array<AV>; // [M, N]
@group(0) @binding(5) var<storage, read_write> y: array<AV>;  // [M, N]

@compute @workgroup_size(FLAT)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = flat_index(workgroup, workgroups, local);
    if (i >= params.m * params.n) {
        return;
    }
    let row = params.m_base + i / params.n;
    let column = i % params.n;
    var sum = 0.0;
    for (var k = 0u; k < params.k; k++) {
        sum = fma(from_a(x[row * params.k + k + params.x_base]), from_w(weight[k * params.n + column]), sum);
    }
    if (BIAS) {
        sum += bias[column];
    }
    sum = activate(sum);
    if (RESIDUAL) {
        sum += from_a(residual[row * params.y_width + column + params.residual_base]);
    }
    y[row * params.n + column + params.y_base] = to_a(sum);
}
