use crate::ops::{Op, Shapes};

/// An executor that computes with plain code in the host's memory, as its memory is planned: all numbers are f32 there.
#[derive(Clone, Copy)]
pub struct Host {
    /// Numbers of scratch that an op takes while it runs, in the order in which it asks for them.
    pub scratch: fn(&Op, &dyn Shapes) -> Vec<usize>,
    /// Threads that it computes on.
    pub threads: usize,
    /// Bytes that its threads and its libraries take besides.
    pub overhead: u64,
}

impl PartialEq for Host {
    fn eq(&self, other: &Self) -> bool {
        std::ptr::fn_addr_eq(self.scratch, other.scratch)
            && (self.threads, self.overhead) == (other.threads, other.overhead)
    }
}

impl std::fmt::Debug for Host {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Host").field("threads", &self.threads).finish_non_exhaustive()
    }
}
