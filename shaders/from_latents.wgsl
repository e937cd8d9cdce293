// Latents in f32 to a model's input in its own storage type, scaled and shifted, once for each guidance half.
#variants {vectors}
#import storage
#import elementwise

struct Params {
    count: u32,  // vectors written for each copy
    begin: u32,   // first vector read
    copies: u32,
    scale: f32,
    shift: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> latents: array<FV>; // [count or more]
@group(0) @binding(2) var<storage, read_write> y: array<AV>; // [copies, count]

fn element(n: u32) {
    let v = to_a(latents[n + params.begin] * params.scale + params.shift);
    for (var copy = 0u; copy < params.copies; copy++) {
        y[n + copy * params.count] = v;
    }
}
