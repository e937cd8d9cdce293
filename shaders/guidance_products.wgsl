// How much of each output goes into the guided one, where that hangs on products of them over an image: one workgroup an
// image. The guided output is the unconditional one u, what the prompts say otherwise d, the same with what is left of what
// they said before r, and what the first prompt says otherwise, each times its share.
//
// 0: what runs along the conditional output is taken by a share, and no more than so long (APG: Sadat et al. 2024,
// arXiv:2410.02416; diffusers' AdaptiveProjectedGuidance). 1: of what the second prompt says otherwise only what is
// perpendicular to what the first says is kept away from (Armandpour et al. 2023, arXiv:2304.04968; ComfyUI's PerpNeg).
// 2: the unconditional output is scaled to the conditional one (CFG-Zero*: Fan et al. 2025, arXiv:2503.18886).
#variants {vectors} {-, SUBGROUPS}
#import storage
#import step
#import reduce

override PROMPTS: u32 = 1u;     // how many prompts an image has
override MEMORY: bool = false;  // a register after the sampler's holds what guidance remembers
override KIND: u32 = 0u;
override OWN: u32 = 4u; // numbers of an image in `factor`, first its shares

struct Params {
    count: u32, // vectors of all images
    image: u32, // vectors of one image
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> output: array<AV>;        // [PROMPTS + 1, count]
@group(0) @binding(3) var<storage, read_write> factor: array<f32>; // [B, OWN]
@group(0) @binding(4) var<storage, read> registers: array<FV>;     // [8, count], or 9
@group(0) @binding(5) var<storage, read> weights: array<f32>;      // [PROMPTS, B]

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, team: Team) {
    let begin = workgroup.x * params.image;
    var a = 0.0;
    var b = 0.0;
    var length = 0.0;
    for (var i = team.local; i < params.image; i += 64u) {
        let n = begin + i;
        let u = from_a(output[n + PROMPTS * params.count]);
        var d = FV(0.0);
        for (var k = 0u; k < PROMPTS; k++) {
            let weight = weights[k * (params.count / params.image) + workgroup.x];
            d += weight * (from_a(output[n + k * params.count]) - u);
        }
        if (KIND == 0u) {
            let c = u + d;
            var r = d;
            if (MEMORY) {
                r += step.momentum * registers[n + REGISTERS * params.count];
            }
            a += lanes(c * c);
            b += lanes(c * r);
            length += lanes(r * r);
        } else if (KIND == 1u) {
            let first = from_a(output[n]) - u;
            let second = from_a(output[n + min(1u, PROMPTS - 1u) * params.count]) - u;
            a += lanes(first * first);
            b += lanes(first * second);
        } else {
            a += lanes(u * u);
            b += lanes(u * (u + d));
        }
    }
    a = reduce(a, team);
    b = reduce(b, team);
    length = sqrt(reduce(length, team));
    if (team.local != 0u) {
        return;
    }
    let along = select(0.0, b / max(a, 1e-24), a > 0.0);
    let g = step.guidance;
    let at = workgroup.x * OWN;
    if (KIND == 0u) {
        let held = select(1.0, min(1.0, step.norm / max(length, 1e-12)), step.norm > 0.0);
        let turned = g * held * (step.along - 1.0) * along;
        factor[at] = 1.0 + turned;
        factor[at + 1u] = turned;
        factor[at + 2u] = g * held;
        factor[at + 3u] = 0.0;
    } else if (KIND == 1u) {
        factor[at] = 1.0;
        factor[at + 1u] = g;
        factor[at + 2u] = 0.0;
        factor[at + 3u] = g * step.along * along;
    } else {
        factor[at] = along * (1.0 - g) + g;
        factor[at + 1u] = g;
        factor[at + 2u] = 0.0;
        factor[at + 3u] = 0.0;
    }
}
