// y = the current step's row of x.
#import storage
#import step
#import flat

struct Params {
    width: u32, // vectors of a row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> x: array<AV>;       // [steps, width]
@group(0) @binding(3) var<storage, read_write> y: array<AV>; // [width]

@compute @workgroup_size(FLAT)
fn main(@builtin(workgroup_id) workgroup: vec3<u32>, @builtin(num_workgroups) workgroups: vec3<u32>,
        @builtin(local_invocation_index) local: u32) {
    let n = flat_index(workgroup, workgroups, local);
    if (n >= params.width) {
        return;
    }
    y[n] = x[step.row * params.width + n];
}
