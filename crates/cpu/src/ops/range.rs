use crate::values::Values;
use calotype_graph::ops::Range;

/// How many elements are not finite, and the least and the greatest of those that are.
pub(super) fn run(op: &Range, values: &Values<'_>, _y: &mut [f32]) -> Result<(), String> {
    let (x, found) = (values.get(op.x), values.get(op.found));
    let mut found = found.write();
    let found: &mut [u32] = &mut bytemuck::cast_slice_mut(&mut found)[4 * op.slot..][..4];
    for &x in x.read().iter() {
        if x.is_finite() {
            found[1] = found[1].min(Range::ordered(x));
            found[2] = found[2].max(Range::ordered(x));
        } else {
            found[0] += 1;
        }
    }
    Ok(())
}
