//! How much device memory a run may take.

use crate::tiles::VaeTiling;
use calotype_field::Field;
use calotype_graph::Room;

/// How much device memory a run may take.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Budget {
    /// What the device has, where it tells.
    pub room: Option<Room>,
    /// What the user allows.
    pub max_vram: Option<u64>,
    /// Whether pictures are decoded in tiles.
    pub tiling: VaeTiling,
}

/// What is planned for where nobody tells how much there is: what a desktop leaves of 4 GiB.
const FRUGAL: u64 = (34 << 30) / 10;

impl Budget {
    /// What a run must not exceed, and who says so.
    pub fn limit(&self) -> Option<Room> {
        let asked = self.max_vram.map(|bytes| Room { owner: Field::MaxVram.to_string(), bytes });
        // Where both are the same it is the device's.
        self.room.iter().chain(&asked).min_by_key(|room| room.bytes).cloned()
    }

    /// What a run is planned to keep to: of what a device has a sixteenth is left to others, and to what its driver takes.
    pub(crate) fn target(&self) -> u64 {
        let room = self.room.as_ref().map(|room| room.bytes - room.bytes / 16);
        room.into_iter().chain(self.max_vram).min().unwrap_or(FRUGAL)
    }

    /// Whether anybody says how much there is.
    pub(crate) fn is_known(&self) -> bool {
        self.room.is_some() || self.max_vram.is_some()
    }
}
