// What a tile's slices of k leave: sums in f32, which another launch (`gemm_join`) adds up and finishes.
fn finish(row: u32, column: u32, a: vec4<f32>, b: vec4<f32>) {
    let width = params.n / 4u;
    let at = (row - params.m_base) * width + column;
    if (column < width) {
        sums[at] = a;
    }
    if (column + 1u < width) {
        sums[at + 1u] = b;
    }
}
