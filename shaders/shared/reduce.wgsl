// The sum of a number from each of a workgroup's 64 threads, given to all of them. A browser wants `enable subgroups;`
// for SUBGROUPS, which naga does not know.
struct Team {
    @builtin(local_invocation_index) local: u32,
#ifdef SUBGROUPS
    @builtin(subgroup_invocation_id) lane: u32,
    @builtin(subgroup_id) subgroup: u32,
    @builtin(num_subgroups) subgroups: u32,
#endif
}

var<workgroup> sh_sums: array<f32, 64>;

fn reduce(value: f32, team: Team) -> f32 {
#ifdef SUBGROUPS
    let part = subgroupAdd(value);
    if (team.lane == 0u) {
        sh_sums[team.subgroup] = part;
    }
    workgroupBarrier();
    var sum = 0.0;
    for (var i = 0u; i < team.subgroups; i++) {
        sum += sh_sums[i];
    }
#else
    sh_sums[team.local] = value;
    workgroupBarrier();
    for (var step = 32u; step > 0u; step /= 2u) {
        if (team.local < step) {
            sh_sums[team.local] += sh_sums[team.local + step];
        }
        workgroupBarrier();
    }
    let sum = sh_sums[0];
#endif
    workgroupBarrier();
    return sum;
}
