// Part of attention_coop's loop: the sums of p v so far are brought to new maxima, through workgroup memory.
        if (rescale) {
#for d in 0..FD
#for f in 0..FM
            coopStoreT(o_$f_$d, &s_tile[UNIT * (room + $fu * SIDE) * S_ROW], UNIT * S_ROW);
#endfor
            workgroupBarrier();
#for f in 0..FM
            for (var c = part; c < SIDE4; c += PARTS) {
                let at = (member * BM + s_row_$f) * S_ROW + c;
                put_s(at, staged(at) * shrink_$f);
            }
#endfor
            workgroupBarrier();
#for f in 0..FM
            o_$f_$d = coopLoadT<coop_mat$SIDEx$SIDE<f32, C>>(
                &s_tile[UNIT * (room + $fu * SIDE) * S_ROW], UNIT * S_ROW);
#endfor
            workgroupBarrier();
#endfor
        }
