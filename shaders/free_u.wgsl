// FreeU, last: h's channels, the first half of them turned up, followed by the skip's with their slowest waves turned down.
#variants {vectors}
#import storage
#import elementwise

struct Params {
    count: u32,  // output vectors of this dispatch
    first: u32,  // first output vector of this dispatch
    lines: u32,  // rows of pixels
    columns: u32, // pixels of one
    h_width: u32, // vectors of a pixel of h
    skip_width: u32,
    h_base: u32, // added (wrapping) to vector indices: the bound windows begin there
    skip_base: u32,
    y_base: u32,
    half: u32,     // channels of h that are turned up
    backbone: f32, // by how much
    slow: f32,     // what the waves of a pixel are multiplied with, of what they are in all
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> h: array<AV>;      // [B, lines, columns, h_width]
@group(0) @binding(2) var<storage, read> skip: array<AV>;   // [B, lines, columns, skip_width]
@group(0) @binding(3) var<storage, read> waves: array<f32>; // [2 lines + 2 columns]
@group(0) @binding(4) var<storage, read> sums: array<FV>;   // [B, 7, skip_width]
@group(0) @binding(5) var<storage, read> means: array<f32>; // [B, lines, columns], from 0 to 1; any where not STRUCTURED
@group(0) @binding(6) var<storage, read_write> y: array<AV>; // [B, lines, columns, h_width + skip_width]

override STRUCTURED: bool = false;

#ifdef VEC1
fn turned(column: u32, v: FV, gain: f32) -> FV {
    return select(v, v * gain, column < params.half);
}
#else
fn turned(column: u32, v: FV, gain: f32) -> FV {
    return select(v, v * gain, vec4<u32>(4u * column) + vec4<u32>(0u, 1u, 2u, 3u) < vec4<u32>(params.half));
}
#endif

fn element(n: u32) {
    let i = params.first + n;
    let width = params.h_width + params.skip_width;
    let row = i / width;
    let column = i % width;
    if (column < params.h_width) {
        var gain = params.backbone;
        if (STRUCTURED) {
            gain = fma(gain - 1.0, means[row], 1.0);
        }
        let v = from_a(h[row * params.h_width + column + params.h_base]);
        y[i + params.y_base] = to_a(turned(column, v, gain));
        return;
    }
    let channel = column - params.h_width;
    let pixels = params.lines * params.columns;
    let pixel = row % pixels;
    let line = pixel / params.columns;
    let place = pixel % params.columns;
    let a = vec2<f32>(waves[line], waves[params.lines + line]);
    let b = vec2<f32>(waves[2u * params.lines + place], waves[2u * params.lines + params.columns + place]);
    let at = row / pixels * 7u * params.skip_width + channel;
    var slow = sums[at];
    slow += a.x * sums[at + params.skip_width] + a.y * sums[at + 2u * params.skip_width];
    slow += b.x * sums[at + 3u * params.skip_width] + b.y * sums[at + 4u * params.skip_width];
    slow += (a.x * b.x - a.y * b.y) * sums[at + 5u * params.skip_width];
    slow += (a.y * b.x + a.x * b.y) * sums[at + 6u * params.skip_width];
    let v = from_a(skip[row * params.skip_width + channel + params.skip_base]);
    y[i + params.y_base] = to_a(v + params.slow * slow);
}
