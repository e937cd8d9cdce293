// The tile for cooperative matrices (tensor cores): subgroups multiply SIDE x SIDE fragments of f16 into f32 ones.
// While they work on one slice of k out of workgroup memory, each thread already has its part of the next slice on
// the way into registers; two halves of workgroup memory in turn leave one barrier a slice. The hooks are those of
// `gemm_plain`, and x_skip(k), which moves the tap on by k.
//   SIDE    rows and columns of a fragment, as the device's matrices have them
//   LANES   threads of a subgroup
//   FM, FN  fragments that a subgroup holds, down and across
//   FK      fragments along k in a slice
//   WM, WN  subgroups of a workgroup, down and across
//   WL      vec4s of the right operand that a thread brings a slice; of the left one it is 4
#set tiles
SIDE=16 LANES=32 FM=4 FN=2 FK=2 WM=2 WN=4 WL=4
SIDE=16 LANES=32 FM=2 FN=2 FK=2 WM=4 WN=2 WL=2
SIDE=16 LANES=32 FM=2 FN=2 FK=2 WM=2 WN=2 WL=4
SIDE=16 LANES=32 FM=1 FN=1 FK=4 WM=2 WN=2 WL=4
SIDE=16 LANES=64 FM=4 FN=4 FK=2 WM=2 WN=2 WL=4
SIDE=16 LANES=64 FM=2 FN=4 FK=2 WM=2 WN=1 WL=4
SIDE=8 LANES=8 FM=1 FN=2 FK=4 WM=4 WN=2 WL=4
SIDE=8 LANES=32 FM=4 FN=4 FK=4 WM=2 WN=2 WL=4 SCALAR
#endset
// Those that sum slices of k.
#set split_tiles
SIDE=16 LANES=32 FM=4 FN=2 FK=2 WM=2 WN=4 WL=4
SIDE=16 LANES=32 FM=2 FN=2 FK=2 WM=2 WN=2 WL=4
SIDE=16 LANES=64 FM=4 FN=4 FK=2 WM=2 WN=2 WL=4
SIDE=16 LANES=64 FM=2 FN=4 FK=2 WM=2 WN=1 WL=4
SIDE=8 LANES=8 FM=1 FN=2 FK=4 WM=4 WN=2 WL=4
SIDE=8 LANES=32 FM=4 FN=4 FK=4 WM=2 WN=2 WL=4 SCALAR
#endset
const BM: u32 = WM * FM * SIDE;
const BN4: u32 = WN * FN * SIDE / 4u;
const BK: u32 = FK * SIDE;
const BK4: u32 = BK / 4u;
const SIDE4: u32 = SIDE / 4u;
const THREADS: u32 = WM * WN * LANES;
const X_STEP: u32 = THREADS / BK4;
const W_STEP: u32 = THREADS / BN4;
const_assert 4u * X_STEP == BM && WL * W_STEP == BK;
// Rows in workgroup memory are padded by 16 bytes, so that a fragment's rows lie in different banks.
const X_ROW: u32 = BK4 + 2u;
const W_ROW: u32 = BN4 + 2u;
const S_ROW: u32 = SIDE4 + 1u;
const X_HALF: u32 = BM * X_ROW;
const W_HALF: u32 = BK * W_ROW;

// Metal's matrices are loaded from scalars, Vulkan's from vectors too, which take fewer instructions to fill.
#ifdef SCALAR
const UNIT: u32 = 4u;
var<workgroup> x_tile: array<f16, 8u * X_HALF>;         // [2, BM, X_ROW] vec4s
var<workgroup> w_tile: array<f16, 8u * W_HALF>;         // [2, BK, W_ROW]
var<workgroup> s_tile: array<f32, 4u * WM * WN * SIDE * S_ROW>; // [subgroup, SIDE, S_ROW]

fn put_x(at: u32, v: vec4<f32>) {
#for i in 0..4
    x_tile[4u * at + $iu] = f16(v[$i]);
#endfor
}

fn put_w(at: u32, v: vec4<f32>) {
#for i in 0..4
    w_tile[4u * at + $iu] = f16(v[$i]);
#endfor
}

fn staged(at: u32) -> vec4<f32> {
    return vec4<f32>(s_tile[4u * at], s_tile[4u * at + 1u], s_tile[4u * at + 2u], s_tile[4u * at + 3u]);
}
#else
const UNIT: u32 = 1u;
var<workgroup> x_tile: array<vec4<f16>, 2u * X_HALF>;
var<workgroup> w_tile: array<vec4<f16>, 2u * W_HALF>;
var<workgroup> s_tile: array<vec4<f32>, WM * WN * SIDE * S_ROW>;

fn put_x(at: u32, v: vec4<f32>) { x_tile[at] = vec4<f16>(v); }
fn put_w(at: u32, v: vec4<f32>) { w_tile[at] = vec4<f16>(v); }
fn staged(at: u32) -> vec4<f32> { return s_tile[at]; }
#endif

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
    let end = params.m_base + params.m;
    let m0 = params.m_base + workgroup.y * BM;
    let n0 = workgroup.x * BN4;
    let k_first = k_begin(workgroup.z);
    // Staging: thread `local` brings k quad local % BK4 of four rows of the left operand, X_STEP apart, and column
    // quad local % BN4 of WL ks of the right one, W_STEP apart.
    let xq = local % BK4;
    let row = local / BK4;
    let wn = local % BN4;
    let wk = local / BN4;
    x_begin(m0, local);
#for i in 0..4
    x_setup($iu, min(m0 + row + X_STEP * $iu, end - 1u), m0);
#endfor
    // This subgroup's fragments.
    let above = subgroup / WN * FM * SIDE;
    let left = subgroup % WN * FN * SIDE4;
#for i in 0..FM
#for j in 0..FN
    var acc_$i_$j = coop_mat$SIDEx$SIDE<f32, C>();
#endfor
#endfor

    x_tap(k_first + 4u * xq);
#for i in 0..4
    var x_$i = x_at($iu, k_first + 4u * xq);
#endfor
#for i in 0..WL
    var w_$i = w_at(k_first + wk + W_STEP * $iu, n0 + wn);
#endfor
    var half = 0u;
    for (var k0 = k_first; k0 < k_end(workgroup.z); k0 += BK) {
        let x_half = half * X_HALF;
        let w_half = half * W_HALF;
#for i in 0..4
        put_x(x_half + (row + X_STEP * $iu) * X_ROW + xq, x_$i);
#endfor
#for i in 0..WL
        put_w(w_half + (wk + W_STEP * $iu) * W_ROW + wn, w_$i);
#endfor
        workgroupBarrier();
        // Past the end these are numbers that nobody uses.
        let next = k0 + BK;
        x_skip(BK);
#for i in 0..4
        x_$i = x_at($iu, next + 4u * xq);
#endfor
#for i in 0..WL
        w_$i = w_at(next + wk + W_STEP * $iu, n0 + wn);
#endfor
#for k in 0..FK
        {
#for i in 0..FM
            let a_$i = coopLoadT<coop_mat$SIDEx$SIDE<f16, A>>(
                &x_tile[UNIT * (x_half + (above + $iu * SIDE) * X_ROW + $ku * SIDE4)], UNIT * X_ROW);
#endfor
#for j in 0..FN
            let b_$j = coopLoadT<coop_mat$SIDEx$SIDE<f16, B>>(
                &w_tile[UNIT * (w_half + $ku * SIDE * W_ROW + left + $ju * SIDE4)], UNIT * W_ROW);
#for i in 0..FM
            acc_$i_$j = coopMultiplyAdd(a_$i, b_$j, acc_$i_$j);
#endfor
#endfor
        }
#endfor
        half = 1u - half;
    }

    // A fragment's numbers lie in a subgroup's threads in an order that only the device knows, so each goes through
    // workgroup memory on its way out.
    let stage = subgroup * SIDE * S_ROW;
    let before = y_begin(workgroup.z);
#for i in 0..FM
#for j in 0..FN
    workgroupBarrier();
    coopStoreT(acc_$i_$j, &s_tile[UNIT * stage], UNIT * S_ROW);
    workgroupBarrier();
    for (var l = lane; l < SIDE * SIDE4 / 2u; l += LANES) {
        let r = l / (SIDE4 / 2u);
        let c = l % (SIDE4 / 2u) * 2u;
        let at = stage + r * S_ROW + c;
        let y_row = m0 + above + $iu * SIDE + r;
        if (y_row < end) {
            finish(before + y_row, n0 + left + $ju * SIDE4 + c, staged(at), staged(at + 1u));
        }
    }
#endfor
#endfor
}
