// Rows of a table by id, plus a position's row; ids past the table are rows of words that were added. A table larger than a
// binding is bound window by window; a dispatch then writes only the rows whose ids lie in its window.
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
override ADDED: bool = false;

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> ids: array<u32>;       // [B, tokens]
@group(0) @binding(2) var<storage, read> table: array<WV>;      // [vocabulary, width]
@group(0) @binding(3) var<storage, read> added: array<AV>;      // [rows, width]: ids from the vocabulary's end on
@group(0) @binding(4) var<storage, read> positions: array<WV>;  // [tokens or more, width]
@group(0) @binding(5) var<storage, read_write> y: array<AV>;    // [B, tokens, width]

fn element(n: u32) {
    let row = n / params.width;
    let column = n % params.width;
    let id = ids[row];
    let beyond = ADDED && id >= params.end;
    if (id < params.begin || (id >= params.end && !beyond)) {
        return;
    }
    var v: FV;
    if (beyond) {
        v = from_a(added[(id - params.end) * params.width + column]);
    } else {
        v = from_w(table[id * params.width + column + params.base]);
    }
    if (POSITIONS) {
        v += from_w(positions[row % params.tokens * params.width + column]);
    }
    y[n] = to_a(v);
}
