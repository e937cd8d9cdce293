// softmax(scale · q kᵀ) v, block by block with a running maximum and sum (Milakov and Gimelshein 2018,
// arXiv:1805.02867; Dao et al. 2022, arXiv:2205.14135): the score matrix is never held.
//   TEAM    threads that share a query row, each holding a slice of the head
//   SLICE4  vec4s of the head a thread holds: TEAM · SLICE4 · 4 is the largest head that fits
//   KEYS    keys staged in workgroup memory at a time
//   GROUP   keys folded into the running softmax at a time
//   BRING   vec4s of keys, and as many of values, that a thread brings at a time
#set heads
TEAM=1 SLICE4=10 KEYS=32 GROUP=8 BRING=5
TEAM=1 SLICE4=16 KEYS=16 GROUP=8 BRING=4
TEAM=2 SLICE4=10 KEYS=16 GROUP=8 BRING=5
TEAM=4 SLICE4=10 KEYS=8 GROUP=8 BRING=5
TEAM=4 SLICE4=16 KEYS=4 GROUP=4 BRING=4
TEAM=8 SLICE4=16 KEYS=2 GROUP=2 BRING=4
#endset
#variants {A_F32, A_F16, A_H16} {heads}
#import storage
#import attention_params

const THREADS: u32 = 64u;
const ROWS: u32 = THREADS / TEAM;
const WIDTH: u32 = TEAM * SLICE4;
const_assert BRING * THREADS == KEYS * WIDTH;
const NEVER: f32 = -3.0e38;

var<workgroup> k_tile: array<vec4<f32>, KEYS * WIDTH>;
var<workgroup> v_tile: array<vec4<f32>, KEYS * WIDTH>;
var<workgroup> partial: array<f32, GROUP * THREADS>; // [GROUP, ROWS, TEAM]

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let batch = workgroup.y / params.heads;
    let head = workgroup.y % params.heads;
    let member = local % TEAM;
    let row = workgroup.x * ROWS + local / TEAM;
    let first = member * SLICE4; // of the head's vec4s, this thread's slice
    let q_row = (batch * params.queries + min(row, params.queries - 1u)) * params.q_stride
        + head * params.head4 + params.q_base;
    let k_head = batch * params.keys * params.k_stride + head * params.head4 + params.k_base;
    let v_head = batch * params.keys * params.v_stride + head * params.head4 + params.v_base;

#for i in 0..SLICE4
    var q_$i = vec4<f32>(0.0);
    if (first + $iu < params.head4) {
        q_$i = from_a(q[q_row + first + $iu]) * params.scale;
    }
    var o_$i = vec4<f32>(0.0);
#endfor
    var top = NEVER; // the largest score so far
    var total = 0.0; // of the exponentials relative to it

    // With a causal mask no row of this workgroup looks past its last row.
    var end = params.keys;
    if (params.causal == 1u) {
        end = min(end, (workgroup.x + 1u) * ROWS);
    }
    for (var k0 = 0u; k0 < end; k0 += KEYS) {
        workgroupBarrier();
#for n in 0..BRING
        let i_$n = local + $nu * THREADS;
        let row_$n = min(k0 + i_$n / WIDTH, params.keys - 1u);
        let part_$n = min(i_$n % WIDTH, params.head4 - 1u);
        let kv_$n = k[k_head + row_$n * params.k_stride + part_$n];
        let vv_$n = v[v_head + row_$n * params.v_stride + part_$n];
#endfor
#for n in 0..BRING
        // Past the last key are numbers that get no weight.
        k_tile[i_$n] = select(vec4<f32>(0.0), from_a(kv_$n), i_$n % WIDTH < params.head4);
        v_tile[i_$n] = select(vec4<f32>(0.0), from_a(vv_$n), i_$n % WIDTH < params.head4);
#endfor
        workgroupBarrier();
        for (var g = 0u; g < KEYS; g += GROUP) {
#for j in 0..GROUP
            var d_$j = vec4<f32>(0.0);
#for i in 0..SLICE4
            d_$j = fma(q_$i, k_tile[(g + $ju) * WIDTH + first + $iu], d_$j);
#endfor
            var s_$j = d_$j.x + d_$j.y + d_$j.z + d_$j.w;
#endfor
            if (TEAM > 1u) {
                workgroupBarrier();
#for j in 0..GROUP
                partial[$ju * THREADS + local] = s_$j;
#endfor
                workgroupBarrier();
                let mine = local - member;
#for j in 0..GROUP
                s_$j = 0.0;
                for (var t = 0u; t < TEAM; t++) {
                    s_$j += partial[$ju * THREADS + mine + t];
                }
#endfor
            }
            var above = top;
#for j in 0..GROUP
            {
                let key = k0 + g + $ju;
                if ((key >= params.keys) | ((params.causal == 1u) & (key > row))) {
                    s_$j = NEVER;
                }
                above = max(above, s_$j);
            }
#endfor
            let shrink = exp2(top - above);
            top = above;
            total *= shrink;
#for i in 0..SLICE4
            o_$i *= shrink;
#endfor
#for j in 0..GROUP
            {
                // A key that no one may see has weight zero even while no key has been seen yet.
                let p = select(exp2(s_$j - top), 0.0, s_$j <= NEVER);
                total += p;
#for i in 0..SLICE4
                o_$i = fma(vec4<f32>(p), v_tile[(g + $ju) * WIDTH + first + $iu], o_$i);
#endfor
            }
#endfor
        }
    }

    if (row < params.queries) {
        let y_row = (batch * params.queries + row) * params.y_stride + head * params.head4 + params.y_base;
        let norm = 1.0 / total;
#for i in 0..SLICE4
        if (first + $iu < params.head4) {
            y[y_row + first + $iu] = to_a(o_$i * norm);
        }
#endfor
    }
}
