// What the subgroups of a team, which share rows of a long head, do otherwise than those that have rows to themselves: blocks
// of keys and values are brought by loops, and each member's scores are but a part.
#ifdef TEAM
fn stride_0() -> u32 { return params.k_stride; }
fn stride_1() -> u32 { return params.v_stride; }
fn read_0(at: u32) -> AV { return k[at]; }
fn read_1(at: u32) -> AV { return v[at]; }

// A block of keys, or of values, BRING loads at a time.
#for t in 0..2
fn bring_$t(head: u32, k0: u32, local: u32) {
    let last = params.head4 - 1u;
    for (var i = local; i < BK * D4; i += BRING * THREADS) {
#for n in 0..BRING
        let column_$n = (i + $nu * THREADS) % D4;
        let row_$n = min(k0 + (i + $nu * THREADS) / D4, params.keys - 1u);
        let at_$n = head + row_$n * stride_$t() + min(column_$n, last);
        let brought_$n = read_$t(at_$n);
#endfor
#for n in 0..BRING
        put((i + $nu * THREADS) / D4 * T_ROW + column_$n, select(vec4<f16>(), brought_$n, column_$n <= last));
#endfor
    }
}
#endfor
#endif
