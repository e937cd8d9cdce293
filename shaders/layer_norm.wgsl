// Layer normalisation (Ba et al. 2016, arXiv:1607.06450), one workgroup a row; mean first, then deviations.
#variants {vectors} {-, SUBGROUPS}
#import storage
#import reduce

struct Params {
    rows: u32,
    width: u32, // vectors of a row
    eps: f32,
    inverse: f32, // 1 / channels
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;       // [rows, width]
@group(0) @binding(2) var<storage, read> gamma: array<FV>;   // [width]
@group(0) @binding(3) var<storage, read> beta: array<FV>;    // [width]
@group(0) @binding(4) var<storage, read_write> y: array<AV>; // [rows, width]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        team: Team) {
    let local = team.local;
    let row = workgroup.y * workgroups.x + workgroup.x;
    if (row >= params.rows) {
        return;
    }
    let base = row * params.width;
    var sum = 0.0;
    for (var i = local; i < params.width; i += 64u) {
        sum += lanes(from_a(x[base + i]));
    }
    let mean = reduce(sum, team) * params.inverse;
    var squares = 0.0;
    for (var i = local; i < params.width; i += 64u) {
        let d = from_a(x[base + i]) - mean;
        squares += lanes(d * d);
    }
    let inverse = 1.0 / sqrt(reduce(squares, team) * params.inverse + params.eps);
    for (var i = local; i < params.width; i += 64u) {
        let d = (from_a(x[base + i]) - mean) * inverse;
        y[base + i] = to_a(fma(d, gamma[i], beta[i]));
    }
}
