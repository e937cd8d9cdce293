// How products read their weight matrix: a quad of it on its way from memory, and its numbers once it has come; until then
// nothing of it is looked at. Blocks are 32 ks of a column that share a scale, a half. All quants lie before all scales:
//   W_Q8, W_Q4  words of four columns at one k, or at two, [K, N/4] or [K/2, N/4]; [K/32, N] scales
//   W_N8, W_N4  words of four ks of a column, or of eight, [N, K/4] or [N, K/8]; [N, K/32] scales
// A quad is four columns at k; where the matrix lies column by column, four ks of a column.
#set stored
A_F32 W_F32
A_F32 W_F16
A_F32 W_N16
A_F32 W_H16
A_F16 W_F16
A_F16 W_N16
A_H16 W_H16
A_F32 W_Q8
A_F32 W_Q4
A_F32 W_N8
A_F32 W_N4
A_F16 W_Q8
A_F16 W_Q4
A_F16 W_N8
A_F16 W_N4
A_H16 W_Q8
A_H16 W_Q4
#endset
// As shaders that run in software read them.
#set stored_in_panels
A_F32 W_F32
A_F32 W_H16
A_F32 W_Q8
A_F32 W_Q4
A_H16 W_H16
A_H16 W_Q8
A_H16 W_Q4
#endset
// As cooperative matrices do.
#set stored_by_columns
A_F16 W_N16
A_F16 W_N8
A_F16 W_N4
#endset
#ifdef W_Q8 W_Q4 W_N8 W_N4
// The first word of scales.
fn w_scales() -> u32 { return params.n * (params.k / 32u) * BITS; }
#endif
#ifdef W_Q8 W_Q4
struct Quad {
    word: u32,
    quad: u32, // of the word
    scales: vec2<u32>,
}

fn w_quad(column: u32, k: u32) -> Quad {
    let width = params.n / 4u;
    let at = w_scales() + 2u * (k / 32u * width + column);
    return Quad(weight[k / QUADS * width + column], k % QUADS, vec2<u32>(weight[at], weight[at + 1u]));
}

fn w_numbers(w: Quad) -> vec4<f32> {
    return quants(w.word, w.quad) * vec4<f32>(unpack2x16float(w.scales.x), unpack2x16float(w.scales.y));
}
#elifdef W_N8 W_N4
struct Quad {
    word: u32,
    quad: u32, // of the word
    scales: u32,
    odd: bool, // which of the two scales
}

fn w_quad(column: u32, k: u32) -> Quad {
    let at = column * (params.k / 4u) + k / 4u;
    return Quad(weight[at / QUADS], at % QUADS, weight[w_scales() + at / 16u], at / 8u % 2u == 1u);
}

fn w_numbers(w: Quad) -> vec4<f32> {
    let scales = unpack2x16float(w.scales);
    return quants(w.word, w.quad) * select(scales.x, scales.y, w.odd);
}
#elifdef W_N16
#ifndef COOP
alias Quad = WV;

fn w_quad(column: u32, k: u32) -> WV {
    return weight[column * (params.k / 4u) + min(k, params.k - 4u) / 4u];
}

fn w_numbers(w: WV) -> vec4<f32> { return from_w(w); }
#endif
#else
alias Quad = WV;

fn w_quad(column: u32, k: u32) -> WV {
    return weight[min(k, params.k - 1u) * (params.n / 4u) + column];
}

fn w_numbers(w: WV) -> vec4<f32> { return from_w(w); }
#endif

#ifdef COOP
// Eight ks as tiles of matrices hold them.
struct Eight {
    low: vec4<f16>,
    high: vec4<f16>,
}

// Halves that came as words. Drivers see that there is nothing to convert.
fn halves(words: vec2<u32>) -> vec4<f16> {
    return vec4<f16>(vec4<f32>(unpack2x16float(words.x), unpack2x16float(words.y)));
}

fn eight_halves(words: vec4<u32>) -> Eight { return Eight(halves(words.xy), halves(words.zw)); }

// Eight ks of a column on their way from memory, the `at`th eight of the matrix; and those numbers once they have come.
#ifdef W_N16
alias Words = WV;

fn w_at(at: u32) -> Words { return weight[at]; }

fn w_kept(w: Words) -> Eight { return eight_halves(w); }
#else
struct Words {
#ifdef W_N8
    quants: vec2<u32>,
#else
    quants: u32,
#endif
    scales: u32,
    odd: bool, // which of the two scales
}

fn w_at(at: u32) -> Words {
#ifdef W_N8
    let words = vec2<u32>(weight[2u * at], weight[2u * at + 1u]);
#else
    let words = weight[at];
#endif
    return Words(words, weight[w_scales() + at / 8u], at / 4u % 2u == 1u);
}

fn w_kept(w: Words) -> Eight {
    let scales = unpack2x16float(w.scales);
    let scale = f16(select(scales.x, scales.y, w.odd));
#ifdef W_N8
    return Eight(vec4<f16>(quants(w.quants.x, 0u)) * scale, vec4<f16>(quants(w.quants.y, 0u)) * scale);
#else
    return Eight(vec4<f16>(quants(w.quants, 0u)) * scale, vec4<f16>(quants(w.quants, 1u)) * scale);
#endif
}
#endif
#endif
