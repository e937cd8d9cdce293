// y = x, but for some images, which are another value's.
#variants {vectors}
#import storage
#import elementwise

struct Params {
    count: u32,  // vectors of this dispatch
    first: u32,  // first vector of this dispatch
    begin: u32,  // first vector that is the other's
    images: u32, // how many are
    x_base: u32, // added (wrapping) to vector indices: the bound windows begin there
    other_base: u32,
    y_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;       // [B, rows, width]
@group(0) @binding(2) var<storage, read> other: array<AV>;   // [B, rows, width]
@group(0) @binding(3) var<storage, read_write> y: array<AV>; // [B, rows, width]

fn element(n: u32) {
    let i = params.first + n;
    if (i - params.begin < params.images) {
        y[i + params.y_base] = other[i + params.other_base];
    } else {
        y[i + params.y_base] = x[i + params.x_base];
    }
}
