use bytemuck::allocation::try_zeroed_slice_box;
use calotype_graph::{Error, MemoryUse, Port};
use std::cell::{Cell, Ref, RefCell, RefMut};
use std::ops::Range;
use std::rc::{Rc, Weak};

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
    words: RefCell<Box<[f32]>>,
    len: usize,
    meter: Meter,
}

impl Buffer {
    /// The buffer behind a port. Fails for a port that another executor made.
    pub fn of(port: &Port) -> Result<Rc<Self>, Error> {
        let foreign = |_| Error::Device("a port of another executor was given to the CPU".into());
        port.inner.clone().downcast().map_err(foreign)
    }

    /// Zeros.
    pub fn zeros(what: &str, len: usize, meter: &Meter) -> Result<Rc<Self>, Error> {
        let bytes = (len as u64).saturating_mul(4);
        let words =
            try_zeroed_slice_box(len).map_err(|()| Error::OutOfMemory { what: what.into(), bytes })?;
        Ok(Self::new(words, meter))
    }

    pub fn new(words: Box<[f32]>, meter: &Meter) -> Rc<Self> {
        meter.grow(4 * words.len() as u64);
        Rc::new(Self { len: words.len(), words: RefCell::new(words), meter: meter.clone() })
    }

    pub fn len(&self) -> usize {
        self.len
    }

    pub fn read(&self) -> Ref<'_, [f32]> {
        Ref::map(self.words.borrow(), |words| &**words)
    }

    pub fn write(&self) -> RefMut<'_, [f32]> {
        RefMut::map(self.words.borrow_mut(), |words| &mut **words)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.meter.shrink(4 * self.len as u64);
    }
}

/// What programs compute in, one at a time: as large as the largest of them takes.
#[derive(Default)]
pub(crate) struct Arena {
    buffer: RefCell<Option<Rc<Buffer>>>,
    claims: RefCell<Vec<(Weak<()>, usize)>>,
}

/// A program's share in an [`Arena`]; dropping the last copy gives it up.
pub(crate) type Claim = Rc<()>;

impl Arena {
    /// Makes it as large as the claims that are left and a new one want.
    pub fn claim(&self, len: usize, meter: &Meter) -> Result<Claim, Error> {
        let (claim, mut claims) = (Claim::default(), self.claims.borrow_mut());
        claims.retain(|(other, _)| other.strong_count() > 0);
        let before = claims.iter().map(|(_, len)| *len).max().unwrap_or(0);
        let most = before.max(len);
        let mut buffer = self.buffer.borrow_mut();
        if buffer.as_ref().is_none_or(|b| b.len() != most) {
            // What it holds between two runs means nothing, so the old one goes first.
            *buffer = None;
            let made = Buffer::zeros("activations", most, meter);
            let kept =
                made.as_ref().ok().cloned().or_else(|| Buffer::zeros("activations", before, meter).ok());
            *buffer = kept;
            made?;
        }
        claims.push((Rc::downgrade(&claim), len));
        Ok(claim)
    }

    /// Its numbers, for a run.
    pub fn buffer(&self) -> Result<Rc<Buffer>, Error> {
        let lost = || Error::OutOfMemory { what: "activations".into(), bytes: 0 };
        self.buffer.borrow().clone().ok_or_else(lost)
    }
}

/// Parts of a slice, in the order of `ranges`, of which no two overlap.
pub(crate) fn carve<'a>(words: &'a mut [f32], ranges: &[Range<usize>]) -> Vec<&'a mut [f32]> {
    let mut order: Vec<usize> = (0..ranges.len()).collect();
    order.sort_by_key(|&i| (ranges[i].start, ranges[i].end));
    let mut parts: Vec<&mut [f32]> = ranges.iter().map(|_| Default::default()).collect();
    let (mut rest, mut at) = (words, 0);
    for i in order {
        let (_, tail) = rest.split_at_mut(ranges[i].start - at);
        (parts[i], rest) = tail.split_at_mut(ranges[i].len());
        at = ranges[i].end;
    }
    parts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_come_in_the_order_asked_for() {
        let mut words: Vec<f32> = (0..10u8).map(f32::from).collect();
        let parts = carve(&mut words, &[6..8, 0..0, 0..3, 3..4]);
        assert_eq!(parts, [&[6.0, 7.0][..], &[], &[0.0, 1.0, 2.0], &[3.0]]);
    }

    #[test]
    fn what_cannot_be_had_is_an_error() {
        let meter = Meter::default();
        for len in [usize::MAX / 8, usize::MAX / 4, usize::MAX] {
            assert!(matches!(Buffer::zeros("x", len, &meter), Err(Error::OutOfMemory { .. })));
        }
        assert_eq!(meter.read(), MemoryUse::default());
    }
}
