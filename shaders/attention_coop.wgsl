// attention on cooperative matrices (tensor cores): q kᵀ and p v are products of SIDE x SIDE fragments of f16 into f32
// ones; between them the scores pass through workgroup memory, where threads can see which row each belongs to. The
// sums of p v stay in fragments. They are brought to a new maximum only where a row's has grown by more than SLACK since
// it was last taken: until then exponentials are merely larger than one, which costs halves nothing.
//   SIDE, LANES  of a fragment's edge and of a subgroup
//   WM, FM  subgroups of a workgroup; fragments down that each has
//   FD      fragments along the head: FD · SIDE is the largest head that fits
//   FN      fragments along the keys of a block, which are 32
#set heads
SIDE=16 LANES=32 WM=4 FM=2 FD=3 FN=2
SIDE=16 LANES=32 WM=4 FM=1 FD=3 FN=2
SIDE=16 LANES=32 WM=4 FM=2 FD=4 FN=2
SIDE=16 LANES=32 WM=4 FM=1 FD=4 FN=2
SIDE=16 LANES=32 WM=4 FM=1 FD=5 FN=2
SIDE=16 LANES=32 WM=4 FM=1 FD=10 FN=2
SIDE=16 LANES=64 WM=4 FM=1 FD=3 FN=2
SIDE=16 LANES=64 WM=4 FM=1 FD=4 FN=2
SIDE=16 LANES=64 WM=4 FM=1 FD=5 FN=2
SIDE=16 LANES=64 WM=4 FM=1 FD=10 FN=2
SIDE=8 LANES=8 WM=4 FM=1 FD=5 FN=4
SIDE=8 LANES=8 WM=4 FM=1 FD=8 FN=4
SIDE=8 LANES=32 WM=4 FM=2 FD=5 FN=4 SCALAR
SIDE=8 LANES=32 WM=4 FM=2 FD=8 FN=4 SCALAR
SIDE=8 LANES=32 WM=4 FM=2 FD=10 FN=4 SCALAR
SIDE=8 LANES=32 WM=4 FM=1 FD=20 FN=4 SCALAR
#endset
#variants {A_F16} {COOP} {heads}
#import storage
#import attention_params

const BM: u32 = WM * FM * SIDE;
const BK: u32 = FN * SIDE;
const_assert BK == 32u;
const BK4: u32 = BK / 4u;
const D4: u32 = FD * SIDE / 4u;
const SIDE4: u32 = SIDE / 4u;
const THREADS: u32 = WM * LANES;
const PARTS: u32 = LANES / SIDE; // threads that share a row of scores
// Rows in workgroup memory are padded by 16 bytes, so that a fragment's rows lie in different banks.
const T_ROW: u32 = D4 + 2u;
const P_ROW: u32 = BK4 + 2u;
const S_ROW: u32 = BK4 + 1u;
const NEVER: f32 = -3.0e38;
const SLACK: f32 = 8.0;

var<workgroup> grown: u32;                     // whether any row's maximum has
var<workgroup> sums: array<f32, THREADS>;      // each thread's part of its row's total
#import attention_tiles

// Four scores as powers of two, from the one at `at` on, which is of key `key`; NEVER from key `end` on.
fn scores(at: u32, key: u32, end: u32) -> vec4<f32> {
    return select(vec4<f32>(NEVER), s_at(at) * params.scale, vec4<u32>(0u, 1u, 2u, 3u) + key < vec4<u32>(end));
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32,
        @builtin(subgroup_id) subgroup: u32, @builtin(subgroup_invocation_id) lane: u32) {
    let batch = workgroup.y / params.heads;
    let head = workgroup.y % params.heads;
    let row0 = workgroup.x * BM;
    let q_head = batch * params.queries * params.q_stride + head * params.head4 + params.q_base;
    let k_head = batch * params.keys * params.k_stride + head * params.head4 + params.k_base;
    let v_head = batch * params.keys * params.v_stride + head * params.head4 + params.v_base;
    let last = params.head4 - 1u;
    let strip = subgroup * FM * SIDE; // this subgroup's rows
    let part = lane / SIDE;           // of a row's vec4s, this thread's first

    // The queries, a fragment's columns at a time; past the head there are zeros.
#for d in 0..FD
    workgroupBarrier();
    for (var i = local; i < BM * SIDE4; i += THREADS) {
        let column = $du * SIDE4 + i % SIDE4;
        let at = q_head + min(row0 + i / SIDE4, params.queries - 1u) * params.q_stride + min(column, last);
        put_p(i / SIDE4 * P_ROW + i % SIDE4, select(vec4<f32>(0.0), from_a(q[at]), column <= last));
    }
    workgroupBarrier();
#for f in 0..FM
    let q_$f_$d = coopLoadT<coop_mat$SIDEx$SIDE<f16, A>>(
        &p_tile[UNIT * (strip + $fu * SIDE) * P_ROW], UNIT * P_ROW);
    var o_$f_$d = coop_mat$SIDEx$SIDE<f32, C>();
#endfor
#endfor

    var end = params.keys;
    if (params.causal == 1u) {
        end = min(end, row0 + BM);
    }
#for f in 0..FM
    let s_row_$f = strip + $fu * SIDE + lane % SIDE;
    let end_$f = select(params.keys, min(params.keys, row0 + s_row_$f + 1u), params.causal == 1u);
    var top_$f = NEVER;  // what the row's exponentials are relative to
    var total_$f = 0.0;  // this thread's part of their sum
#endfor
    for (var k0 = 0u; k0 < end; k0 += BK) {
        workgroupBarrier();
        if (local == 0u) {
            grown = 0u;
        }
        for (var i = local; i < BK * D4; i += THREADS) {
            let at = k_head + min(k0 + i / D4, params.keys - 1u) * params.k_stride + min(i % D4, last);
            put(i / D4 * T_ROW + i % D4, select(vec4<f16>(), k[at], i % D4 <= last));
        }
        workgroupBarrier();
#for j in 0..FN
        {
#for f in 0..FM
            var s_$f = coop_mat$SIDEx$SIDE<f32, C>();
#endfor
#for d in 0..FD
            // Column by column: a key is a column of kᵀ.
            let k_$d = coopLoad<coop_mat$SIDEx$SIDE<f16, B>>(
                &tile[UNIT * ($ju * SIDE * T_ROW + $du * SIDE4)], UNIT * T_ROW);
#for f in 0..FM
            s_$f = coopMultiplyAdd(q_$f_$d, k_$d, s_$f);
#endfor
#endfor
#for f in 0..FM
            coopStoreT(s_$f, &s_tile[UNIT * ((strip + $fu * SIDE) * S_ROW + $ju * SIDE4)], UNIT * S_ROW);
#endfor
        }
#endfor
        workgroupBarrier();
        for (var i = local; i < BK * D4; i += THREADS) {
            let at = v_head + min(k0 + i / D4, params.keys - 1u) * params.v_stride + min(i % D4, last);
            put(i / D4 * T_ROW + i % D4, select(vec4<f16>(), v[at], i % D4 <= last));
        }
#for f in 0..FM
        var above_$f = vec4<f32>(NEVER);
#for c in 0..8
        above_$f = max(above_$f, scores(s_row_$f * S_ROW + $cu, k0 + 4u * $cu, end_$f));
#endfor
        let most_$f = max(max(above_$f.x, above_$f.y), max(above_$f.z, above_$f.w));
        if (most_$f > top_$f + SLACK) {
            grown = 1u;
        }
#endfor
        let rescale = workgroupUniformLoad(&grown) == 1u;
#for f in 0..FM
        var shrink_$f = 1.0;
        if (rescale) {
            shrink_$f = exp2(top_$f - max(top_$f, most_$f));
            top_$f = max(top_$f, most_$f);
            total_$f *= shrink_$f;
        }
        for (var c = part; c < BK4; c += PARTS) {
            let s = scores(s_row_$f * S_ROW + c, k0 + 4u * c, end_$f);
            // A key that no one may see has weight zero even while no key has been seen yet.
            let p = select(exp2(s - top_$f), vec4<f32>(0.0), s <= vec4<f32>(NEVER));
            total_$f += p.x + p.y + p.z + p.w;
            put_p(s_row_$f * P_ROW + c, p);
        }
#endfor
        workgroupBarrier();
        if (rescale) {
#for d in 0..FD
#for f in 0..FM
            coopStoreT(o_$f_$d, &s_tile[UNIT * (strip + $fu * SIDE) * S_ROW], UNIT * S_ROW);
#endfor
            workgroupBarrier();
#for f in 0..FM
            for (var c = part; c < SIDE4; c += PARTS) {
                put_s(s_row_$f * S_ROW + c, s_at(s_row_$f * S_ROW + c) * shrink_$f);
            }
#endfor
            workgroupBarrier();
#for f in 0..FM
            o_$f_$d = coopLoadT<coop_mat$SIDEx$SIDE<f32, C>>(
                &s_tile[UNIT * (strip + $fu * SIDE) * S_ROW], UNIT * S_ROW);
#endfor
            workgroupBarrier();
#endfor
        }
#for j in 0..FN
        {
#for f in 0..FM
            let p_$f = coopLoadT<coop_mat$SIDEx$SIDE<f16, A>>(
                &p_tile[UNIT * ((strip + $fu * SIDE) * P_ROW + $ju * SIDE4)], UNIT * P_ROW);
#endfor
#for d in 0..FD
            let v_$d = coopLoadT<coop_mat$SIDEx$SIDE<f16, B>>(
                &tile[UNIT * ($ju * SIDE * T_ROW + $du * SIDE4)], UNIT * T_ROW);
#for f in 0..FM
            o_$f_$d = coopMultiplyAdd(p_$f, v_$d, o_$f_$d);
#endfor
#endfor
        }
#endfor
    }

#for f in 0..FM
    workgroupBarrier();
    sums[subgroup * LANES + lane] = total_$f;
    workgroupBarrier();
    total_$f = 0.0;
    for (var i = 0u; i < PARTS; i++) {
        total_$f += sums[subgroup * LANES + i * SIDE + lane % SIDE];
    }
    let row_$f = row0 + s_row_$f;
    let y_row_$f = (batch * params.queries + row_$f) * params.y_stride + head * params.head4 + params.y_base;
#endfor
#for d in 0..FD
    workgroupBarrier();
#for f in 0..FM
    coopStoreT(o_$f_$d, &s_tile[UNIT * (strip + $fu * SIDE) * S_ROW], UNIT * S_ROW);
#endfor
    workgroupBarrier();
#for f in 0..FM
    for (var c = part; c < SIDE4; c += PARTS) {
        if (row_$f < params.queries && $du * SIDE4 + c <= last) {
            y[y_row_$f + $du * SIDE4 + c] = to_a(s_at(s_row_$f * S_ROW + c) / total_$f);
        }
    }
#endfor
#endfor
}
