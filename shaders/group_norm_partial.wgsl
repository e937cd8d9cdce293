// Group normalisation, first of three: mean and squared deviation of each channel over a chunk of rows. Sums
// are taken about the chunk's first row, so that a mean far from zero costs no precision.
#variants {vectors}
#import storage

struct Params {
    rows: u32,      // rows (pixels) of an image
    width: u32,     // vectors of a row
    chunk: u32,     // rows a workgroup sums
    chunks: u32,    // chunks of an image
    first: u32,     // first chunk of this dispatch
    x_base: u32,    // added (wrapping) to vector indices: the bound window begins there
    image: u32,     // first image of this dispatch
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;             // [B, rows, width]
@group(0) @binding(2) var<storage, read_write> partial: array<FV>; // [B, chunks, 2, width]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let column = workgroup.y * 64u + local;
    if (column >= params.width) {
        return;
    }
    let chunk = params.first + workgroup.x;
    let image = params.image + workgroup.z;
    let begin = chunk * params.chunk;
    let end = min(begin + params.chunk, params.rows);
    let at = image * params.rows * params.width + column + params.x_base;
    let pivot = from_a(x[at + begin * params.width]);
    var sum = FV(0.0);
    var squares = FV(0.0);
    for (var row = begin; row < end; row++) {
        let d = from_a(x[at + row * params.width]) - pivot;
        sum += d;
        squares = fma(d, d, squares);
    }
    let mean = sum / f32(end - begin);
    let out = ((image * params.chunks + chunk) * 2u) * params.width + column;
    partial[out] = pivot + mean;
    partial[out + params.width] = squares - sum * mean;
}
