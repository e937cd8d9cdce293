// The sinusoidal embeddings of all steps' times (Ho et al. 2020, arXiv:2006.11239; diffusers' get_timestep_embedding).
// Device sines are good to 5e-4 only and lose more far from zero, so the angle is reduced and the sine computed here.
#variants {A_F32 VEC1, A_F16 VEC1, A_H16 VEC4}
#import storage
#import elementwise

struct Params {
    count: u32, // output vectors
    half: u32,  // sines of a step, and as many cosines
    cosine_first: u32, // 1: cosines come first
    words: u32,    // of a row of the table
    timestep: u32, // which of them is the time
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> table: array<u32>;       // [steps, words]
@group(0) @binding(2) var<storage, read> frequencies: array<f32>; // [half]
@group(0) @binding(3) var<storage, read_write> y: array<AV>;      // [steps, 2 half]

// Cody and Waite's reduction by multiples of pi/2 in three parts, then Taylor polynomials on [-pi/4, pi/4]. The first
// two parts have so few bits (8 and 11; Cephes' for pi/4, doubled) that their products with fewer than 2^13 turns are
// exact: WGSL's fma may round in between.
fn sine(angle: f32, quarter: u32) -> f32 {
    let turns = round(angle * 0.6366197723675814);
    var r = fma(-turns, 1.5703125, angle);
    r = fma(-turns, 4.837512969970703e-4, r);
    r = fma(-turns, 7.549789954891882e-8, r);
    let r2 = r * r;
    let s = r * (1.0 + r2 * (-1.6666667e-1 + r2 * (8.3333333e-3 + r2 * (-1.9841270e-4 + r2 * 2.7557319e-6))));
    let c = 1.0 + r2 * (-0.5 + r2 * (4.1666667e-2 + r2 * (-1.3888889e-3 + r2 * (2.4801587e-5 + r2 * -2.7557319e-7))));
    let quadrant = (u32(i32(turns)) + quarter) % 4u;
    let v = select(s, c, quadrant % 2u == 1u);
    return select(v, -v, quadrant >= 2u);
}

fn value(i: u32) -> f32 {
    let at = i / (2u * params.half) * params.words + params.timestep;
    if (at >= arrayLength(&table)) {
        return 0.0;
    }
    let angle = bitcast<f32>(table[at]) * frequencies[i % params.half];
    let second = i / params.half % 2u;
    return sine(angle, (second + params.cosine_first) % 2u);
}

fn element(n: u32) {
#ifdef VEC1
    y[n] = to_a(value(n));
#else
    y[n] = to_a(vec4<f32>(value(4u * n), value(4u * n + 1u), value(4u * n + 2u), value(4u * n + 3u)));
#endif
}
