// y = a + b, where b has a's shape or is one row of channels for each image (or for all).
#variants {vectors}
#import storage
#import elementwise

struct Params {
    count: u32,  // vectors of this dispatch
    first: u32,  // first vector of this dispatch
    width: u32,  // vectors of a row
    image: u32,  // vectors of an image
    row_stride: u32, // vectors from one image's row of b to the next; 0: one row for all
    a_base: u32, // added (wrapping) to vector indices: the bound windows begin there
    b_base: u32,
    y_base: u32,
}
override ROWS: bool = false; // b holds rows

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<AV>;       // [B, rows, width]
@group(0) @binding(2) var<storage, read> b: array<AV>;       // [B, rows, width] or [B or 1, width]
@group(0) @binding(3) var<storage, read_write> y: array<AV>; // [B, rows, width]

fn element(n: u32) {
    let i = params.first + n;
    var at = i + params.b_base;
    if (ROWS) {
        at = i / params.image * params.row_stride + i % params.width;
    }
    y[i + params.y_base] = to_a(from_a(a[i + params.a_base]) + from_a(b[at]));
}
