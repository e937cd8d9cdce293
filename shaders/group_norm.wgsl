// Group normalisation in one launch: a workgroup takes a group's channels of an image, finds their mean and variance,
// and writes y = activation(x · scale + shift). For groups that one workgroup reads twice in less time than it takes to
// launch three kernels. The channels may be those of two values side by side: a skip connection is read where it lies.
#variants {vectors}
#import storage
#import activations

const THREADS: u32 = 256u;

struct Params {
    rows: u32,   // rows (pixels) of an image
    width: u32,  // vectors of a row of x
    beside: u32, // vectors of a row of what lies beside it
    size: u32,   // channels of a group
    eps: f32,
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;       // [B, rows, width]
@group(0) @binding(2) var<storage, read> beside: array<AV>;  // [B, rows, beside]
@group(0) @binding(3) var<storage, read> gamma: array<FV>;   // [width + beside]
@group(0) @binding(4) var<storage, read> beta: array<FV>;    // [width + beside]
@group(0) @binding(5) var<storage, read_write> y: array<AV>; // [B, rows, width + beside]

var<workgroup> sh_sums: array<f32, THREADS>;

fn total(value: f32, local: u32) -> f32 {
    sh_sums[local] = value;
    workgroupBarrier();
    for (var step = THREADS / 2u; step > 0u; step /= 2u) {
        if (local < step) {
            sh_sums[local] += sh_sums[local + step];
        }
        workgroupBarrier();
    }
    let sum = sh_sums[0];
    workgroupBarrier();
    return sum;
}

fn value_at(column: u32, row: u32) -> FV {
    if (column < params.width) {
        return from_a(x[row * params.width + column]);
    }
    return from_a(beside[row * params.beside + column - params.width]);
}

@compute @workgroup_size(THREADS)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(local_invocation_index) local: u32) {
    let first = workgroup.x * params.size;         // channel
    let last = first + params.size - 1u;
    let columns = last / V - first / V + 1u;       // vectors with channels of this group
    // A thread keeps to one column and to every `team`th row. Vectors at the ends may hold channels of other groups.
    let team = THREADS / columns;
    let column = first / V + local % columns;
    let begin = local / columns;
    let rows = select(0u, params.rows, begin < team);
    let image = workgroup.y * params.rows;
#ifdef VEC1
    let own = 1.0;
#else
    let channel = vec4<u32>(4u * column) + vec4<u32>(0u, 1u, 2u, 3u);
    let inside = (channel >= vec4<u32>(first)) & (channel <= vec4<u32>(last));
    let own = select(vec4<f32>(0.0), vec4<f32>(1.0), inside);
#endif

    // Sums about a thread's first row, so that a mean far from zero costs no precision; then each thread's part about
    // the mean of all (Chan, Golub and LeVeque 1979). Four rows at a time are on their way.
    let pivot = value_at(column, image + min(begin, params.rows - 1u));
    var sum = FV(0.0);
    var squares = FV(0.0);
    var count = 0.0;
    for (var row = begin; row < rows; row += 4u * team) {
#for i in 0..4
        let at_$i = image + min(row + $iu * team, rows - 1u);
        var v_$i = AV();
#endfor
        // One branch around four loads, or each would be waited for in a branch of its own.
        if (column < params.width) {
#for i in 0..4
            v_$i = x[at_$i * params.width + column];
#endfor
        } else {
#for i in 0..4
            v_$i = beside[at_$i * params.beside + column - params.width];
#endfor
        }
#for i in 0..4
        let d_$i = from_a(v_$i) - pivot;
        let n_$i = select(0.0, 1.0, row + $iu * team < rows);
        count += n_$i;
        sum += n_$i * d_$i;
        squares += n_$i * d_$i * d_$i;
#endfor
    }
    let numbers = f32(params.rows * params.size);
    let mean = total(lanes(own * (count * pivot + sum)), local) / numbers;
    let within = select(FV(0.0), squares - sum * sum / count, count > 0.0);
    let off = select(FV(0.0), pivot + sum / count - mean, count > 0.0);
    let variance = total(lanes(own * (within + count * off * off)), local) / numbers;

    let scale = gamma[column] / sqrt(variance + params.eps);
    let shift = beta[column] - mean * scale;
    for (var row = begin; row < rows; row += 4u * team) {
#for i in 0..4
        let at_$i = image + min(row + $iu * team, rows - 1u);
        var v_$i = AV();
#endfor
        if (column < params.width) {
#for i in 0..4
            v_$i = x[at_$i * params.width + column];
#endfor
        } else {
#for i in 0..4
            v_$i = beside[at_$i * params.beside + column - params.width];
#endfor
        }
#for i in 0..4
        if (row + $iu * team < rows) {
            let at = (image + row + $iu * team) * (params.width + params.beside) + column;
            let v = to_a(activate(fma(from_a(v_$i), scale, shift)));
#ifdef VEC1
            y[at] = v;
#else
            if (all(inside)) {
                y[at] = v;
            } else {
#ifdef A_H16
                // Groups are of even numbers of channels where they are packed in pairs.
                if (inside.x) { y[at].x = v.x; }
                if (inside.z) { y[at].y = v.y; }
#else
                if (inside.x) { y[at].x = v.x; }
                if (inside.y) { y[at].y = v.y; }
                if (inside.z) { y[at].z = v.z; }
                if (inside.w) { y[at].w = v.w; }
#endif
            }
#endif
        }
#endfor
    }
}
