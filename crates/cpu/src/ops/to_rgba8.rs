use crate::values::Values;
use calotype_graph::ops::ToRgba8;

/// A decoded picture in [-1, 1] to opaque RGBA bytes, rounded half to even as diffusers' VaeImageProcessor does, or cut
/// off as numpy does.
pub(super) fn run(op: &ToRgba8, values: &Values<'_>, y: &mut [f32]) -> Result<(), String> {
    let x = values.get(op.x);
    let byte = |v: f32| {
        let v = (v * 0.5 + 0.5).clamp(0.0, 1.0) * 255.0;
        (if op.truncate { v } else { v.round_ties_even() }) as u8
    };
    for (y, x) in y.iter_mut().zip(x.read().chunks_exact(4)) {
        *y = f32::from_bits(u32::from_le_bytes([byte(x[0]), byte(x[1]), byte(x[2]), 255]));
    }
    Ok(())
}
