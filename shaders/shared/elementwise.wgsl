// The entry of elementwise kernels: `element(n)`, which the op defines, for every n below `params.count`.
#import flat

@compute @workgroup_size(FLAT)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let n = flat_index(workgroup, workgroups, local);
    if (n < params.count) {
        element(n);
    }
}
