// The 64x64x16 tile that matmul and conv2d share: 64 threads, 8x8 outputs each, operands staged in 8 KiB of
// workgroup memory. The op that imports it defines
//   x_begin(m0, local)  what a workgroup whose rows begin at m0 needs to know of them all, once
//   x_setup(slot, row, m0)  remembers where row `row` of the left operand begins, for one of a thread's 4 rows
//   x_tap(k)            remembers k, which x_advance() moves on by 4
//   x_along(k, beyond)  brings what is the same for all rows at the ks of x_at
//   x_at(slot, k, beyond)   brings four consecutive k of that row, as many loads beyond k in the same tap
//   kept(slot, brought) what they are, once they have come
//   finish(row, column, a, b)  the epilogue and the store of two neighbours, the first at an even column
// A workgroup sums the slice of k that `gemm_slice` gives it.
#import weights
const THREADS: u32 = 64u;
const BM: u32 = 64u;
const BN: u32 = 64u;
const BK: u32 = 16u;
const BM4: u32 = 16u;
const BN4: u32 = 16u;

var<workgroup> x_tile: array<vec4<f32>, 256>; // [BK, BM/4]: four rows of the left operand at one k
var<workgroup> w_tile: array<vec4<f32>, 256>; // [BK, 2, BN/8]: four columns of the right operand at one k

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let m0 = params.m_base + workgroup.y * BM;
    let n0 = workgroup.x * BN4;
    let tx = local % 8u;
    let ty = local / 8u;
    // Staging: thread `local` brings k quad `local % 4` of rows local/4 + {0, 16, 32, 48} of the left operand,
    // and column quad local % 16 of ks local/16 + {0, 4, 8, 12} of the right one, or of columns as of rows where it lies
    // column by column. Past the last k the left operand is zero, and the right one any that exists; past the last
    // column too, where nothing is stored.
    let kq = (local % 4u) * 4u;
    let row = local / 4u;
    let wk = local / 16u;
    let wn = local % 16u;
    let column = min(n0 + wn, params.n / 4u - 1u);
    x_begin(m0, local);
    // Even columns lie in the tile's first half, odd ones in the second: a thread's two columns are neighbours.
    let wt = wn % 2u * 8u + wn / 2u;
#for i in 0..4
    x_setup($iu, min(m0 + row + 16u * $iu, params.m_base + params.m - 1u), m0);
#endfor
#for r in 0..4
    var acc_$r_0 = vec4<f32>(0.0);
    var acc_$r_1 = vec4<f32>(0.0);
    var acc_4$r_0 = vec4<f32>(0.0);
    var acc_4$r_1 = vec4<f32>(0.0);
#endfor

    x_tap(k_begin(workgroup.z) + kq);
    for (var k0 = k_begin(workgroup.z); k0 < k_end(workgroup.z); k0 += BK) {
        x_along(k0 + kq, 0u);
#for i in 0..4
        let x_$i = x_at($iu, k0 + kq, 0u);
#ifdef W_N16 W_N8 W_N4
        let w_$i = w_quad(min(4u * n0 + row + 16u * $iu, params.n - 1u), k0 + kq);
#else
        let w_$i = w_quad(column, k0 + wk + 4u * $iu);
#endif
#endfor
#for i in 0..4
        x_advance();
#endfor
        workgroupBarrier();
#for i in 0..4
        {
            let r = row + 16u * $iu;
            let at = kq * BM4 + r / 4u;
            let lane = r % 4u;
            let x = kept($iu, x_$i);
            x_tile[at][lane] = x.x;
            x_tile[at + BM4][lane] = x.y;
            x_tile[at + 2u * BM4][lane] = x.z;
            x_tile[at + 3u * BM4][lane] = x.w;
#ifdef W_N16 W_N8 W_N4
            let w = w_numbers(w_$i);
            let to = kq * BN4 + r / 4u % 2u * 8u + r / 8u;
            w_tile[to][lane] = w.x;
            w_tile[to + BN4][lane] = w.y;
            w_tile[to + 2u * BN4][lane] = w.z;
            w_tile[to + 3u * BN4][lane] = w.w;
#endif
        }
#ifndef W_N16 W_N8 W_N4
        w_tile[(wk + 4u * $iu) * BN4 + wt] = w_numbers(w_$i);
#endif
#endfor
        workgroupBarrier();
        for (var k = 0u; k < BK; k++) {
            let a0 = x_tile[k * BM4 + ty];
            let a1 = x_tile[k * BM4 + 8u + ty];
            let b0 = w_tile[k * BN4 + tx];
            let b1 = w_tile[k * BN4 + 8u + tx];
#for r in 0..4
            acc_$r_0 = fma(vec4<f32>(a0[$r]), b0, acc_$r_0);
            acc_$r_1 = fma(vec4<f32>(a0[$r]), b1, acc_$r_1);
#endfor
#for r in 0..4
            acc_4$r_0 = fma(vec4<f32>(a1[$r]), b0, acc_4$r_0);
            acc_4$r_1 = fma(vec4<f32>(a1[$r]), b1, acc_4$r_1);
#endfor
        }
    }

    let end = params.m_base + params.m;
    let before = y_begin(workgroup.z);
#for r in 0..4
    {
        let low = m0 + ty * 4u + $ru;
        if (low < end) {
            finish(before + low, n0 + 2u * tx, acc_$r_0, acc_$r_1);
        }
        let high = low + 32u;
        if (high < end) {
            finish(before + high, n0 + 2u * tx, acc_4$r_0, acc_4$r_1);
        }
    }
#endfor
}
