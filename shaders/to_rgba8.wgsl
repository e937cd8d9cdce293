// A decoded picture in [-1, 1] to opaque RGBA bytes, rounded half to even as diffusers' VaeImageProcessor does, or cut off as
// numpy does.
#variants {A_F32 VEC4, A_F16 VEC4, A_H16 VEC4}
#import storage
#import elementwise

struct Params {
    count: u32,  // pixels of this dispatch
    x_base: u32, // added to pixel indices: the bound windows begin there
    y_base: u32,
    truncate: u32, // 1: cut off
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;        // [pixels]: red, green, blue, unused
@group(0) @binding(2) var<storage, read_write> y: array<u32>; // [pixels]

fn element(n: u32) {
    let v = clamp(from_a(x[n + params.x_base]) * 0.5 + 0.5, vec4<f32>(0.0), vec4<f32>(1.0)) * 255.0;
    let c = vec4<u32>(select(round(v), v, params.truncate == 1u));
    y[n + params.y_base] = c.x | (c.y << 8u) | (c.z << 16u) | (255u << 24u);
}
