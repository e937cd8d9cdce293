// The tile for cooperative matrices (tensor cores): subgroups multiply SIDE x SIDE fragments of f16 into f32 ones.
// While they work on one slice of k out of workgroup memory, each thread already has its part of the next slice on
// the way into registers. Both operands lie along k, as fragments are read, and are brought eight ks at a time, 16 bytes a
// load; the threads of a row are neighbours, so that a subgroup's load touches few lines of the cache, which is what loads
// cost by (docs/kernels.md). Slices are whole: each lies in one
// tap, and where that is is the same for all threads. The hooks are those of `gemm_plain`, for eight ks, and
// x_skip(k), which moves the tap on by k.
//   SIDE    rows and columns of a fragment, as the device's matrices have them
//   LANES   threads of a subgroup
//   FM, FN  fragments that a subgroup holds, down and across
//   FK      fragments along k in a slice
//   WM, WN  subgroups of a workgroup, down and across
//   XL, WL  rows of the left operand and columns of the right one that a thread brings eight ks of, a slice
//   HALVES  slices that workgroup memory has room for: two in turn leave one barrier a slice, one leaves room for a longer
#set tiles
SIDE=16 LANES=32 FM=4 FN=2 FK=4 WM=2 WN=4 XL=4 WL=4 HALVES=1
SIDE=16 LANES=32 FM=2 FN=2 FK=4 WM=4 WN=2 XL=4 WL=2 HALVES=1
SIDE=16 LANES=32 FM=2 FN=2 FK=4 WM=2 WN=2 XL=4 WL=4 HALVES=1
SIDE=16 LANES=32 FM=1 FN=1 FK=4 WM=2 WN=2 XL=2 WL=2 HALVES=1
SIDE=16 LANES=64 FM=4 FN=4 FK=2 WM=2 WN=2 XL=2 WL=2 HALVES=2
SIDE=16 LANES=64 FM=4 FN=2 FK=2 WM=2 WN=2 XL=2 WL=1 HALVES=2
SIDE=16 LANES=64 FM=2 FN=4 FK=2 WM=2 WN=1 XL=2 WL=2 HALVES=2
SIDE=16 LANES=64 FM=1 FN=2 FK=4 WM=2 WN=1 XL=2 WL=2 HALVES=2
SIDE=8 LANES=8 FM=1 FN=2 FK=4 WM=4 WN=2 XL=2 WL=2 HALVES=2
SIDE=8 LANES=32 FM=4 FN=4 FK=4 WM=2 WN=2 XL=2 WL=2 HALVES=2 SCALAR
#endset
// Those that sum slices of k.
#set split_tiles
SIDE=16 LANES=32 FM=4 FN=2 FK=4 WM=2 WN=4 XL=4 WL=4 HALVES=1
SIDE=16 LANES=32 FM=2 FN=2 FK=4 WM=2 WN=2 XL=4 WL=4 HALVES=1
SIDE=16 LANES=64 FM=4 FN=4 FK=2 WM=2 WN=2 XL=2 WL=2 HALVES=2
SIDE=16 LANES=64 FM=2 FN=4 FK=2 WM=2 WN=1 XL=2 WL=2 HALVES=2
SIDE=8 LANES=8 FM=1 FN=2 FK=4 WM=4 WN=2 XL=2 WL=2 HALVES=2
SIDE=8 LANES=32 FM=4 FN=4 FK=4 WM=2 WN=2 XL=2 WL=2 HALVES=2 SCALAR
#endset
const BM: u32 = WM * FM * SIDE;
const BN: u32 = WN * FN * SIDE;
const BK: u32 = FK * SIDE;
const BK8: u32 = BK / 8u;
const SIDE4: u32 = SIDE / 4u;
const THREADS: u32 = WM * WN * LANES;
const STEP: u32 = THREADS / BK8;
const_assert XL * STEP == BM && WL * STEP == BN;
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
    // Staging: thread `local` brings eight ks of each slice, of XL rows of the left operand and of WL columns of the right
    // one, STEP apart. Past the last row or column it is any that exists: nothing is stored there.
    let aside = local % BK8;
    let row = local / BK8;
    let to = row * ROW + 2u * aside;
    x_begin(m0, local);
#for i in 0..XL
    x_setup($iu, min(m0 + row + STEP * $iu, end - 1u), m0);
#endfor
#for i in 0..WL
    let w_row_$i = min(n0 + row + STEP * $iu, params.n - 1u) * (params.k / 8u) + aside;
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
    x_tap(k_first);
    x_along(k_first, aside);
#for i in 0..XL
    let x_$i = x_at($iu, k_first, aside);
#endfor
#for i in 0..WL
    let w_$i = w_at(w_row_$i + k_first / 8u);
#endfor
#for i in 0..XL
    put_x(to + STEP * $iu * ROW, kept($iu, x_$i));
#endfor
#for i in 0..WL
    put_w(to + STEP * $iu * ROW, w_kept(w_$i));
#endfor
    var half = 0u;
    var k0 = k_first;
    loop {
        workgroupBarrier();
        // After the last slice it is brought once more: nobody uses that.
        let step = select(0u, BK, k0 + BK < k_last);
        let next = k0 + step;
        x_skip(step);
        x_along(next, aside);
#for i in 0..XL
        let x_$i = x_at($iu, next, aside);
#endfor
#for i in 0..WL
        let w_$i = w_at(w_row_$i + next / 8u);
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
        if (HALVES == 1u) {
            // Whoever still reads this slice must be done.
            workgroupBarrier();
        }
        half = (half + 1u) % HALVES;
#for i in 0..XL
        put_x(half * X_HALF + to + STEP * $iu * ROW, kept($iu, x_$i));
#endfor
#for i in 0..WL
        put_w(half * W_HALF + to + STEP * $iu * ROW, w_kept(w_$i));
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
