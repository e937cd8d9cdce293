// What attention and its other ways for devices take. The naive one counts in numbers.
struct Params {
    queries: u32, // rows of q
    keys: u32,    // rows of k and v
    heads: u32,
    head4: u32,   // vec4s of a head
    q_stride: u32, // vec4s from one row to the next
    k_stride: u32,
    v_stride: u32,
    y_stride: u32,
    q_base: u32,  // added (wrapping) to vec4 indices: the bound windows begin there
    k_base: u32,
    v_base: u32,
    y_base: u32,
    scale: f32,   // times log2(e), so that the exponentials are powers of two
    causal: u32,  // 1: a query sees no later key
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> q: array<AV>;       // [B, queries, heads, head4]
@group(0) @binding(2) var<storage, read> k: array<AV>;       // [B, keys, heads, head4]
@group(0) @binding(3) var<storage, read> v: array<AV>;       // [B, keys, heads, head4]
@group(0) @binding(4) var<storage, read_write> y: array<AV>; // [B, queries, heads, head4]
