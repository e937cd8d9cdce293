// Adds up what the slices of k left in `sums`, always in their order, and calls the op's own finish(): two neighbouring
// vec4s a thread.
#import flat

@compute @workgroup_size(FLAT)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let width = params.n / 4u;
    let pairs = (width + 1u) / 2u;
    let i = flat_index(workgroup, workgroups, local);
    if (i >= params.m * pairs) {
        return;
    }
    let row = i / pairs;
    let column = i % pairs * 2u;
    // The last pair of an odd width is one vec4, which then stands for both.
    let beside = min(column + 1u, width - 1u) - column;
    var a = vec4<f32>(0.0);
    var b = vec4<f32>(0.0);
    var at = row * width + column;
    for (var k = 0u; k < params.k; k += params.k_slice) {
        a += sums[at];
        b += sums[at + beside];
        at += params.m * width;
    }
    finish(params.m_base + row, column, a, b);
}
