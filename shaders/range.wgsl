// How many elements are not finite, and the least and the greatest of those that are: what tells a broken picture
// from a good one. Floats are ordered as unsigned integers, so that atomics can compare them.
#variants {vectors}
#import storage
#import flat

struct Params {
    count: u32,  // vectors of this dispatch
    x_base: u32, // added to vector indices: the bound window begins there
    slot: u32,   // which row of `found` is filled
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<storage, read> x: array<AV>;                    // [count]
@group(0) @binding(2) var<storage, read_write> found: array<atomic<u32>>; // [slots, 4]: not finite, least, greatest, -

fn ordered(bits: u32) -> u32 {
    return select(bits | 0x80000000u, ~bits, (bits & 0x80000000u) != 0u);
}

var<workgroup> sh_bad: atomic<u32>;
var<workgroup> sh_least: atomic<u32>;
var<workgroup> sh_greatest: atomic<u32>;

fn look(value: f32) {
    let bits = bitcast<u32>(value);
    if ((bits & 0x7f800000u) == 0x7f800000u) {
        atomicAdd(&sh_bad, 1u);
    } else {
        atomicMin(&sh_least, ordered(bits));
        atomicMax(&sh_greatest, ordered(bits));
    }
}

@compute @workgroup_size(FLAT)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    if (local == 0u) {
        atomicStore(&sh_bad, 0u);
        atomicStore(&sh_least, 0xffffffffu);
        atomicStore(&sh_greatest, 0u);
    }
    workgroupBarrier();
    let threads = workgroups.x * workgroups.y * FLAT;
    for (var n = flat_index(workgroup, workgroups, local); n < params.count; n += threads) {
        let v = from_a(x[n + params.x_base]);
#ifdef VEC1
        look(v);
#else
        look(v.x);
        look(v.y);
        look(v.z);
        look(v.w);
#endif
    }
    workgroupBarrier();
    if (local == 0u) {
        atomicAdd(&found[params.slot * 4u], atomicLoad(&sh_bad));
        atomicMin(&found[params.slot * 4u + 1u], atomicLoad(&sh_least));
        atomicMax(&found[params.slot * 4u + 2u], atomicLoad(&sh_greatest));
    }
}
