// Elementwise kernels run one thread an element over a grid folded into two dimensions, since a dimension
// holds at most 65,535 workgroups.
const FLAT: u32 = 64u;

fn flat_index(workgroup: vec3<u32>, workgroups: vec3<u32>, local: u32) -> u32 {
    return (workgroup.y * workgroups.x + workgroup.x) * FLAT + local;
}
