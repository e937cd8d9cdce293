// The tile for processors that run shaders in software, where the threads of a workgroup are lanes of vectors: 32 rows
// by 256 columns, each of 64 threads summing four columns of all rows. Weights are gathered once for 32 rows, in panels
// that lie in memory as they are read; numbers of the left operand are the same for all threads and so read once for a
// whole vector of them, from workgroup memory, which costs such a device less than storage does. The same hooks as
// `gemm_plain`.
const THREADS: u32 = 64u;
const BM: u32 = 32u;
const BN4: u32 = 64u;
const BK: u32 = 8u;
// vec4s: the weight lies as [N/PANEL, K, PANEL] where PANEL divides its width, else as [K, N]; so do scales
const PANEL: u32 = 8u;

var<workgroup> tile: array<vec4<f32>, 256>; // [BK/4, BM] of the left operand; at the end [4, BN4] of the result

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    // Workgroups down a column block follow each other, so that its weights stay in the cache.
    let id = workgroup.x + workgroup.y * workgroups.x;
    let end = params.m_base + params.m;
    let m0 = params.m_base + id % workgroups.y * BM;
    let n0 = id / workgroups.y * BN4;
    let width = params.n / 4u;
    let column = min(n0 + local, width - 1u);
    let panels = width % PANEL == 0u;
    let w_step = select(width, PANEL, panels);
#ifdef W_Q8 W_Q4
    let w_first = select(column, column / PANEL * PANEL * (params.k / QUADS) + column % PANEL, panels);
    let s_first = select(column, column / PANEL * PANEL * (params.k / 32u) + column % PANEL, panels);
    let scales = params.n * (params.k / 32u) * BITS;
#else
    let w_first = select(column, column / PANEL * PANEL * params.k + column % PANEL, panels);
#endif
    let row = local % BM;
    let quad = local / BM;
    x_begin(m0, local);
    // A loop of one turn: what comes out of a loop is kept across barriers, all else is computed again after each
    // (LLVM's coroutines), divisions included.
    for (var once = 0u; once <= params.k >> 31u; once++) {
        x_setup(0u, min(m0 + row, end - 1u), m0);
    }
#for g in 0..8
#for i in 0..4
    var acc_$g_$i = vec4<f32>(0.0);
#endfor
#endfor
    x_tap(k_begin(workgroup.z) + 4u * quad);
    for (var k0 = k_begin(workgroup.z); k0 < k_end(workgroup.z); k0 += BK) {
        workgroupBarrier();
        x_along(k0 + 4u * quad, 0u);
        tile[quad * BM + row] = kept(0u, x_at(0u, k0 + 4u * quad, 0u));
        x_advance();
        x_advance();
        workgroupBarrier();
        if (n0 + local < width) {
#ifdef W_Q8 W_Q4
            // A block's ks all have their scale; of all columns those of a turn are in one block.
            let at = scales + 2u * (s_first + k0 / 32u * w_step);
            let scale = vec4<f32>(unpack2x16float(weight[at]), unpack2x16float(weight[at + 1u]));
#endif
#for q in 0..2
#ifdef W_Q8
#for c in 0..4
            let w_$q_$c = quants(weight[w_first + (k0 + 4u * $qu + $cu) * w_step], 0u) * scale;
#endfor
#elifdef W_Q4
            let low_$q = weight[w_first + (k0 / 2u + 2u * $qu) * w_step];
            let high_$q = weight[w_first + (k0 / 2u + 2u * $qu + 1u) * w_step];
            let w_$q_0 = quants(low_$q, 0u) * scale;
            let w_$q_1 = quants(low_$q, 1u) * scale;
            let w_$q_2 = quants(high_$q, 0u) * scale;
            let w_$q_3 = quants(high_$q, 1u) * scale;
#else
#for c in 0..4
            // Past the last k the left operand is zero, and the weight any that exists.
            let w_$q_$c = from_w(weight[w_first + min(k0 + 4u * $qu + $cu, params.k - 1u) * w_step]);
#endfor
#endif
#for g in 0..8
#for i in 0..4
            {
                let four = tile[$qu * BM + 4u * $gu + $iu];
#for c in 0..4
                acc_$g_$i = fma(vec4<f32>(four[$c]), w_$q_$c, acc_$g_$i);
#endfor
            }
#endfor
#endfor
#endfor
        }
    }
    // finish() takes neighbouring columns together: four rows at a time change hands.
    let pair = local % 32u * 2u;
    let before = y_begin(workgroup.z);
#for g in 0..8
    workgroupBarrier();
#for i in 0..4
    tile[$iu * BN4 + local] = acc_$g_$i;
#endfor
    workgroupBarrier();
#for i in 0..2
    {
        let r = local / 32u * 2u + $iu;
        let y_row = m0 + 4u * $gu + r;
        if (y_row < end) {
            finish(before + y_row, n0 + pair, tile[r * BN4 + pair], tile[r * BN4 + pair + 1u]);
        }
    }
#endfor
#endfor
}
