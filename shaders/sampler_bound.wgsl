// How far an image's clean sample may reach: a quantile of its magnitudes, at least 1 and at most the step's range (Saharia
// et al. 2022, arXiv:2205.11487, section 2.3; diffusers' `_threshold_sample`). One workgroup an image. A quantile lies
// between two neighbours in order, each of which is found bit by bit: as many magnitudes are smaller as there are before it.
#variants {vectors} {-, SUBGROUPS}
#import storage
#import step
#import reduce
#import guided

struct Params {
    count: u32, // vectors of all images
    image: u32, // vectors of one image
    numbers: u32, // of all images before their magnitudes in `factor`
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> output: array<AV>;        // [parts, count]
@group(0) @binding(3) var<storage, read> noise: array<FV>;         // [noises, count], and behind them what is kept
@group(0) @binding(4) var<storage, read_write> factor: array<f32>; // [B, own], then [count] magnitudes
@group(0) @binding(5) var<storage, read> registers: array<FV>;     // [8, count], or 9
@group(0) @binding(6) var<storage, read> weights: array<f32>;      // [PROMPTS, B]

// The magnitude before which there are `rank` others, of `count` from `first` on.
fn ranked(rank: u32, first: u32, count: u32, team: Team) -> f32 {
    var found = 0u;
    for (var bit = 0u; bit < 31u; bit++) {
        let next = found | (1u << (30u - bit));
        var smaller = 0.0;
        for (var i = team.local; i < count; i += 64u) {
            smaller += select(0.0, 1.0, bitcast<u32>(factor[first + i]) < next);
        }
        if (u32(reduce(smaller, team)) <= rank) {
            found = next;
        }
    }
    return bitcast<f32>(found);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, team: Team) {
    let begin = workgroup.x * params.image;
    let first = params.numbers + begin * V;
    for (var i = team.local; i < params.image; i += 64u) {
        let n = begin + i;
        let w0 = step.clamp[0];
        let w1 = step.clamp[1];
        let w2 = step.clamp[2];
        var m = guided(n);
        if ((step.keeps & KEEPS_OUTPUT) != 0u) {
            let at = n + step.kept * params.count;
            m = mix(m, step.kept_by.x * registers[n] + step.kept_by.y * noise[at + params.count], noise[at]);
        }
        var c = w2.x * m + w2.w * unconditional(n);
#for r in 0..4
        c += w0[$r] * registers[n + $ru * params.count] + w1[$r] * registers[n + ($ru + 4u) * params.count];
#endfor
        if (step.uses_noise == 1u) {
            c += w2.z * noise[n + step.noise * params.count];
        }
        c = abs(c);
#ifdef VEC4
        factor[first + i * 4u] = c.x;
        factor[first + i * 4u + 1u] = c.y;
        factor[first + i * 4u + 2u] = c.z;
        factor[first + i * 4u + 3u] = c.w;
#else
        factor[first + i] = c;
#endif
    }
    storageBarrier();
    let count = params.image * V;
    let place = step.quantile * f32(count - 1u);
    let low = ranked(u32(place), first, count, team);
    let high = ranked(min(u32(place) + 1u, count - 1u), first, count, team);
    if (team.local == 0u) {
        let bound = clamp(mix(low, high, fract(place)), 1.0, max(step.clamp_range, 1.0));
        factor[own(workgroup.x) + select(0u, SHARES, GUIDE)] = bound;
    }
}
