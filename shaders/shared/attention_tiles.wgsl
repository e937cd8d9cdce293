// attention_coop's rooms in workgroup memory, behind functions that speak of vec4s. SCALAR: Metal's fragments are loaded
// from arrays of numbers, not of vectors. It imports this after BK, BM and the lengths of rows are known.
#ifdef SCALAR
const UNIT: u32 = 4u;
var<workgroup> tile: array<f16, 4u * BK * T_ROW>;   // [BK, T_ROW] vec4s: of k and v in turn
var<workgroup> p_tile: array<f16, 4u * BM * P_ROW>; // [BM, P_ROW]: exponentials, and q at first
var<workgroup> s_tile: array<f32, 4u * BM * S_ROW>; // [BM, S_ROW]: scores, or BK columns of the result

fn put(at: u32, value: vec4<f16>) {
#for i in 0..4
    tile[4u * at + $iu] = value[$i];
#endfor
}

fn put_p(at: u32, value: vec4<f32>) {
#for i in 0..4
    p_tile[4u * at + $iu] = f16(value[$i]);
#endfor
}

fn put_s(at: u32, value: vec4<f32>) {
#for i in 0..4
    s_tile[4u * at + $iu] = value[$i];
#endfor
}

fn s_at(at: u32) -> vec4<f32> {
    return vec4<f32>(s_tile[4u * at], s_tile[4u * at + 1u], s_tile[4u * at + 2u], s_tile[4u * at + 3u]);
}
#else
const UNIT: u32 = 1u;
var<workgroup> tile: array<vec4<f16>, BK * T_ROW>;
var<workgroup> p_tile: array<vec4<f16>, BM * P_ROW>;
var<workgroup> s_tile: array<vec4<f32>, BM * S_ROW>;

fn put(at: u32, value: vec4<f16>) { tile[at] = value; }
fn put_p(at: u32, value: vec4<f32>) { p_tile[at] = vec4<f16>(value); }
fn put_s(at: u32, value: vec4<f32>) { s_tile[at] = value; }
fn s_at(at: u32) -> vec4<f32> { return s_tile[at]; }
#endif
