// FreeU's second version: the mean of each pixel's channels.
#variants {vectors}
#import storage
#import elementwise

struct Params {
    count: u32, // pixels of all images
    width: u32, // vectors of a pixel
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> h: array<AV>;            // [count, width]
@group(0) @binding(2) var<storage, read_write> means: array<f32>; // [count]

fn element(n: u32) {
    var sum = FV(0.0);
    for (var i = 0u; i < params.width; i++) {
        sum += from_a(h[n * params.width + i]);
    }
    means[n] = lanes(sum) / f32(params.width * V);
}
