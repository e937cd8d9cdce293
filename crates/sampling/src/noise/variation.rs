//! A1111's variations of a picture: its noise turned towards another seed's (modules/rng.py).

use serde::{Deserialize, Serialize};

/// How far, and where to.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Variation {
    /// The other seed; image i has it plus i, and all have the first one's seed.
    pub seed: u64,
    /// From 0, the picture itself, to 1, the other seed's.
    pub strength: f64,
}

/// `low` turned towards `high`, both `[channels, height, width]`: each column by the angle between the two. Where all but
/// agree the peer mixes them, the other way round.
pub fn slerp(share: f64, low: &[f32], high: &[f32], [channels, height, width]: [usize; 3]) -> Vec<f32> {
    let columns = channels * width;
    let at = |column: usize, row: usize| (column / width * height + row) * width + column % width;
    let dot = |a: &[f32], b: &[f32], column: usize| -> f64 {
        (0..height).map(|row| f64::from(a[at(column, row)]) * f64::from(b[at(column, row)])).sum()
    };
    let cosine =
        |column: usize| dot(low, high, column) / (dot(low, low, column) * dot(high, high, column)).sqrt();
    let cosines: Vec<f64> = (0..columns).map(cosine).collect();
    let mut out = low.to_vec();
    let near = cosines.iter().sum::<f64>() / columns as f64 > 0.9995;
    for (column, cosine) in cosines.into_iter().enumerate() {
        let angle = cosine.clamp(-1.0, 1.0).acos();
        let (kept, taken) = match near {
            true => (share, 1.0 - share),
            false => (((1.0 - share) * angle).sin() / angle.sin(), (share * angle).sin() / angle.sin()),
        };
        for row in 0..height {
            let i = at(column, row);
            out[i] = (f64::from(low[i]) * kept + f64::from(high[i]) * taken) as f32;
        }
    }
    out
}
