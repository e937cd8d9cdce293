// A convolution as an implicit matrix product: the left operand's row is an output pixel, its k runs over
// (tap row, tap column, input channel); the gathered matrix never exists in memory. With UPSAMPLE the input
// is read as if nearest-neighbour resized to [virtual_height, virtual_width] first.
//   SPLIT    sums slices of k instead, for
//   JOIN     which adds them up and does what is left to do
#variants {stored} {-, SPLIT}
#variants {stored_in_panels} {ROWS} {-, SPLIT}
#variants {A_F32, A_F16, A_H16} {JOIN}
#variants {stored_by_columns} {COOP} {split_tiles} {SPLIT}
#variants {stored_by_columns} {COOP} {tiles}
#import storage
#import activations

struct Params {
    m: u32,      // output pixels of this dispatch
    n: u32,      // output channels
    k: u32,      // taps times input channels
    k_slice: u32, // of a workgroup: all of k, but for SPLIT and JOIN
    m_base: u32, // first output pixel of this dispatch
    x_base: u32, // added (wrapping) to vec4 indices: the bound windows begin there
    residual_base: u32,
    y_base: u32,
    channels: u32, // input channels
    height: u32,   // of the stored input
    width: u32,
    virtual_height: u32, // of the input as the taps see it
    virtual_width: u32,
    out_height: u32,
    out_width: u32,
    kernel_width: u32,
    stride: u32,
    pad_top: u32,
    pad_left: u32,
    image_bias_stride: u32, // vec4s from one image's extra bias to the next: 0 where all share one
    image_bias_base: u32,   // its first vec4
}
override BIAS: bool = false;
override RESIDUAL: bool = false;
override IMAGE_BIAS: bool = false;
override UPSAMPLE: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
#ifdef JOIN
@group(0) @binding($next) var<storage, read> sums: array<vec4<f32>>; // [slices, B * OH * OW, N/4]
#else
@group(0) @binding($next) var<storage, read> x: array<XV>;           // [B, H, W, C/4], or [B, H, W, C/8] for matrices
@group(0) @binding($next) var<storage, read> weight: array<WV>;      // [KH, KW, C, N/4], or [N, KH, KW, C/4], or blocks (weights)
#endif
#ifdef SPLIT
@group(0) @binding($next) var<storage, read_write> sums: array<vec4<f32>>; // [slices, B * OH * OW, N/4]
#else
@group(0) @binding($next) var<storage, read> bias: array<vec4<f32>>; // [N/4]
@group(0) @binding($next) var<storage, read> image_bias: array<AV>;  // [B or 1, N/4]
@group(0) @binding($next) var<storage, read> residual: array<AV>;    // [B, OH, OW, N/4]
@group(0) @binding($next) var<storage, read_write> y: array<AV>;     // [B, OH, OW, N/4]
#endif

#ifndef JOIN
#import brought

var<private> x_first: vec4<u32>; // vec4 index of the first tap, or of the row's image where that is resized
var<private> x_top: vec4<i32>;   // where the first tap lies, in virtual pixels
var<private> x_left: vec4<i32>;
var<private> tap_y: i32;
var<private> tap_x: i32;
var<private> tap_quad: u32;      // of its channels

fn x_begin(m0: u32, local: u32) {}

fn x_setup(slot: u32, row: u32, m0: u32) {
    let pixels = params.out_height * params.out_width;
    let pixel = row % pixels;
    let top = i32(pixel / params.out_width * params.stride) - i32(params.pad_top);
    let left = i32(pixel % params.out_width * params.stride) - i32(params.pad_left);
    let image = row / pixels * params.height * params.width;
    let first = select(u32(top * i32(params.width) + left), 0u, UPSAMPLE);
    x_first[slot] = (image + first) * (params.channels / 4u) + params.x_base;
    x_top[slot] = top;
    x_left[slot] = left;
}

// Which tap and channel k is: the same for all of a thread's rows. Divisions are dear, above all where shaders run
// in software, so this is done once and then moved on.
fn x_tap(k: u32) {
    let tap = k / params.channels;
    tap_quad = k % params.channels / 4u;
    tap_y = i32(tap / params.kernel_width);
    tap_x = i32(tap % params.kernel_width);
}

fn x_next() {
    let next = tap_quad >= params.channels / 4u;
    tap_quad -= select(0u, params.channels / 4u, next);
    tap_x += select(0, 1, next);
    let wrap = tap_x == i32(params.kernel_width);
    tap_x = select(tap_x, 0, wrap);
    tap_y += select(0, 1, wrap);
}

fn x_advance() {
    tap_quad += 1u;
    x_next();
}

fn x_skip(k: u32) {
    tap_quad += k / 4u;
    x_next();
}

fn x_along(k: u32, beyond: u32) {}

fn x_at(slot: u32, k: u32, beyond: u32) -> Brought {
    // As unsigned numbers, what lies above or left of the picture is past its end too.
    let iy = u32(x_top[slot] + tap_y);
    let ix = u32(x_left[slot] + tap_x);
    var counts = (iy < params.virtual_height) & (ix < params.virtual_width);
#ifndef COOP
    counts &= k < params.k;
#endif
    var pixel = u32(tap_y * i32(params.width) + tap_x);
    if (UPSAMPLE) {
        pixel = iy * params.height / params.virtual_height * params.width
            + ix * params.width / params.virtual_width;
    }
    // No branch: threads of a vector would part here.
    let at = x_first[slot] + pixel * (params.channels / 4u) + tap_quad;
    return Brought(x[lying(select(0u, at, counts)) + beyond], counts);
}

fn kept(slot: u32, b: Brought) -> SV {
#ifdef COOP
    return eight_halves(select(XV(), b.value, b.counts));
#else
    return select(SV(), from_a(b.value), b.counts);
#endif
}
#import gemm_slice
#endif

#ifndef SPLIT
fn finish(row: u32, column: u32, a: vec4<f32>, b: vec4<f32>) {
    store(row, column, a);
    store(row, column + 1u, b);
}

fn store(row: u32, column: u32, value: vec4<f32>) {
    let width = params.n / 4u;
    if (column >= width) {
        return;
    }
    var v = value;
    if (BIAS) {
        v += bias[column];
    }
    if (IMAGE_BIAS) {
        v += from_a(image_bias[row / (params.out_height * params.out_width) * params.image_bias_stride + column
            + params.image_bias_base]);
    }
    v = activate(v);
    if (RESIDUAL) {
        v += from_a(residual[row * width + column + params.residual_base]);
    }
    y[row * width + column + params.y_base] = to_a(v);
}
#endif

#import gemm
