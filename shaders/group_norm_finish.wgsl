// Group normalisation, second of three: joins the chunks' channel moments into each group's mean and variance
// (Chan, Golub and LeVeque 1979), and folds gamma and beta in: y = x · scale + shift, channel by channel.
#variants {-, SUBGROUPS}
#import reduce

struct Params {
    rows: u32,
    channels: u32,
    groups: u32,
    chunk: u32,
    chunks: u32,
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> partial: array<f32>;   // [B, chunks, 2, C]
@group(0) @binding(2) var<storage, read> gamma: array<f32>;     // [C]
@group(0) @binding(3) var<storage, read> beta: array<f32>;      // [C]
@group(0) @binding(4) var<storage, read_write> affine: array<f32>; // [B, 2, C]: scale, shift

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, team: Team) {
    let local = team.local;
    let group = workgroup.x;
    let image = workgroup.y;
    let size = params.channels / params.groups;
    let cells = params.chunks * size;
    let count = f32(params.rows) * f32(size);
    let base = image * params.chunks * 2u * params.channels + group * size;

    var sum = 0.0;
    for (var i = local; i < cells; i += 64u) {
        let chunk = i / size;
        let n = f32(min(params.chunk, params.rows - chunk * params.chunk));
        sum = fma(n, partial[base + chunk * 2u * params.channels + i % size], sum);
    }
    let mean = reduce(sum, team) / count;

    var squares = 0.0;
    for (var i = local; i < cells; i += 64u) {
        let chunk = i / size;
        let n = f32(min(params.chunk, params.rows - chunk * params.chunk));
        let at = base + chunk * 2u * params.channels + i % size;
        let d = partial[at] - mean;
        squares += fma(n * d, d, partial[at + params.channels]);
    }
    let variance = reduce(squares, team) / count;

    let inverse = 1.0 / sqrt(variance + params.eps);
    for (var c = local; c < size; c += 64u) {
        let channel = group * size + c;
        let scale = inverse * gamma[channel];
        affine[image * 2u * params.channels + channel] = scale;
        affine[(image * 2u + 1u) * params.channels + channel] = beta[channel] - mean * scale;
    }
}
