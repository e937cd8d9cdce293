use calotype_graph::{Error, MemoryUse};
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::rc::Rc;

/// What an executor's buffers add up to. Copies share one count.
#[derive(Clone, Default)]
pub(crate) struct Meter(Rc<Cell<MemoryUse>>);

impl Meter {
    pub fn read(&self) -> MemoryUse {
        self.0.get()
    }

    fn grow(&self, bytes: u64) {
        let mut now = self.0.get();
        now.bytes += bytes;
        now.peak = now.peak.max(now.bytes);
        now.allocations += 1;
        self.0.set(now);
    }

    fn shrink(&self, bytes: u64) {
        let mut now = self.0.get();
        now.bytes -= bytes;
        self.0.set(now);
    }
}

/// 32-bit words: f32 values, or u32 ones by their bits.
pub(crate) struct Buffer {
    words: RefCell<Vec<f32>>,
    len: usize,
    meter: Meter,
}

impl Buffer {
    /// Zeros.
    pub fn zeros(what: &str, len: usize, meter: &Meter) -> Result<Rc<Self>, Error> {
        let mut words = Vec::new();
        let bytes = 4 * len as u64;
        words.try_reserve_exact(len).map_err(|_| Error::OutOfMemory { what: what.to_string(), bytes })?;
        words.resize(len, 0.0);
        Ok(Self::new(words, meter))
    }

    pub fn new(words: Vec<f32>, meter: &Meter) -> Rc<Self> {
        meter.grow(4 * words.len() as u64);
        Rc::new(Self { len: words.len(), words: RefCell::new(words), meter: meter.clone() })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn read(&self) -> Ref<'_, [f32]> {
        Ref::map(self.words.borrow(), Vec::as_slice)
    }

    pub fn write(&self) -> RefMut<'_, [f32]> {
        RefMut::map(self.words.borrow_mut(), Vec::as_mut_slice)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.meter.shrink(4 * self.len as u64);
    }
}

/// Buffers that a run is done with, kept for the next value of the same length: after its first run a program
/// allocates nothing.
#[derive(Default)]
pub(crate) struct Spare(RefCell<Vec<Rc<Buffer>>>);

impl Spare {
    /// A buffer whose contents are anything.
    pub fn take(&self, what: &str, len: usize, meter: &Meter) -> Result<Rc<Buffer>, Error> {
        let mut spare = self.0.borrow_mut();
        match spare.iter().rposition(|b| b.len() == len) {
            Some(at) => Ok(spare.swap_remove(at)),
            None => Buffer::zeros(what, len, meter),
        }
    }

    pub fn give(&self, buffer: Rc<Buffer>) {
        if Rc::strong_count(&buffer) == 1 {
            self.0.borrow_mut().push(buffer);
        }
    }

    pub fn clear(&self) {
        self.0.borrow_mut().clear();
    }
}
