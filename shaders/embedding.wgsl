// Rows of a table by id, plus a position's row. A table larger than a binding is bound window by window; a
// dispatch then writes only the rows whose ids lie in its window.
#variants {A_F32 W_F32, A_F32 W_F16, A_F32 W_H16, A_F16 W_F16, A_H16 W_H16} {VEC4}
#variants {A_F32 W_F32, A_F32 W_F16, A_F16 W_F16} {VEC1}
#import storage
#import elementwise

struct Params {
    count: u32,   // output vectors
    width: u32,   // vectors of a row
    tokens: u32,  // ids of a prompt
    begin: u32,    // ids of the bound window: from..to
    end: u32,
    base: u32,    // added (wrapping) to the table's vector indices
}
override POSITIONS: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;       // [B, tokens]
@group(0) @binding(2) var<storage, read> table: array<WV>;      // [vocabulary, width]
@group(0) @binding(3) var<storage, read> positions: array<WV>;  // [tokens or more, width]
@group(0) @binding(4) var<storage, read_write> y: array<AV>;    // [B, tokens, width]

fn element(n: u32) {
    let row = n / params.width;
    let column = n % params.width;
    let id = ids[row];
    if (id < params.begin || id >= params.end) {
        return;
    }
    var v = from_w(table[id * params.width + column + params.base]);
    if (POSITIONS) {
        v += from_w(positions[row % params.tokens * params.width + column]);
    }
    y[n] = to_a(v);
}
