// The end of attention_coop: its sums of p v, over their rows' totals, go out through workgroup memory.
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
    coopStoreT(o_$f_$d, &s_tile[UNIT * (room + $fu * SIDE) * S_ROW], UNIT * S_ROW);
#endfor
    workgroupBarrier();
#for f in 0..FM
    for (var c = part; c < SIDE4; c += PARTS) {
        let column = own + $du * SIDE4 + c;
        if (row_$f < params.queries && column <= last) {
            y[y_row_$f + column] = to_a(staged((member * BM + s_row_$f) * S_ROW + c) / total_$f);
        }
    }
#endfor
#endfor
