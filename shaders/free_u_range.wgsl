// FreeU's second version: an image's means, from 0 for the least to 1 for the largest.
#variants {-}

struct Params {
    pixels: u32, // of an image
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read_write> means: array<f32>; // [B, pixels]

var<workgroup> sh_ranges: array<vec2<f32>, 64>;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let begin = workgroup.x * params.pixels;
    var range = vec2<f32>(means[begin]);
    for (var i = local; i < params.pixels; i += 64u) {
        let v = means[begin + i];
        range = vec2<f32>(min(range.x, v), max(range.y, v));
    }
    sh_ranges[local] = range;
    workgroupBarrier();
    for (var step = 32u; step > 0u; step /= 2u) {
        if (local < step) {
            let own = sh_ranges[local];
            let other = sh_ranges[local + step];
            sh_ranges[local] = vec2<f32>(min(own.x, other.x), max(own.y, other.y));
        }
        workgroupBarrier();
    }
    let least = sh_ranges[0].x;
    let length = sh_ranges[0].y - least;
    let inverse = select(0.0, 1.0 / length, length > 0.0);
    for (var i = local; i < params.pixels; i += 64u) {
        means[begin + i] = (means[begin + i] - least) * inverse;
    }
}
