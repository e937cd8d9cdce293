// The 64x64x16 tile that matmul and conv2d share: 64 threads, 8x8 outputs each, operands staged in 8 KiB of
// workgroup memory. The op that imports it defines
//   x_begin(m0, local)  what a workgroup whose rows begin at m0 needs to know of them all, once
//   x_setup(slot, row, m0)  remembers where row `row` of the left operand begins, for one of a thread's 4 rows
//   x_tap(k)            remembers k, which x_advance() moves on by 4
//   x_at(slot, k)       four consecutive k of that row
//   w_at(k, column)     four consecutive columns of the right operand, column in units of 4
//   finish(row, column, a, b)  the epilogue and the store of two neighbours, the first at an even column
// A workgroup sums the slice of k that `gemm_slice` gives it.
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
    // and column quad local % 16 of ks local/16 + {0, 4, 8, 12} of the right one.
    let kq = (local % 4u) * 4u;
    let row = local / 4u;
    let wk = local / 16u;
    let wn = local % 16u;
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
#for i in 0..4
        let x_$i = x_at($iu, k0 + kq);
        let w_$i = w_at(k0 + wk + 4u * $iu, n0 + wn);
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
            x_tile[at][lane] = x_$i.x;
            x_tile[at + BM4][lane] = x_$i.y;
            x_tile[at + 2u * BM4][lane] = x_$i.z;
            x_tile[at + 3u * BM4][lane] = x_$i.w;
        }
        w_tile[(wk + 4u * $iu) * BN4 + wt] = w_$i;
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
