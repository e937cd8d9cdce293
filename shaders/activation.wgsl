// y = activation(x).
#variants {vectors}
#import storage
#import activations
#import elementwise

struct Params {
    count: u32,  // vectors of this dispatch
    x_base: u32, // added to vector indices: the bound windows begin there
    y_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;       // [count]
@group(0) @binding(2) var<storage, read_write> y: array<AV>; // [count]

fn element(n: u32) {
    y[n + params.y_base] = to_a(activate(from_a(x[n + params.x_base])));
}
