// The sum of a number from each of a workgroup's 64 threads, given to all of them.
var<workgroup> sh_sums: array<f32, 64>;

fn reduce(value: f32, local: u32) -> f32 {
    sh_sums[local] = value;
    workgroupBarrier();
    for (var step = 32u; step > 0u; step /= 2u) {
        if (local < step) {
            sh_sums[local] += sh_sums[local + step];
        }
        workgroupBarrier();
    }
    let sum = sh_sums[0];
    workgroupBarrier();
    return sum;
}
