// The gated GELU of Shazeer 2020 (arXiv:2002.05202): the first half of the channels times the activation of
// the second.
#variants {vectors}
#import storage
#import activations
#import elementwise

struct Params {
    count: u32,  // output vectors of this dispatch
    width: u32,  // output vectors of a row
    x_base: u32, // added to vector indices: the bound windows begin there
    y_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;       // [rows, 2, width]
@group(0) @binding(2) var<storage, read_write> y: array<AV>; // [rows, width]

fn element(n: u32) {
    let at = n / params.width * 2u * params.width + n % params.width + params.x_base;
    y[n + params.y_base] = to_a(from_a(x[at]) * activate(from_a(x[at + params.width])));
}
