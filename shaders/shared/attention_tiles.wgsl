// attention_coop's tiles, by kinds of matrices and sizes of heads, and their rooms in workgroup memory, behind functions
// that speak of vec4s. SCALAR: Metal's fragments are loaded from arrays of numbers, not of vectors.
//   SIDE, LANES  of a fragment's edge and of a subgroup
//   WM, FM  subgroups of a workgroup; fragments down that each has
//   FD      fragments along the head: FD · SIDE is the largest head that fits
//   FN      fragments along the keys of a block, which are 32
//   BRING   vec4s of a block's keys, and as many of its values, that a thread brings
//   QUADS   vec4s of a row of scores that a thread looks at
//   TEAM    subgroups that share rows: each has FD fragments of a longer head, and theirs are added up
#set coop_heads
SIDE=16 LANES=32 WM=4 FM=1 FD=3 FN=2 BRING=3 QUADS=4
SIDE=16 LANES=32 WM=4 FM=1 FD=4 FN=2 BRING=4 QUADS=4
SIDE=16 LANES=32 WM=4 FM=1 FD=5 FN=2 BRING=5 QUADS=4
SIDE=16 LANES=32 WM=4 FM=1 FD=10 FN=2 BRING=10 QUADS=4
SIDE=16 LANES=32 WM=4 FM=1 FD=8 FN=2 BRING=8 QUADS=4 TEAM=4
SIDE=16 LANES=64 WM=4 FM=1 FD=3 FN=2 BRING=2 QUADS=2
SIDE=16 LANES=64 WM=4 FM=1 FD=4 FN=2 BRING=2 QUADS=2
SIDE=16 LANES=64 WM=4 FM=1 FD=5 FN=2 BRING=3 QUADS=2
SIDE=16 LANES=64 WM=4 FM=1 FD=10 FN=2 BRING=5 QUADS=2
SIDE=8 LANES=8 WM=4 FM=1 FD=5 FN=4 BRING=10 QUADS=8
SIDE=8 LANES=8 WM=4 FM=1 FD=8 FN=4 BRING=16 QUADS=8
SIDE=8 LANES=8 WM=4 FM=1 FD=4 FN=4 BRING=8 QUADS=8 TEAM=4
SIDE=8 LANES=32 WM=4 FM=2 FD=5 FN=4 BRING=3 QUADS=2 SCALAR
SIDE=8 LANES=32 WM=4 FM=2 FD=8 FN=4 BRING=4 QUADS=2 SCALAR
SIDE=8 LANES=32 WM=4 FM=2 FD=10 FN=4 BRING=5 QUADS=2 SCALAR
SIDE=8 LANES=32 WM=4 FM=1 FD=20 FN=4 BRING=10 QUADS=2 SCALAR
#endset
#ifdef TEAM
const ROOMS: u32 = TEAM; // for each member's part of the scores
#else
const ROOMS: u32 = 1u;
#endif
const BM: u32 = WM / ROOMS * FM * SIDE;
const BK: u32 = FN * SIDE;
const_assert BK == 32u;
const BK4: u32 = BK / 4u;
const D4: u32 = ROOMS * FD * SIDE / 4u;
const SIDE4: u32 = SIDE / 4u;
const THREADS: u32 = WM * LANES;
const PARTS: u32 = LANES / SIDE; // threads that share a row of scores
const_assert QUADS * PARTS == BK4;
#ifdef TEAM
const_assert BM <= BK && BK * D4 % (BRING * THREADS) == 0u;
#else
const_assert BRING * THREADS >= BK * D4 && (BRING - 1u) * THREADS < BK * D4;
#endif
// Rows in workgroup memory are padded by 16 bytes, so that a fragment's rows lie in different banks.
const T_ROW: u32 = D4 + 2u;
const P_ROW: u32 = BK4 + 2u;
const S_ROW: u32 = BK4 + 1u;

#ifdef SCALAR
const UNIT: u32 = 4u;
var<workgroup> tile: array<f16, 4u * BK * T_ROW>;   // [BK, T_ROW] vec4s: of k and v in turn
var<workgroup> p_tile: array<f16, 4u * BM * P_ROW>; // [BM, P_ROW]: exponentials, and q at first
var<workgroup> s_tile: array<f32, 4u * ROOMS * BM * S_ROW>; // [BM, S_ROW]: scores, or BK columns of the result

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
#else
const UNIT: u32 = 1u;
var<workgroup> tile: array<vec4<f16>, BK * T_ROW>;
var<workgroup> p_tile: array<vec4<f16>, BM * P_ROW>;
var<workgroup> s_tile: array<vec4<f32>, ROOMS * BM * S_ROW>;

fn put(at: u32, value: vec4<f16>) { tile[at] = value; }
fn put_p(at: u32, value: vec4<f32>) { p_tile[at] = vec4<f16>(value); }
#endif
#import results
