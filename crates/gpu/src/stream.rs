//! Weights that pass through the device while a program runs: the next segment's are on their way while one computes.

use crate::device::{Buffer, Device};
use calotype_graph::{Error, Segment, WeightId};
use std::cell::RefCell;
use std::collections::VecDeque;
use std::ops::Range;
use std::rc::Rc;

/// The two places where they are computed with, one pair for all programs.
pub(crate) struct Slots {
    buffers: [Rc<Buffer>; 2],
    /// What was handed to the device and may not be done.
    submitted: RefCell<VecDeque<wgpu::SubmissionIndex>>,
}

/// A graph's weights, segment by segment: those that do not stay as the device reads them, in the host's memory.
pub(crate) struct Stream {
    pub segments: Vec<Segment>,
    packed: Vec<Vec<u8>>,
    slots: Rc<Slots>,
}

impl Slots {
    pub fn new(device: &Device, bytes: u64) -> Result<Self, Error> {
        let usage = wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_DST;
        let slot = || device.buffer("weights on their way", bytes, usage).map(Rc::new);
        Ok(Self { buffers: [slot()?, slot()?], submitted: RefCell::default() })
    }

    pub fn bytes(&self) -> u64 {
        self.buffers[0].raw.size()
    }

    /// Waits until at most one of the submissions is not done: what is copied on its way to the device is freed with it.
    fn pace(&self, device: &Device) -> Result<(), Error> {
        let mut submitted = self.submitted.borrow_mut();
        while submitted.len() > 1 {
            let submission_index = submitted.pop_front();
            device
                .raw
                .poll(wgpu::PollType::Wait { submission_index, timeout: None })
                .map_err(|e| Error::Device(format!("the GPU does not answer: {e}")))?;
        }
        device.check()
    }
}

impl Stream {
    /// `packed` has each segment's bytes; none of one that stays.
    pub fn new(segments: Vec<Segment>, packed: Vec<Vec<u8>>, slots: Rc<Slots>) -> Self {
        Self { segments, packed, slots }
    }

    /// Where a node finds a weight that does not stay.
    pub fn find(&self, node: usize, id: WeightId) -> Option<(Rc<Buffer>, u64)> {
        let at = self.segments.iter().position(|segment| segment.nodes.contains(&node))?;
        let segment = self.segments.get(at).filter(|segment| !segment.stays)?;
        let (_, offset) = segment.weights.iter().find(|(own, _)| *own == id)?;
        Some((self.slots.buffers[at % 2].clone(), *offset))
    }

    /// Has `submit` hand the device one segment's nodes after another, each when its weights are on their way.
    pub fn run(
        &self,
        device: &Device,
        mut submit: impl FnMut(&Range<usize>) -> Option<wgpu::SubmissionIndex>,
    ) -> Result<(), Error> {
        self.upload(device, 0)?;
        for (at, segment) in self.segments.iter().enumerate() {
            // Before what runs now, on which it does not wait.
            self.upload(device, at + 1)?;
            self.slots.submitted.borrow_mut().extend(submit(&segment.nodes));
        }
        Ok(())
    }

    fn upload(&self, device: &Device, at: usize) -> Result<(), Error> {
        let Some(packed) = self.packed.get(at).filter(|packed| !packed.is_empty()) else { return Ok(()) };
        self.slots.pace(device)?;
        device.queue.write_buffer(&self.slots.buffers[at % 2].raw, 0, packed);
        Ok(())
    }
}
