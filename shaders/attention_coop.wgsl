// attention on cooperative matrices (tensor cores): q kᵀ and p v are products of SIDE x SIDE fragments of f16 into f32
// ones; between them the scores pass through workgroup memory, where threads can see which row each belongs to. The
// sums of p v stay in fragments. They are brought to a new maximum only where a row's has grown by more than SLACK since
// it was last taken: until then exponentials are merely larger than one, which costs halves nothing.
// `attention_tiles` says what the defines are.
#variants {A_F16} {COOP} {coop_heads}
#import storage
#import attention_params

const NEVER: f32 = -3.0e38;
const SLACK: f32 = 8.0;

var<workgroup> grown: u32;                     // whether any row's maximum has
var<workgroup> sums: array<f32, THREADS>;      // each thread's part of its row's total
#import attention_tiles

#import attention_team

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
    let strip = subgroup / ROOMS * FM * SIDE; // this subgroup's rows
    let member = subgroup % ROOMS;            // which of those that share them
    let own = member * FD * SIDE4;            // its first column of the head, in vec4s
    let room = member * BM + strip;           // its rows of s_tile
    let part = lane / SIDE;           // of a row's vec4s, this thread's first

#ifdef TEAM
    // The queries lie where keys will.
    for (var i = local; i < BM * D4; i += THREADS) {
        let at = q_head + min(row0 + i / D4, params.queries - 1u) * params.q_stride + min(i % D4, last);
        put(i / D4 * T_ROW + i % D4, select(vec4<f16>(), q[at], i % D4 <= last));
    }
    workgroupBarrier();
#for d in 0..FD
#for f in 0..FM
    let q_$f_$d = coopLoadT<coop_mat$SIDEx$SIDE<f16, A>>(
        &tile[UNIT * ((strip + $fu * SIDE) * T_ROW + own + $du * SIDE4)], UNIT * T_ROW);
    var o_$f_$d = coop_mat$SIDEx$SIDE<f32, C>();
#endfor
#endfor
#else
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
#endif

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
#ifndef TEAM
    // What this thread brings of each block of keys and values: of which of its rows which column.
#for n in 0..BRING
    let key_$n = (local + $nu * THREADS) / D4;
    let column_$n = (local + $nu * THREADS) % D4;
    let from_$n = min(column_$n, last);
    var brought_$n = k[k_head + min(key_$n, params.keys - 1u) * params.k_stride + from_$n];
#endfor
#endif
    for (var k0 = 0u; k0 < end; k0 += BK) {
        workgroupBarrier();
        if (local == 0u) {
            grown = 0u;
        }
#ifdef TEAM
        bring_0(k_head, k0, local);
        workgroupBarrier();
#else
#for n in 0..BRING
        if (key_$n < BK) {
            put(key_$n * T_ROW + column_$n, select(vec4<f16>(), brought_$n, column_$n <= last));
        }
#endfor
        workgroupBarrier();
        // Values are on their way while scores are made, and the next keys while those become exponentials.
#for n in 0..BRING
        brought_$n = v[v_head + min(k0 + key_$n, params.keys - 1u) * params.v_stride + from_$n];
#endfor
#endif
#for j in 0..FN
        {
#for f in 0..FM
            var s_$f = coop_mat$SIDEx$SIDE<f32, C>();
#endfor
#for d in 0..FD
            // Column by column: a key is a column of kᵀ.
            let k_$d = coopLoad<coop_mat$SIDEx$SIDE<f16, B>>(
                &tile[UNIT * ($ju * SIDE * T_ROW + own + $du * SIDE4)], UNIT * T_ROW);
#for f in 0..FM
            s_$f = coopMultiplyAdd(q_$f_$d, k_$d, s_$f);
#endfor
#endfor
#for f in 0..FM
            coopStoreT(s_$f, &s_tile[UNIT * ((room + $fu * SIDE) * S_ROW + $ju * SIDE4)], UNIT * S_ROW);
#endfor
        }
#endfor
        workgroupBarrier();
#ifdef TEAM
        bring_1(v_head, k0, local);
#else
#for n in 0..BRING
        if (key_$n < BK) {
            put(key_$n * T_ROW + column_$n, select(vec4<f16>(), brought_$n, column_$n <= last));
        }
        brought_$n = k[k_head + min(k0 + BK + key_$n, params.keys - 1u) * params.k_stride + from_$n];
#endfor
#endif
        // Only a last block has keys that some row must not see.
        let masked = k0 + BK > select(params.keys, min(params.keys, row0 + 1u), params.causal == 1u);
#for f in 0..FM
        // This thread's part of a row's scores; its neighbours have the others.
#for c in 0..QUADS
        var s_$f_$c = staged(s_row_$f * S_ROW + part + $cu * PARTS);
#ifdef TEAM
        for (var m = 1u; m < ROOMS; m++) {
            s_$f_$c += staged((m * BM + s_row_$f) * S_ROW + part + $cu * PARTS);
        }
#endif
#endfor
        if (masked) {
#for c in 0..QUADS
            s_$f_$c = select(vec4<f32>(NEVER), s_$f_$c,
                vec4<u32>(0u, 1u, 2u, 3u) + (k0 + 4u * (part + $cu * PARTS)) < vec4<u32>(end_$f));
#endfor
        }
        var above_$f = s_$f_0;
#for c in 1..QUADS
        above_$f = max(above_$f, s_$f_$c);
#endfor
        var most_$f = max(max(above_$f.x, above_$f.y), max(above_$f.z, above_$f.w));
        for (var apart = SIDE; apart < LANES; apart *= 2u) {
            most_$f = max(most_$f, subgroupShuffleXor(most_$f, apart));
        }
        most_$f *= params.scale;
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
#for c in 0..QUADS
        var p_$f_$c = exp2(fma(s_$f_$c, vec4<f32>(params.scale), vec4<f32>(-top_$f)));
        if (masked) {
            // A key that no one may see has weight zero even while no key has been seen yet.
            p_$f_$c = select(p_$f_$c, vec4<f32>(0.0), s_$f_$c <= vec4<f32>(NEVER));
        }
        total_$f += p_$f_$c.x + p_$f_$c.y + p_$f_$c.z + p_$f_$c.w;
        if (member == 0u) {
            put_p(s_row_$f * P_ROW + part + $cu * PARTS, p_$f_$c);
        }
#endfor
#endfor
        workgroupBarrier();
#import attention_rescale
#for j in 0..FN
        {
#for f in 0..FM
            let p_$f = coopLoadT<coop_mat$SIDEx$SIDE<f16, A>>(
                &p_tile[UNIT * ((strip + $fu * SIDE) * P_ROW + $ju * SIDE4)], UNIT * P_ROW);
#endfor
#for d in 0..FD
            let v_$d = coopLoadT<coop_mat$SIDEx$SIDE<f16, B>>(
                &tile[UNIT * ($ju * SIDE * T_ROW + own + $du * SIDE4)], UNIT * T_ROW);
#for f in 0..FM
            o_$f_$d = coopMultiplyAdd(p_$f, v_$d, o_$f_$d);
#endfor
#endfor
        }
#endfor
    }

#import attention_results
}
