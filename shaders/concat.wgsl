// y = a's channels followed by b's, row by row.
#variants {vectors}
#import storage
#import elementwise

struct Params {
    count: u32,  // output vectors of this dispatch
    first: u32,  // first output vector of this dispatch
    a_width: u32, // vectors of a row of a
    b_width: u32,
    a_base: u32, // added (wrapping) to vector indices: the bound windows begin there
    b_base: u32,
    y_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> a: array<AV>;       // [rows, a_width]
@group(0) @binding(2) var<storage, read> b: array<AV>;       // [rows, b_width]
@group(0) @binding(3) var<storage, read_write> y: array<AV>; // [rows, a_width + b_width]

fn element(n: u32) {
    let i = params.first + n;
    let width = params.a_width + params.b_width;
    let row = i / width;
    let column = i % width;
    if (column < params.a_width) {
        y[i + params.y_base] = a[row * params.a_width + column + params.a_base];
    } else {
        y[i + params.y_base] = b[row * params.b_width + column - params.a_width + params.b_base];
    }
}
