// Four numbers of a product's left operand on their way from memory, as they lie there, and whether they count. Neither is
// looked at before they are put down in workgroup memory, by the op's `kept`: until then nothing waits for them.
struct Brought {
    value: AV,
    counts: bool,
}

// What tiles hold: halves stay halves where halves are multiplied.
#ifdef COOP
alias SV = vec4<f16>;
fn as_staged(v: AV) -> SV { return v; }
#else
alias SV = vec4<f32>;
fn as_staged(v: AV) -> SV { return from_a(v); }
#endif

// The vec4 index of the first of two neighbours. Where every one is even, saying so lets a driver load both at once.
fn paired(at: u32) -> u32 {
    return select(at, at & 0xfffffffeu, WHOLE);
}
