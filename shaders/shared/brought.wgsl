// Numbers of a product's left operand on their way from memory, as they lie there, and whether they count. Neither is
// looked at before they are put down in workgroup memory, by the op's `kept`: until then nothing waits for them. They come
// four at a time; for tiles of matrices, whose slices of k are whole, eight halves at a time, in one load of 16 bytes.
#ifdef COOP
alias XV = vec4<u32>;
alias SV = Eight;
#else
alias XV = AV;
alias SV = vec4<f32>;
#endif

struct Brought {
    value: XV,
    counts: bool,
}

// Which of the left operand's loads a quad is in, the first of its two quads where there are.
#ifdef COOP
fn lying(quad: u32) -> u32 { return quad / 2u; }
#else
fn lying(quad: u32) -> u32 { return quad; }
#endif
