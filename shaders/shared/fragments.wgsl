// Workgroup memory as cooperative matrices are loaded from it and stored to it: UNIT elements of an array are four numbers.
// Metal's matrices are loaded from scalars, Vulkan's from vectors too, which take fewer instructions to fill.
#ifdef SCALAR
const UNIT: u32 = 4u;
var<workgroup> x_tile: array<f16, 4u * HALVES * X_HALF>; // [HALVES, BM, ROW] vec4s
var<workgroup> w_tile: array<f16, 4u * HALVES * W_HALF>; // [HALVES, BN, ROW]
var<workgroup> s_tile: array<f32, 4u * WM * WN * SIDE * SIDE4>; // [subgroup, SIDE, SIDE4]

fn put_x(at: u32, value: Eight) {
#for i in 0..4
    x_tile[4u * at + $iu] = value.low[$i];
    x_tile[4u * at + 4u + $iu] = value.high[$i];
#endfor
}

fn put_w(at: u32, value: Eight) {
#for i in 0..4
    w_tile[4u * at + $iu] = value.low[$i];
    w_tile[4u * at + 4u + $iu] = value.high[$i];
#endfor
}
#else
const UNIT: u32 = 1u;
var<workgroup> x_tile: array<vec4<f16>, HALVES * X_HALF>;
var<workgroup> w_tile: array<vec4<f16>, HALVES * W_HALF>;
var<workgroup> s_tile: array<vec4<f32>, WM * WN * SIDE * SIDE4>;

fn put_x(at: u32, value: Eight) {
    x_tile[at] = value.low;
    x_tile[at + 1u] = value.high;
}

fn put_w(at: u32, value: Eight) {
    w_tile[at] = value.low;
    w_tile[at + 1u] = value.high;
}
#endif
#import results

// What an op's hooks share before there are results, a pair of numbers for each of BM rows.
const_assert BM <= WM * WN * SIDE * SIDE4;
fn share(row: u32, pair: vec2<f32>) { put_s(row, vec4<f32>(pair, 0.0, 0.0)); }
fn shared_of(row: u32) -> vec2<f32> { return staged(row).xy; }
