// Nearest-neighbour resampling to any size: output pixel i takes input pixel floor(i · in / out), as PyTorch's
// `interpolate(mode="nearest")` does.
#variants {vectors}
#import storage
#import elementwise

struct Params {
    count: u32,  // output vectors of this dispatch
    first: u32,  // first output vector of this dispatch
    width4: u32, // vectors of a pixel
    height: u32, // of the input
    width: u32,
    out_height: u32,
    out_width: u32,
    x_base: u32, // added (wrapping) to vector indices: the bound windows begin there
    y_base: u32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;       // [B, height, width, width4]
@group(0) @binding(2) var<storage, read_write> y: array<AV>; // [B, out_height, out_width, width4]

fn element(n: u32) {
    let i = params.first + n;
    let pixel = i / params.width4;
    let ox = pixel % params.out_width;
    let oy = pixel / params.out_width % params.out_height;
    let image = pixel / params.out_width / params.out_height;
    let iy = oy * params.height / params.out_height;
    let ix = ox * params.width / params.out_width;
    let at = ((image * params.height + iy) * params.width + ix) * params.width4 + i % params.width4;
    y[i + params.y_base] = x[at + params.x_base];
}
