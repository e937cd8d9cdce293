// attention for processors that run shaders in software, where the threads of a workgroup are lanes of vectors: each
// thread holds whole rows of queries and results, HOLD of them, and all read the same numbers of keys and values from
// workgroup memory at the same time. No thread waits for another's part of a sum, and nothing branches.
//   SLICE4   vec4s of the largest head that fits
//   HOLD     rows of a thread, so that what is read serves more than one
//   KEYS     keys staged in workgroup memory, and folded into the running softmax, at a time
//   THREADS  of a workgroup
#set heads
THREADS=64 HOLD=2 KEYS=4 SLICE4=10
THREADS=64 HOLD=2 KEYS=4 SLICE4=16
THREADS=64 HOLD=2 KEYS=4 SLICE4=20
THREADS=32 HOLD=2 KEYS=4 SLICE4=40
#endset
#variants {A_F32, A_H16} {heads}
#import storage
#import attention_params

const NEVER: f32 = -3.0e38;
const TILE: u32 = KEYS * SLICE4;

var<workgroup> k_tile: array<vec4<f32>, TILE>; // [KEYS, SLICE4]
var<workgroup> v_tile: array<vec4<f32>, TILE>;

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let batch = workgroup.y / params.heads;
    let head = workgroup.y % params.heads;
    let q_head = batch * params.queries * params.q_stride + head * params.head4 + params.q_base;
    let k_head = batch * params.keys * params.k_stride + head * params.head4 + params.k_base;
    let v_head = batch * params.keys * params.v_stride + head * params.head4 + params.v_base;
    let row0 = workgroup.x * THREADS * HOLD + local;
    let last = params.head4 - 1u;

#for r in 0..HOLD
    let row_$r = row0 + $ru * THREADS;
    let q_row_$r = q_head + min(row_$r, params.queries - 1u) * params.q_stride;
    var top_$r = NEVER;  // the largest score so far
    var total_$r = 0.0;  // of the exponentials relative to it
#for i in 0..SLICE4
    let q_$r_$i = select(vec4<f32>(0.0), from_a(q[q_row_$r + min($iu, last)]) * params.scale, $iu <= last);
    var o_$r_$i = vec4<f32>(0.0);
#endfor
#endfor
    var end = params.keys;
    if (params.causal == 1u) {
        end = min(end, (workgroup.x + 1u) * THREADS * HOLD);
    }
    for (var k0 = 0u; k0 < end; k0 += KEYS) {
        workgroupBarrier();
        for (var i = local; i < TILE; i += THREADS) {
            // Past the head the queries are zero, and past the keys the weights: any number that exists will do.
            let key = min(k0 + i / SLICE4, params.keys - 1u);
            let part = min(i % SLICE4, last);
            k_tile[i] = from_a(k[k_head + key * params.k_stride + part]);
            v_tile[i] = from_a(v[v_head + key * params.v_stride + part]);
        }
        workgroupBarrier();
#for r in 0..HOLD
#for j in 0..KEYS
        var s_$r_$j = 0.0;
#endfor
#endfor
#for i in 0..SLICE4
#for j in 0..KEYS
        {
            let a = k_tile[$ju * SLICE4 + $iu];
#for r in 0..HOLD
#for c in 0..4
            s_$r_$j = fma(q_$r_$i[$c], a[$c], s_$r_$j);
#endfor
#endfor
        }
#endfor
#endfor
#for r in 0..HOLD
        let end_$r = select(params.keys, min(params.keys, row_$r + 1u), params.causal == 1u);
        var above_$r = top_$r;
#for j in 0..KEYS
        above_$r = max(above_$r, select(NEVER, s_$r_$j, k0 + $ju < end_$r));
#endfor
        let shrink_$r = exp2(top_$r - above_$r);
        top_$r = above_$r;
        total_$r *= shrink_$r;
#for j in 0..KEYS
        // A key that no one may see has weight zero even while no key has been seen yet.
        let p_$r_$j = select(0.0, exp2(s_$r_$j - above_$r), k0 + $ju < end_$r);
        total_$r += p_$r_$j;
#endfor
#endfor
#for i in 0..SLICE4
#for r in 0..HOLD
        o_$r_$i *= shrink_$r;
#endfor
#for j in 0..KEYS
        {
            let a = v_tile[$ju * SLICE4 + $iu];
#for r in 0..HOLD
            o_$r_$i = fma(vec4<f32>(p_$r_$j), a, o_$r_$i);
#endfor
        }
#endfor
#endfor
    }

#for r in 0..HOLD
    if (row_$r < params.queries) {
        let y_row = (batch * params.queries + row_$r) * params.y_stride + head * params.head4 + params.y_base;
        let norm = 1.0 / total_$r;
#for i in 0..SLICE4
        if ($iu <= last) {
            y[y_row + $iu] = to_a(o_$r_$i * norm);
        }
#endfor
    }
#endfor
}
