// What guidance makes of the model's outputs, of the element `n`. Whoever takes it binds `params`, `step`, `output`, `factor`,
// `registers` and `weights` under these names.
override PROMPTS: u32 = 1u;      // how many prompts an image has
override GUIDED: bool = false;   // the model saw the unconditional batch too, after the prompts'
override GUIDE: bool = false;    // `factor` holds each image's shares of what the guided output is made of
override MEMORY: bool = false;   // a register after the sampler's holds what guidance remembers
override BOUNDED: bool = false;  // and after those shares how far its clean sample may reach

const SHARES: u32 = 4u;

// Where an image's numbers begin in `factor`.
fn own(image: u32) -> u32 {
    return image * (select(0u, SHARES, GUIDE) + select(0u, 1u, BOUNDED));
}

fn unconditional(n: u32) -> FV {
    return from_a(output[n + select(0u, PROMPTS, GUIDED) * params.count]);
}

// What the prompts say otherwise, each by its weight.
fn difference(n: u32, u: FV, guidance: f32) -> FV {
    var d = FV(0.0);
    for (var k = 0u; k < PROMPTS; k++) {
        let weight = guidance * weights[k * (params.count / params.image) + n / params.image];
        d += weight * (from_a(output[n + k * params.count]) - u);
    }
    return d;
}

// The same with what is left of what they said before.
fn remembered(n: u32, d: FV) -> FV {
    if (MEMORY) {
        return d + step.momentum * registers[n + REGISTERS * params.count];
    }
    return d;
}

fn guided(n: u32) -> FV {
    let u = unconditional(n);
    if (GUIDE) {
        let at = own(n / params.image);
        let d = difference(n, u, 1.0);
        let c = from_a(output[n]) - u;
        return factor[at] * u + factor[at + 1u] * d + factor[at + 2u] * remembered(n, d) + factor[at + 3u] * c;
    }
    if (GUIDED || PROMPTS > 1u) {
        return u + difference(n, u, step.guidance);
    }
    return u;
}
