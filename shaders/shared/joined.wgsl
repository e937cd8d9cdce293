// Joins a row's moments (Chan, Golub and LeVeque 1979), those of eight columns at a time, two at a time.
fn joined(row: u32) -> vec2<f32> {
    let count = params.k / 16u;
    let begin = row * count;
    let pivot = moments[begin].x;
    var d = vec2<f32>(0.0);
    var squares = vec2<f32>(0.0);
    var inside = vec2<f32>(0.0);
    for (var i = 0u; i < count; i++) {
        let m = moments[begin + i];
        let off = m.xz - pivot;
        d += off;
        squares = fma(off, off, squares);
        inside += m.yw;
    }
    let parts = f32(2u * count);
    let mean = (d.x + d.y) / parts;
    let between = (squares.x + squares.y) / parts - mean * mean;
    let variance = max(between, 0.0) + (inside.x + inside.y) / f32(params.k);
    return vec2<f32>(pivot + mean, 1.0 / sqrt(variance + params.eps));
}
