// y = the current step's row of x.
#variants {vectors}
#import storage
#import step
#import elementwise

struct Params {
    count: u32, // vectors of a row
}

@group(0) @binding(0) var<uniform> params: Params;
@group(0) @binding(1) var<uniform> step: Step;
@group(0) @binding(2) var<storage, read> x: array<AV>;       // [steps, width]
@group(0) @binding(3) var<storage, read_write> y: array<AV>; // [width]

fn element(n: u32) {
    y[n] = x[step.row * params.count + n];
}
