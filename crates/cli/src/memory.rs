//! Whether a grid fits, before anything is drawn for it; whether a run does the pipeline says.

use crate::exit::Usage;
use calotype::{Order, Room, bytes};

/// Sees that the host can keep the pictures of so many runs for a grid, and that a PNG can be so large.
pub fn check_grid(runs: u64, order: &Order, room: Option<&Room>) -> anyhow::Result<()> {
    let [height, width] = [order.height, order.width].map(|side| side as u128);
    let pictures = u128::from(runs) * order.batch_size as u128;
    let columns = pictures.isqrt() + 1;
    let side = columns * height.max(width);
    if side > u128::from(u32::MAX >> 1) {
        let why =
            format!("--grid of {pictures} pictures is too large for a PNG: leave it out, or draw fewer");
        return Err(Usage(why).into());
    }
    // Each picture as it is kept, then all as one, and that encoded: four bytes a pixel, three, and up to six.
    let needed = u64::try_from(13 * pictures * width * height).unwrap_or(u64::MAX);
    match room.filter(|room| room.bytes < needed) {
        None => Ok(()),
        Some(room) => anyhow::bail!(
            "not enough memory: --grid keeps all {pictures} pictures, which takes {}, and {} is {}: leave it out, or draw \
             fewer",
            bytes(needed),
            room.owner,
            bytes(room.bytes)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use calotype::{Model, Request};

    #[test]
    fn a_grid_that_cannot_be_kept_or_written_is_refused() {
        let model = Model::open("synthetic:sd15", None).unwrap();
        let order = Request { batch_size: 4, ..Request::new("") }.settle(&model).unwrap();
        let room = Room { owner: "this computer's free memory".into(), bytes: 1 << 30 };
        let told = |runs| check_grid(runs, &order, Some(&room)).unwrap_err().to_string();
        assert!(check_grid(4, &order, Some(&room)).is_ok());
        assert!(check_grid(1 << 20, &order, None).is_ok());
        for part in ["not enough memory", "--grid", "4000 pictures", "1.00 GiB"] {
            assert!(told(1000).contains(part), "{}", told(1000));
        }
        for runs in [1 << 48, u64::MAX] {
            assert!(told(runs).contains("too large for a PNG"), "{}", told(runs));
        }
    }
}
