use super::bind::Context;
use crate::ops::Attention;
use crate::{Error, ValueId};
use calotype_shaders::{attention, attention_naive};

/// Kernels by the largest head they hold, in vec4s: threads that share a row, and the defines.
const TIERS: [(usize, usize, [&str; 4]); 6] = [
    (10, 1, ["TEAM=1", "SLICE4=10", "KEYS=32", "GROUP=8"]),
    (16, 1, ["TEAM=1", "SLICE4=16", "KEYS=16", "GROUP=8"]),
    (20, 2, ["TEAM=2", "SLICE4=10", "KEYS=16", "GROUP=8"]),
    (40, 4, ["TEAM=4", "SLICE4=10", "KEYS=8", "GROUP=8"]),
    (64, 4, ["TEAM=4", "SLICE4=16", "KEYS=4", "GROUP=4"]),
    (128, 8, ["TEAM=8", "SLICE4=16", "KEYS=2", "GROUP=2"]),
];

pub(super) fn lower(cx: &mut Context, op: &Attention, out: ValueId) -> Result<(), Error> {
    let (q, k) = (cx.shape(op.q), cx.shape(op.k));
    let batch = q.dims()[0];
    let (queries, keys, channels) = (q.rows() / batch, k.rows() / batch, q.channels());
    let head = channels / op.heads;
    // Queries, keys and values may be columns of one value.
    let [(q, q_stride, q_from), (k, k_stride, k_from), (v, v_stride, v_from)] =
        [cx.columns(op.q)?, cx.columns(op.k)?, cx.columns(op.v)?];
    let bindings = vec![q, k, v, cx.bind(out)?];
    // The kernels take powers of two.
    let scale = op.scale * std::f32::consts::LOG2_E;
    if !head.is_multiple_of(4) {
        let params = attention_naive::Params {
            queries: queries as u32,
            keys: keys as u32,
            heads: op.heads as u32,
            head: head as u32,
            batch: batch as u32,
            q_stride: q_stride as u32,
            k_stride: k_stride as u32,
            v_stride: v_stride as u32,
            y_stride: channels as u32,
            q_base: q_from as u32,
            k_base: k_from as u32,
            v_base: v_from as u32,
            scale,
            causal: op.causal.into(),
            ..Default::default()
        };
        let variant = cx.variant("attention_naive", &[cx.a(), "VEC1"])?;
        let groups = cx.flat(batch * queries * channels);
        cx.dispatch(variant, &[], params, bindings, groups);
        return Ok(());
    }
    let (_, team, defines) =
        TIERS.into_iter().find(|(most, ..)| head / 4 <= *most).expect("heads are at most 512 channels");
    let params = attention::Params {
        queries: queries as u32,
        keys: keys as u32,
        heads: op.heads as u32,
        head4: (head / 4) as u32,
        q_stride: (q_stride / 4) as u32,
        k_stride: (k_stride / 4) as u32,
        v_stride: (v_stride / 4) as u32,
        y_stride: (channels / 4) as u32,
        q_base: (q_from / 4) as u32,
        k_base: (k_from / 4) as u32,
        v_base: (v_from / 4) as u32,
        scale,
        causal: op.causal.into(),
        ..Default::default()
    };
    let [t, s, n, g] = defines;
    let variant = cx.variant("attention", &[cx.a(), t, s, n, g])?;
    let groups = [queries.div_ceil(64 / team) as u32, (batch * op.heads) as u32, 1];
    cx.dispatch(variant, &[], params, bindings, groups);
    Ok(())
}
