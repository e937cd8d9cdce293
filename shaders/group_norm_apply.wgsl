// Group normalisation, third of three: y = activation(x · scale + shift).
#import storage
#import activations
#import flat

struct Params {
    count: u32,  // vectors of this dispatch
    first: u32,  // first vector of this dispatch
    width: u32,  // vectors of a row
    image: u32,  // vectors of an image
    x_base: u32, // added (wrapping) to vector indices: the bound windows begin there
    y_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;       // [B, rows, width]
@group(0) @binding(2) var<storage, read> affine: array<FV>;  // [B, 2, width]
@group(0) @binding(3) var<storage, read_write> y: array<AV>; // [B, rows, width]

@compute @workgroup_size(FLAT)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let n = flat_index(workgroup, workgroups, local);
    if (n >= params.count) {
        return;
    }
    let i = params.first + n;
    let at = i / params.image * 2u * params.width + i % params.width;
    let v = fma(from_a(x[i + params.x_base]), affine[at], affine[at + params.width]);
    y[i + params.y_base] = to_a(activate(v));
}
