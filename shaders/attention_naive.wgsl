// attention with one thread an output element and no vectors: for heads whose size is no multiple of four, and
// the plain twin that the tiled kernel is measured against. It walks the keys twice, so it holds no scores.
#variants {A_F32, A_F16} {VEC1}
#import storage
#import flat

struct Params {
    queries: u32,
    keys: u32,
    heads: u32,
    head: u32,
    batch: u32,
    q_stride: u32,
    k_stride: u32,
    v_stride: u32,
    y_stride: u32,
    q_base: u32,
    k_base: u32,
    v_base: u32,
    y_base: u32,
    scale: f32, // times log2(e)
    causal: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<AV>;       // [B, queries, heads, head]
@group(0) @binding(2) var<storage, read> k: array<AV>;       // [B, keys, heads, head]
@group(0) @binding(3) var<storage, read> v: array<AV>;       // [B, keys, heads, head]
@group(0) @binding(4) var<storage, read_write> y: array<AV>; // [B, queries, heads, head]

fn score(q_at: u32, k_at: u32) -> f32 {
    var sum = 0.0;
    for (var i = 0u; i < params.head; i++) {
        sum = fma(from_a(q[q_at + i]), from_a(k[k_at + i]), sum);
    }
    return sum * params.scale;
}

@compute @workgroup_size(FLAT)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = flat_index(workgroup, workgroups, local);
    let width = params.heads * params.head;
    if (i >= params.batch * params.queries * width) {
        return;
    }
    let column = i % width;
    let head = column / params.head;
    let row = i / width % params.queries;
    let batch = i / width / params.queries;
    let q_at = (batch * params.queries + row) * params.q_stride + head * params.head + params.q_base;
    var end = params.keys;
    if (params.causal == 1u) {
        end = min(end, row + 1u);
    }
    var top = -3.0e38;
    for (var key = 0u; key < end; key++) {
        top = max(top, score(q_at, (batch * params.keys + key) * params.k_stride + head * params.head + params.k_base));
    }
    var total = 0.0;
    var sum = 0.0;
    for (var key = 0u; key < end; key++) {
        let at = batch * params.keys + key;
        let p = exp2(score(q_at, at * params.k_stride + head * params.head + params.k_base) - top);
        total += p;
        sum = fma(p, from_a(v[at * params.v_stride + column + params.v_base]), sum);
    }
    y[(batch * params.queries + row) * params.y_stride + column + params.y_base] = to_a(sum / total);
}
