// The tile for processors that run shaders in software: each of 64 threads computes one row of 32 columns. All threads
// read the same numbers of the right operand at the same time, which such a device loads once for a whole vector of
// threads; the left operand stays in registers. The same hooks as `gemm`.
const BM: u32 = 64u;
const BN4: u32 = 8u;
const BK: u32 = 16u;

var<workgroup> w_tile: array<vec4<f32>, 128>; // [BK, BN/4]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let end = params.m_base + params.m;
    let row = params.m_base + workgroup.y * BM + local;
    let n0 = workgroup.x * BN4;
    x_setup(0u, min(row, end - 1u));
#for j in 0..8
    var acc_$j = vec4<f32>(0.0);
#endfor
    x_tap(0u);
    for (var k0 = 0u; k0 < params.k; k0 += BK) {
        workgroupBarrier();
#for i in 0..2
        w_tile[local + 64u * $iu] = w_at(k0 + local / BN4 + 8u * $iu, n0 + local % BN4);
#endfor
        workgroupBarrier();
#for q in 0..4
        let x_$q = x_at(0u, k0 + 4u * $qu);
        x_advance();
#endfor
#for q in 0..4
#for c in 0..4
#for j in 0..8
        acc_$j = fma(vec4<f32>(x_$q[$c]), w_tile[(4u * $qu + $cu) * BN4 + $ju], acc_$j);
#endfor
#endfor
#endfor
    }
    if (row < end) {
        finish(row, n0, acc_0, acc_1);
        finish(row, n0 + 2u, acc_2, acc_3);
        finish(row, n0 + 4u, acc_4, acc_5);
        finish(row, n0 + 6u, acc_6, acc_7);
    }
}
