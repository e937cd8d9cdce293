//! Weights that do not all stay on the device: which do, and which pass through it, run by run. Plain numbers.

use std::ops::Range;

/// How a graph's weights are on a device that has no room for all of them: those of its first nodes stay, and those of the others
/// pass through two slots in turn, a run of nodes' at a time. While one slot is computed with, the other is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Streamed {
    /// Bytes of weights that stay, at most.
    pub resident: u64,
    /// Bytes of a slot.
    pub slot: u64,
}

impl Streamed {
    /// Buffers' worth of a slot that streaming takes: the two, and as much again on its way, which drivers may keep in the
    /// device's memory.
    pub const SLOTS: u64 = 4;

    /// Cuts up nodes that take so many bytes of weights: how many stay, and the others in segments.
    pub fn cut(self, loads: &[u64]) -> (usize, Vec<Range<usize>>) {
        let run = |from: usize, limit: u64| {
            let mut bytes = 0u64;
            let fits = |load: &&u64| {
                bytes = bytes.saturating_add(**load);
                bytes <= limit
            };
            from + loads[from..].iter().take_while(fits).count()
        };
        let resident = run(0, self.resident);
        let (mut at, mut segments) = (resident, Vec::new());
        while at < loads.len() {
            // A slot holds the weights of any one node.
            let end = run(at, self.slot).max(at + 1);
            segments.push(at..end);
            at = end;
        }
        (resident, segments)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_does_not_stay_comes_in_segments() {
        let of = |resident, slot, loads: &[u64]| Streamed { resident, slot }.cut(loads);
        assert_eq!(of(0, 8, &[3, 3, 3, 8, 0, 1]), (0, vec![0..2, 2..3, 3..5, 5..6]));
        // Nodes without weights stay with those before them.
        assert_eq!(of(6, 8, &[3, 3, 0, 3, 8, 1]), (3, vec![3..4, 4..5, 5..6]));
        assert_eq!(of(99, 8, &[3, 3]), (2, vec![]));
        assert_eq!(of(0, 1, &[5, 5]), (0, vec![0..1, 1..2]));
    }
}
