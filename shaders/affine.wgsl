// y = activation(x · scale + shift), channel by channel; group normalisation's third of three.
#variants {vectors}
#import storage
#import activations
#import elementwise

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

fn element(n: u32) {
    let i = params.first + n;
    let at = i / params.image * 2u * params.width + i % params.width;
    let v = fma(from_a(x[i + params.x_base]), affine[at], affine[at + params.width]);
    y[i + params.y_base] = to_a(activate(v));
}
