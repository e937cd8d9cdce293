// How activations (A) and weights (W) lie in storage. All arithmetic is in f32; only loads and stores differ.
// AV and WV hold V consecutive channels, FV the same V channels as f32.
//   A_, W_  F32; F16, which needs shader-f16; H16, the same bytes as F16 read as pairs packed in u32, on any device
//   W_N16   as W_F16, but matrices lie column by column ([N, K]) where the device has matrices to multiply them with, which
//           take eight numbers at a time
//   W_Q8, W_Q4, W_N8, W_N4   matrices in blocks of bytes or nibbles, row by row or column by column (`weights`): WV is a word
//           of QUADS times four
//   VEC4    four channels at a time; VEC1 for channel counts that are no multiple of four
#set vectors
A_F32 VEC4
A_F16 VEC4
A_H16 VEC4
A_F32 VEC1
A_F16 VEC1
#endset
#ifdef VEC1
const V: u32 = 1u;
alias FV = f32;
#else
const V: u32 = 4u;
alias FV = vec4<f32>;
#endif

#ifdef A_F32
alias AV = FV;
fn from_a(v: AV) -> FV { return v; }
fn to_a(v: FV) -> AV { return v; }
#endif
#ifdef A_F16
#ifdef VEC1
alias AV = f16;
fn from_a(v: AV) -> FV { return f32(v); }
fn to_a(v: FV) -> AV { return f16(v); }
#else
alias AV = vec4<f16>;
fn from_a(v: AV) -> FV { return vec4<f32>(v); }
fn to_a(v: FV) -> AV { return vec4<f16>(v); }
#endif
#endif
#ifdef A_H16
alias AV = vec2<u32>;
fn from_a(v: AV) -> FV { return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)); }
fn to_a(v: FV) -> AV { return vec2<u32>(pack2x16float(v.xy), pack2x16float(v.zw)); }
#endif

#ifdef W_F32
alias WV = FV;
fn from_w(v: WV) -> FV { return v; }
#endif
#ifdef W_F16
#ifdef VEC1
alias WV = f16;
fn from_w(v: WV) -> FV { return f32(v); }
#else
alias WV = vec4<f16>;
fn from_w(v: WV) -> FV { return vec4<f32>(v); }
#endif
#endif
#ifdef W_N16
#ifdef COOP
alias WV = vec4<u32>; // eight ks of a column
#else
alias WV = vec4<f16>;
fn from_w(v: WV) -> FV { return vec4<f32>(v); }
#endif
#endif
#ifdef W_H16
alias WV = vec2<u32>;
fn from_w(v: WV) -> FV { return vec4<f32>(unpack2x16float(v.x), unpack2x16float(v.y)); }
#endif

#ifdef W_Q8 W_N8
alias WV = u32;
const BITS: u32 = 8u;
const QUADS: u32 = 1u;
fn quants(v: WV, quad: u32) -> vec4<f32> {
    return vec4<f32>(vec4<i32>(vec4<u32>(v) << vec4<u32>(24u, 16u, 8u, 0u)) >> vec4<u32>(24u));
}
#endif
#ifdef W_Q4 W_N4
alias WV = u32;
const BITS: u32 = 4u;
const QUADS: u32 = 2u;
fn quants(v: WV, quad: u32) -> vec4<f32> {
    return vec4<f32>((vec4<u32>(v >> (16u * quad)) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u)) - 8.0;
}
#endif

// The sum of a vector's lanes.
#ifdef VEC1
fn lanes(v: FV) -> f32 { return v; }
#else
fn lanes(v: FV) -> f32 { return v.x + v.y + v.z + v.w; }
#endif
