//! Edges of a picture (Canny 1986), by OpenCV's rules (modules/imgproc/src/canny.cpp): Sobel's gradients over three pixels, of
//! each pixel the channel that has most, their lengths by sums of magnitudes.

/// What a gradient's direction is told by: the tangent of 22.5 degrees, times two to the 15.
const TANGENT: i64 = 13_573;

/// Whether each pixel is on an edge: one whose gradient is the largest across it, and above the second of the thresholds, or
/// above the first and connected to such.
pub fn edges(rgb: &[u8], [width, height]: [usize; 2], [low, high]: [i32; 2]) -> Vec<bool> {
    let gradients = gradients(rgb, width, height);
    let length = |x: isize, y: isize| match (usize::try_from(x), usize::try_from(y)) {
        (Ok(x), Ok(y)) if x < width && y < height => sum(gradients[y * width + x]),
        _ => 0,
    };
    let (mut edge, mut strong) = (vec![false; width * height], Vec::new());
    let mut weak = edge.clone();
    for (i, [dx, dy]) in gradients.iter().copied().enumerate() {
        let (x, y, own) = ((i % width) as isize, (i / width) as isize, sum([dx, dy]));
        if own <= low {
            continue;
        }
        let [across, along] = [dx.abs(), dy.abs()].map(i64::from);
        let along = along << 15;
        let is_largest = if along < across * TANGENT {
            own > length(x - 1, y) && own >= length(x + 1, y)
        } else if along > across * (TANGENT + (1 << 16)) {
            own > length(x, y - 1) && own >= length(x, y + 1)
        } else {
            let side = if (dx ^ dy) < 0 { -1 } else { 1 };
            own > length(x - side, y - 1) && own > length(x + side, y + 1)
        };
        weak[i] = is_largest;
        if is_largest && own > high {
            edge[i] = true;
            strong.push(i);
        }
    }
    while let Some(i) = strong.pop() {
        let (x, y) = (i % width, i / width);
        for y in y.saturating_sub(1)..(y + 2).min(height) {
            for x in x.saturating_sub(1)..(x + 2).min(width) {
                let near = y * width + x;
                if weak[near] && !edge[near] {
                    edge[near] = true;
                    strong.push(near);
                }
            }
        }
    }
    edge
}

fn sum([dx, dy]: [i32; 2]) -> i32 {
    dx.abs() + dy.abs()
}

/// Each pixel's gradient, across and along; beyond the edges the outermost pixels go on.
fn gradients(rgb: &[u8], width: usize, height: usize) -> Vec<[i32; 2]> {
    let mut all = Vec::with_capacity(width * height);
    for y in 0..height {
        let rows = [y.saturating_sub(1), y, (y + 1).min(height - 1)];
        for x in 0..width {
            let columns = [x.saturating_sub(1), x, (x + 1).min(width - 1)];
            let of = |channel: usize| {
                let at = |r: usize, c: usize| i32::from(rgb[3 * (rows[r] * width + columns[c]) + channel]);
                let side = |c: usize| at(0, c) + 2 * at(1, c) + at(2, c);
                let line = |r: usize| at(r, 0) + 2 * at(r, 1) + at(r, 2);
                [side(2) - side(0), line(2) - line(0)]
            };
            // Of equal ones the first counts.
            let most = (1..3).map(of).fold(of(0), |most, own| if sum(own) > sum(most) { own } else { most });
            all.push(most);
        }
    }
    all
}
