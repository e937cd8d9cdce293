// conv2d with one thread an output and no vectors: for channel counts that are no multiple of four, and the
// plain twin that the tiled kernel is measured against.
#variants {A_F32 W_F32, A_F32 W_F16, A_F16 W_F16} {VEC1}
#import storage
#import activations
#import flat

struct Params {
    m: u32,
    n: u32,
    k: u32,
    k_slice: u32,
    m_base: u32,
    x_base: u32,
    residual_base: u32,
    y_base: u32,
    channels: u32,
    height: u32,
    width: u32,
    virtual_height: u32,
    virtual_width: u32,
    out_height: u32,
    out_width: u32,
    kernel_width: u32,
    stride: u32,
    pad_top: u32,
    pad_left: u32,
    image_bias_stride: u32,
    image_bias_base: u32,
}
override BIAS: bool = false;
override RESIDUAL: bool = false;
override IMAGE_BIAS: bool = false;
override UPSAMPLE: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;          // [B, H, W, C]
@group(0) @binding(2) var<storage, read> weight: array<WV>;     // [KH, KW, C, N]
@group(0) @binding(3) var<storage, read> bias: array<f32>;      // [N]
@group(0) @binding(4) var<storage, read> image_bias: array<AV>; // [B or 1, N]
@group(0) @binding(5) var<storage, read> residual: array<AV>;   // [B, OH, OW, N]
@group(0) @binding(6) var<storage, read_write> y: array<AV>;    // [B, OH, OW, N]

@compute @workgroup_size(FLAT)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let i = flat_index(workgroup, workgroups, local);
    if (i >= params.m * params.n) {
        return;
    }
    let row = params.m_base + i / params.n;
    let column = i % params.n;
    let pixels = params.out_height * params.out_width;
    let image = row / pixels;
    let top = i32(row % pixels / params.out_width * params.stride) - i32(params.pad_top);
    let left = i32(row % params.out_width * params.stride) - i32(params.pad_left);
    let taps = params.k / params.channels;
    var sum = 0.0;
    for (var tap = 0u; tap < taps; tap++) {
        var iy = u32(top + i32(tap / params.kernel_width));
        var ix = u32(left + i32(tap % params.kernel_width));
        if (iy >= params.virtual_height || ix >= params.virtual_width) {
            continue;
        }
        if (UPSAMPLE) {
            iy = iy * params.height / params.virtual_height;
            ix = ix * params.width / params.virtual_width;
        }
        let begin = ((image * params.height + iy) * params.width + ix) * params.channels + params.x_base;
        for (var c = 0u; c < params.channels; c++) {
            let w = weight[(tap * params.channels + c) * params.n + column];
            sum = fma(from_a(x[begin + c]), from_w(w), sum);
        }
    }
    if (BIAS) {
        sum += bias[column];
    }
    if (IMAGE_BIAS) {
        sum += from_a(image_bias[image * params.image_bias_stride + column
            + params.image_bias_base]);
    }
    sum = activate(sum);
    if (RESIDUAL) {
        sum += from_a(residual[row * params.n + column + params.residual_base]);
    }
    y[row * params.n + column + params.y_base] = to_a(sum);
}
