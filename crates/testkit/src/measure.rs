use calotype_tensor::{DType, HostTensor};

/// max |a − b| / max |b|: how far a is from the reference b, as a part of b's largest magnitude. Infinite where
/// one is NaN and the other is not, or where the lengths differ; the plain maximum where b is zero throughout.
pub fn max_error_relative_to_largest(a: &[f32], b: &[f32]) -> f64 {
    if a.len() != b.len() {
        return f64::INFINITY;
    }
    let largest = b.iter().filter(|v| v.is_finite()).fold(0.0, |m: f64, v| m.max(f64::from(v.abs())));
    let apart = |(a, b): (&f32, &f32)| match (a.is_nan(), b.is_nan()) {
        (true, true) => 0.0,
        (false, false) if a == b => 0.0,
        (false, false) => f64::from((a - b).abs()),
        _ => f64::INFINITY,
    };
    let most = a.iter().zip(b).map(apart).fold(0.0, f64::max);
    if largest > 0.0 { most / largest } else { most }
}

/// How far a tensor is from the reference: [`max_error_relative_to_largest`] for floats; for u32, which hold
/// pixels or counters, the largest difference of two bytes, as a part of 255.
pub fn error(a: &HostTensor, b: &HostTensor) -> f64 {
    if a.dtype() != DType::U32 || b.dtype() != DType::U32 {
        return max_error_relative_to_largest(&a.to_f32(), &b.to_f32());
    }
    if a.bytes().len() != b.bytes().len() {
        return f64::INFINITY;
    }
    let most = a.bytes().iter().zip(b.bytes()).map(|(a, b)| a.abs_diff(*b)).max();
    f64::from(most.unwrap_or(0)) / 255.0
}
