// Which of k a workgroup sums: slice workgroup.z of it, where it is SPLIT. A slice ends at a multiple of every tile's BK,
// or with k. Its sums are left in f32, for another launch (`gemm_join`) to add up and finish.
#ifdef SPLIT
fn k_begin(slice: u32) -> u32 { return slice * params.k_slice; }
fn k_end(slice: u32) -> u32 { return min((slice + 1u) * params.k_slice, params.k); }
fn y_begin(slice: u32) -> u32 { return slice * params.m; }

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
#else
// All of it. Nothing here differs from thread to thread in a compiler's eyes, which in software would cost a quarter.
fn k_begin(slice: u32) -> u32 { return 0u; }
fn k_end(slice: u32) -> u32 { return params.k; }
fn y_begin(slice: u32) -> u32 { return 0u; }
#endif
