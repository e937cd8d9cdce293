use crate::Step;

impl Step {
    /// Words of a row of the step table: a [`Step`] padded to 512 bytes, since a device may ask that dynamic offsets be
    /// multiples of 256.
    pub const WORDS: usize = 128;

    /// Which word of a row holds the time.
    pub const TIMESTEP: usize = std::mem::offset_of!(Self, timestep) / 4;

    /// The row as the table holds it.
    pub fn words(&self) -> [u32; Self::WORDS] {
        let mut words = [0; Self::WORDS];
        let own: &[u32] = bytemuck::cast_slice(std::slice::from_ref(self));
        words[..own.len()].copy_from_slice(own);
        words
    }
}
