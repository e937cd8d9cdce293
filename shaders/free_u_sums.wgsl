// FreeU, first: what each channel of the skip has of its slowest waves. Eight vectors of channels a workgroup, an eighth of
// the pixels each thread.
#variants {vectors}
#import storage

struct Params {
    lines: u32,   // rows of pixels
    columns: u32, // pixels of one
    width: u32,   // vectors of a pixel
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;          // [B, lines, columns, width]
@group(0) @binding(2) var<storage, read> waves: array<f32>;     // [2 lines + 2 columns]
@group(0) @binding(3) var<storage, read_write> sums: array<FV>; // [B, 7, width]

var<workgroup> sh_sums: array<FV, 64>;

// The sum over a vector's eight threads, given to the first of them.
fn join(value: FV, local: u32) -> FV {
    workgroupBarrier();
    sh_sums[local] = value;
    workgroupBarrier();
    var sum = FV(0.0);
    for (var i = local % 8u; i < 64u; i += 8u) {
        sum += sh_sums[i];
    }
    return sum;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let column = workgroup.x * 8u + local % 8u;
    let inside = column < params.width;
    let pixels = params.lines * params.columns;
    let base = workgroup.y * pixels * params.width + select(0u, column, inside);
    var mean = FV(0.0);
    var down_cos = FV(0.0);
    var down_sin = FV(0.0);
    var along_cos = FV(0.0);
    var along_sin = FV(0.0);
    var both_cos = FV(0.0);
    var both_sin = FV(0.0);
    for (var pixel = local / 8u; pixel < pixels; pixel += 8u) {
        let v = from_a(x[base + pixel * params.width]);
        let line = pixel / params.columns;
        let place = pixel % params.columns;
        let a = vec2<f32>(waves[line], waves[params.lines + line]);
        let b = vec2<f32>(waves[2u * params.lines + place], waves[2u * params.lines + params.columns + place]);
        mean += v;
        down_cos += v * a.x;
        down_sin += v * a.y;
        along_cos += v * b.x;
        along_sin += v * b.y;
        both_cos += v * (a.x * b.x - a.y * b.y);
        both_sin += v * (a.y * b.x + a.x * b.y);
    }
    mean = join(mean, local);
    down_cos = join(down_cos, local);
    down_sin = join(down_sin, local);
    along_cos = join(along_cos, local);
    along_sin = join(along_sin, local);
    both_cos = join(both_cos, local);
    both_sin = join(both_sin, local);
    if (local < 8u && inside) {
        let at = workgroup.y * 7u * params.width + column;
        sums[at] = mean;
        sums[at + params.width] = down_cos;
        sums[at + 2u * params.width] = down_sin;
        sums[at + 3u * params.width] = along_cos;
        sums[at + 4u * params.width] = along_sin;
        sums[at + 5u * params.width] = both_cos;
        sums[at + 6u * params.width] = both_sin;
    }
}
