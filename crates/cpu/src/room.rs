//! Memory that can be had here, whoever limits it.

use calotype_graph::Room;

const MIB: u64 = 1 << 20;

/// What threads and libraries take besides values: stacks, the packed parts of products (`gemm` keeps them within a
/// processor's caches), what the allocator keeps of what was freed.
pub(crate) fn overhead() -> u64 {
    64 * MIB + 4 * MIB * rayon::current_num_threads() as u64
}

/// What can be had without swapping; the least of what the system, a container and the process's own limit leave. Files
/// that are mapped, such as models, take none of it but address space: their pages can be dropped and read again.
#[cfg(not(target_family = "wasm"))]
pub(crate) fn free() -> Option<Room> {
    use sysinfo::{MemoryRefreshKind, ProcessRefreshKind, ProcessesToUpdate, System};
    let limit = address_space();
    let mut system = System::new().ok()?;
    system.refresh_memory_specifics(MemoryRefreshKind::nothing().with_ram());
    let own = sysinfo::get_current_pid().ok()?;
    let wanted = ProcessRefreshKind::nothing().with_memory();
    system.refresh_processes_specifics(ProcessesToUpdate::Some(&[own]), false, wanted);
    let process = system.process(own);

    let computer = Some(system.available_memory()).filter(|bytes| *bytes > 0);
    // What counts against a container's limit and cannot be dropped: files that were read, a model for one, can.
    let limits = process.and_then(sysinfo::Process::cgroup_limits).or_else(|| system.cgroup_limits());
    let container = limits.map(|limits| limits.total_memory.saturating_sub(limits.rss));
    let mapped = process.map_or(0, sysinfo::Process::virtual_memory);
    [
        ("this computer's free memory", computer),
        ("the free memory of this container (cgroup)", container),
        ("the free memory under this process's limit (ulimit -v)", limit.map(|l| l.saturating_sub(mapped))),
    ]
    .into_iter()
    .filter_map(|(owner, bytes)| Some(Room { owner: owner.into(), bytes: bytes? }))
    .min_by_key(|room| room.bytes)
}

/// Nothing tells.
#[cfg(target_family = "wasm")]
pub(crate) fn free() -> Option<Room> {
    None
}

/// The process's limit on address space, where it has one.
#[cfg(unix)]
pub(crate) fn limit() -> Option<u64> {
    let (soft, _) = rlimit::Resource::AS.get().ok()?;
    (soft != rlimit::INFINITY).then_some(soft)
}

/// The same, when all threads have taken theirs.
#[cfg(unix)]
fn address_space() -> Option<u64> {
    let soft = limit()?;
    // Threads that are yet to start would take their stacks and heaps from what is left.
    rayon::broadcast(|_| drop(std::hint::black_box(vec![0u8; 64])));
    Some(soft)
}

#[cfg(all(not(unix), not(target_family = "wasm")))]
fn address_space() -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    #[cfg(any(target_os = "linux", target_os = "macos", windows))]
    #[test]
    fn the_system_tells_its_free_memory() {
        let room = super::free().unwrap();
        assert!(room.bytes > 1 << 20 && room.bytes < 1 << 50, "{room:?}");
    }
}
