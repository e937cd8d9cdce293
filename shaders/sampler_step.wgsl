// Guidance and one update of the sampler, for every element of the latents at once. A sampler is a linear map on
// eight registers of latent size, plus at most one clamp (see the crate `sampling`); the registers are updated
// in place, and the next evaluation's input is written in the model's own storage type. Where a mask keeps a picture, the
// output, the sample or that input is blended with it.
#variants {vectors}
#import storage
#import step
#import guided
#import elementwise

struct Params {
    count: u32, // vectors of the latents
    image: u32, // vectors of one image
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> output: array<AV>;          // [parts, count]
@group(0) @binding(3) var<storage, read> noise: array<FV>;           // [noises, count], and behind them what is kept
@group(0) @binding(4) var<storage, read> factor: array<f32>;         // [B, …]
@group(0) @binding(5) var<storage, read_write> registers: array<FV>; // [8, count], or 9
@group(0) @binding(6) var<storage, read_write> input: array<AV>;     // [parts, count]
@group(0) @binding(7) var<storage, read> weights: array<f32>;        // [PROMPTS, B]

fn element(n: u32) {
    var m = guided(n);
    let u = unconditional(n);
    if (MEMORY) {
        registers[n + REGISTERS * params.count] = remembered(n, difference(n, u, 1.0));
    }
#for r in 0..REGISTERS
    let r_$r = registers[n + $ru * params.count];
#endfor
    var share = FV(0.0);
    var picture = FV(0.0);
    var added = FV(0.0);
    if (step.keeps != 0u) {
        let at = n + step.kept * params.count;
        share = noise[at];
        picture = noise[at + params.count];
        added = noise[at + 2u * params.count];
    }
    if ((step.keeps & KEEPS_OUTPUT) != 0u) {
        m = mix(m, step.kept_by.x * r_0 + step.kept_by.y * picture, share);
    }
    var z = FV(0.0);
    if (step.uses_noise == 1u) {
        z = noise[n + step.noise * params.count];
    }
    var c = FV(0.0);
    if (step.clamp_range > 0.0) {
        let w0 = step.clamp[0];
        let w1 = step.clamp[1];
        c = w0.x * r_0 + w0.y * r_1 + w0.z * r_2 + w0.w * r_3 + w1.x * r_4 + w1.y * r_5 + w1.z * r_6 + w1.w * r_7
            + step.clamp[2].x * m + step.clamp[2].z * z + step.clamp[2].w * u;
        if (BOUNDED) {
            let bound = factor[own(n / params.image) + select(0u, SHARES, GUIDE)];
            c = clamp(c, FV(-bound), FV(bound)) / bound;
        } else {
            c = clamp(c, FV(-step.clamp_range), FV(step.clamp_range));
        }
    }
#for r in 0..REGISTERS
    let w_$r_0 = step.rows[$r][0];
    let w_$r_1 = step.rows[$r][1];
    let w_$r_2 = step.rows[$r][2];
    let n_$r = w_$r_0.x * r_0 + w_$r_0.y * r_1 + w_$r_0.z * r_2 + w_$r_0.w * r_3
        + w_$r_1.x * r_4 + w_$r_1.y * r_5 + w_$r_1.z * r_6 + w_$r_1.w * r_7
        + w_$r_2.x * m + w_$r_2.y * c + w_$r_2.z * z + w_$r_2.w * u;
    registers[n + $ru * params.count] = n_$r;
#endfor
    var sample = n_0;
    if ((step.keeps & KEEPS_SAMPLE) != 0u) {
        sample = mix(n_0, step.kept_by.z * picture + step.kept_by.w * added, share);
        registers[n] = sample;
    }
    sample *= step.input_scale;
    if ((step.keeps & KEEPS_INPUT) != 0u) {
        sample = mix(sample, picture, share);
    }
    let next = to_a(sample);
    for (var k = 0u; k < PROMPTS + select(0u, 1u, GUIDED); k++) {
        input[n + k * params.count] = next;
    }
}
