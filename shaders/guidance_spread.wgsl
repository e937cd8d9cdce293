// How much guidance is to be scaled back (Lin et al. 2023, arXiv:2305.08891, section 3.4; diffusers'
// rescale_noise_cfg): the ratio of the conditional output's standard deviation to the guided one's, one workgroup
// an image, mixed with 1 by the rescale weight. Of several prompts the conditional output is what guidance 1 makes of them.
#variants {vectors} {-, SUBGROUPS}
#import storage
#import step
#import reduce

override PROMPTS: u32 = 1u; // how many prompts an image has
override OWN: u32 = 4u; // numbers of an image in `factor`, first its shares of what the guided output is made of

struct Params {
    count: u32, // vectors of all images
    image: u32, // vectors of one image
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> output: array<AV>;       // [PROMPTS + 1, count]
@group(0) @binding(3) var<storage, read_write> factor: array<f32>; // [B, own]
@group(0) @binding(4) var<storage, read> weights: array<f32>;     // [PROMPTS, B]

fn guided(i: u32, guidance: f32) -> FV {
    let u = from_a(output[i + PROMPTS * params.count]);
    var m = u;
    for (var k = 0u; k < PROMPTS; k++) {
        let weight = guidance * weights[k * (params.count / params.image) + i / params.image];
        m += weight * (from_a(output[i + k * params.count]) - u);
    }
    return m;
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, team: Team) {
    let local = team.local;
    let begin = workgroup.x * params.image;
    let inverse = 1.0 / (f32(params.image) * f32(V));
    var a = 0.0;
    var b = 0.0;
    for (var i = local; i < params.image; i += 64u) {
        a += lanes(guided(begin + i, 1.0));
        b += lanes(guided(begin + i, step.guidance));
    }
    let mean_a = reduce(a, team) * inverse;
    let mean_b = reduce(b, team) * inverse;
    a = 0.0;
    b = 0.0;
    for (var i = local; i < params.image; i += 64u) {
        let da = guided(begin + i, 1.0) - mean_a;
        let db = guided(begin + i, step.guidance) - mean_b;
        a += lanes(da * da);
        b += lanes(db * db);
    }
    let ratio = sqrt(reduce(a, team) / reduce(b, team));
    if (local == 0u) {
        let scale = step.rescale * ratio + 1.0 - step.rescale;
        let at = workgroup.x * OWN;
        factor[at] = scale;
        factor[at + 1u] = scale * step.guidance;
        factor[at + 2u] = 0.0;
        factor[at + 3u] = 0.0;
    }
}
