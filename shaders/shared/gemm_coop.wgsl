// The tile for cooperative matrices (tensor cores): subgroups multiply SIDE x SIDE fragments of f16 into f32 ones.
// While they work on one slice of k out of workgroup memory, each thread already has its part of the next slice on
// the way into registers; two halves of workgroup memory in turn leave one barrier a slice. Both operands lie along k, as
// fragments are read, and are brought eight ks at a time, which drivers make one load of where the op says WHOLE: then a
// slice lies in one tap, and where it lies is the same for all threads. The hooks are those of `gemm_plain`, and
// x_skip(k), which moves the tap on by k.
//   SIDE    rows and columns of a fragment, as the device's matrices have them
//   LANES   threads of a subgroup
//   FM, FN  fragments that a subgroup holds, down and across
//   FK      fragments along k in a slice
//   WM, WN  subgroups of a workgroup, down and across
//   WL      pairs of vec4s of the right operand that a thread brings a slice; of the left one it is 2
#set tiles
SIDE=16 LANES=32 FM=4 FN=2 FK=2 WM=2 WN=4 WL=2
SIDE=16 LANES=32 FM=2 FN=2 FK=2 WM=4 WN=2 WL=1
SIDE=16 LANES=32 FM=2 FN=2 FK=2 WM=2 WN=2 WL=2
SIDE=16 LANES=32 FM=1 FN=1 FK=4 WM=2 WN=2 WL=2
SIDE=16 LANES=64 FM=4 FN=4 FK=2 WM=2 WN=2 WL=2
SIDE=16 LANES=64 FM=4 FN=2 FK=2 WM=2 WN=2 WL=1
SIDE=16 LANES=64 FM=2 FN=4 FK=2 WM=2 WN=1 WL=2
SIDE=16 LANES=64 FM=1 FN=2 FK=4 WM=2 WN=1 WL=2
SIDE=8 LANES=8 FM=1 FN=2 FK=4 WM=4 WN=2 WL=2
SIDE=8 LANES=32 FM=4 FN=4 FK=4 WM=2 WN=2 WL=2 SCALAR
#endset
// Those that sum slices of k.
#set split_tiles
SIDE=16 LANES=32 FM=4 FN=2 FK=2 WM=2 WN=4 WL=2
SIDE=16 LANES=32 FM=2 FN=2 FK=2 WM=2 WN=2 WL=2
SIDE=16 LANES=64 FM=4 FN=4 FK=2 WM=2 WN=2 WL=2
SIDE=16 LANES=64 FM=2 FN=4 FK=2 WM=2 WN=1 WL=2
SIDE=8 LANES=8 FM=1 FN=2 FK=4 WM=4 WN=2 WL=2
SIDE=8 LANES=32 FM=4 FN=4 FK=4 WM=2 WN=2 WL=2 SCALAR
#endset
const BM: u32 = WM * FM * SIDE;
const BN: u32 = WN * FN * SIDE;
const BK: u32 = FK * SIDE;
const BK8: u32 = BK / 8u;
const SIDE4: u32 = SIDE / 4u;
const THREADS: u32 = WM * WN * LANES;
const STEP: u32 = THREADS / BK8;
const_assert 2u * STEP == BM && WL * STEP == BN;
// Rows in workgroup memory are padded by 16 bytes, so that a fragment's rows lie in different banks.
const ROW: u32 = BK / 4u + 2u;
const X_HALF: u32 = BM * ROW;
const W_HALF: u32 = BN * ROW;

#import weights
#import fragments

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
    let end = params.m_base + params.m;
    let m0 = params.m_base + workgroup.y * BM;
    let n0 = workgroup.x * BN;
    let k_first = k_begin(workgroup.z);
    let k_last = k_end(workgroup.z);
    // Staging: thread `local` brings a pair of neighbouring quads of each slice, of two rows of the left operand and of WL
    // columns of the right one, STEP apart. Past the last column nothing is stored, and past the last k the left operand is
    // zero: the right one is any that exists there.
    let aside = local % BK8 * 2u;
    let row = local / BK8;
    let to = row * ROW + aside;
#for q in 0..2
    // Where a quad lies from a slice's first k on; where all is WHOLE, how far beyond that k, which all threads share.
    let k_$q = select(4u * (aside + $qu), 0u, WHOLE);
    let beyond_$q = select(0u, aside + $qu, WHOLE);
#endfor
    x_begin(m0, local);
#for i in 0..2
    x_setup($iu, min(m0 + row + STEP * $iu, end - 1u), m0);
#endfor
#for i in 0..WL
    let w_row_$i = min(n0 + row + STEP * $iu, params.n - 1u) * (params.k / 4u);
#endfor
    // This subgroup's fragments.
    let above = subgroup / WN * FM * SIDE;
    let left = subgroup % WN * FN * SIDE;
#for i in 0..FM
#for j in 0..FN
    var acc_$i_$j = coop_mat$SIDEx$SIDE<f32, C>();
#endfor
#endfor

    // The first slice is put down before the loop, and each next one after the products of the one before.
    x_tap(k_first + k_0);
#for i in 0..WL
    let w_$i = w_eight(w_row_$i, k_first + k_0, beyond_0);
#endfor
#for q in 0..2
    x_along($qu, k_first + k_$q, beyond_$q);
#for i in 0..2
    let x_$i_$q = x_at($iu, k_first + k_$q, beyond_$q);
#endfor
    if (!WHOLE) {
        x_advance();
    }
#endfor
#for q in 0..2
#for i in 0..2
    put_x(to + STEP * $iu * ROW + $qu, kept($iu, $qu, x_$i_$q));
#endfor
#for i in 0..WL
    put_w(to + STEP * $iu * ROW + $qu, w_half(w_$i, $qu));
#endfor
#endfor
    var half = 0u;
    var k0 = k_first;
    loop {
        workgroupBarrier();
        // After the last slice it is brought once more, or what is past the end: nobody uses that.
        let step = select(0u, BK, !WHOLE | (k0 + BK < k_last));
        let next = k0 + step;
        x_skip(select(BK - 8u, step, WHOLE));
#for i in 0..WL
        let w_$i = w_eight(w_row_$i, next + k_0, beyond_0);
#endfor
#for q in 0..2
        x_along($qu, next + k_$q, beyond_$q);
#for i in 0..2
        let x_$i_$q = x_at($iu, next + k_$q, beyond_$q);
#endfor
        if (!WHOLE) {
            x_advance();
        }
#endfor
#for k in 0..FK
        {
#for i in 0..FM
            let a_$i = coopLoadT<coop_mat$SIDEx$SIDE<f16, A>>(
                &x_tile[UNIT * (half * X_HALF + (above + $iu * SIDE) * ROW + $ku * SIDE4)], UNIT * ROW);
#endfor
#for j in 0..FN
            // Column by column.
            let b_$j = coopLoad<coop_mat$SIDEx$SIDE<f16, B>>(
                &w_tile[UNIT * (half * W_HALF + (left + $ju * SIDE) * ROW + $ku * SIDE4)], UNIT * ROW);
#for i in 0..FM
            acc_$i_$j = coopMultiplyAdd(a_$i, b_$j, acc_$i_$j);
#endfor
#endfor
        }
#endfor
        half = 1u - half;
#for q in 0..2
#for i in 0..2
        put_x(half * X_HALF + to + STEP * $iu * ROW + $qu, kept($iu, $qu, x_$i_$q));
#endfor
#for i in 0..WL
        put_w(half * W_HALF + to + STEP * $iu * ROW + $qu, w_half(w_$i, $qu));
#endfor
#endfor
        // Tested here, since there is a slice always: so NVK's compiler leaves the sums in their registers.
        k0 += BK;
        if (k0 >= k_last) {
            break;
        }
    }

    // A fragment's numbers lie in a subgroup's threads in an order that only the device knows, so each goes through
    // workgroup memory on its way out.
    let stage = subgroup * SIDE * SIDE4;
    let before = y_begin(workgroup.z);
#for i in 0..FM
#for j in 0..FN
    workgroupBarrier();
    coopStoreT(acc_$i_$j, &s_tile[UNIT * stage], UNIT * SIDE4);
    workgroupBarrier();
    for (var l = lane; l < SIDE * SIDE4 / 2u; l += LANES) {
        let r = l / (SIDE4 / 2u);
        let c = l % (SIDE4 / 2u) * 2u;
        let at = stage + r * SIDE4 + c;
        let y_row = m0 + above + $iu * SIDE + r;
        if (y_row < end) {
            finish(before + y_row, (n0 + left + $ju * SIDE) / 4u + c, staged(at), staged(at + 1u));
        }
    }
#endfor
#endfor
}
