//! The threads that computing takes, where a limit leaves them little room.

/// Has threads take little of a limited address space, and none that are not to be had. Before rayon's first use.
#[cfg(unix)]
pub(crate) fn prepare() {
    use std::sync::Once;
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        if crate::room::limit().is_none() {
            return;
        }
        share_one_heap();
        if !can_start(threads()) {
            // rayon's own pool, once it has failed to start, never does.
            let here = rayon::ThreadPoolBuilder::new().num_threads(1).use_current_thread();
            if here.build_global().is_ok() {
                log::warn!("the limit on memory leaves no room for threads: computing on one");
            }
        }
    });
}

#[cfg(not(unix))]
pub(crate) fn prepare() {}

/// As many as rayon would start.
#[cfg(unix)]
fn threads() -> usize {
    let asked = std::env::var("RAYON_NUM_THREADS").ok().and_then(|n| n.parse().ok()).filter(|n| *n > 0);
    asked.unwrap_or_else(|| std::thread::available_parallelism().map_or(1, usize::from))
}

/// Whether so many threads can be there at a time.
#[cfg(unix)]
fn can_start(threads: usize) -> bool {
    let waiting = std::sync::Mutex::new(());
    let held = waiting.lock();
    std::thread::scope(|scope| {
        let start = |_| {
            let wait = || drop(waiting.lock());
            std::thread::Builder::new().spawn_scoped(scope, wait).is_ok()
        };
        let started = (0..threads).all(start);
        drop(held);
        started
    })
}

/// glibc gives each thread a heap that takes 64 MiB of address space, used or not.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn share_one_heap() {
    // SAFETY: it sets a number of the allocator's own, and says whether it did.
    unsafe { libc::mallopt(libc::M_ARENA_MAX, 1) };
}

#[cfg(all(unix, not(all(target_os = "linux", target_env = "gnu"))))]
fn share_one_heap() {}

#[cfg(all(test, unix))]
mod tests {
    #[test]
    fn two_threads_can_be_had() {
        assert!(super::can_start(2));
    }
}
