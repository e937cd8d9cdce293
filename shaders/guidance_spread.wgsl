// How much guidance is to be scaled back (Lin et al. 2023, arXiv:2305.08891, section 3.4; diffusers'
// rescale_noise_cfg): the ratio of the conditional output's standard deviation to the guided one's, one workgroup
// an image, mixed with 1 by the rescale weight.
#variants {vectors} {-, SUBGROUPS}
#import storage
#import step
#import reduce

struct Params {
    count: u32, // vectors of all images
    image: u32, // vectors of one image
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> output: array<AV>;       // [2, count]
@group(0) @binding(3) var<storage, read_write> factor: array<f32>; // [B]

fn conditional(i: u32) -> FV { return from_a(output[i + params.count]); }
fn guided(i: u32) -> FV {
    let u = from_a(output[i]);
    return u + step.guidance * (conditional(i) - u);
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, team: Team) {
    let local = team.local;
    let begin = workgroup.x * params.image;
    let inverse = 1.0 / (f32(params.image) * f32(V));
    var a = 0.0;
    var b = 0.0;
    for (var i = local; i < params.image; i += 64u) {
        a += lanes(conditional(begin + i));
        b += lanes(guided(begin + i));
    }
    let mean_a = reduce(a, team) * inverse;
    let mean_b = reduce(b, team) * inverse;
    a = 0.0;
    b = 0.0;
    for (var i = local; i < params.image; i += 64u) {
        let da = conditional(begin + i) - mean_a;
        let db = guided(begin + i) - mean_b;
        a += lanes(da * da);
        b += lanes(db * db);
    }
    let ratio = sqrt(reduce(a, team) / reduce(b, team));
    if (local == 0u) {
        factor[workgroup.x] = step.rescale * ratio + 1.0 - step.rescale;
    }
}
