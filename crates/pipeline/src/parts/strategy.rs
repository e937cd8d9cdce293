//! How a run keeps to its memory: decided before anything is allocated, of the plan's numbers alone.

use super::Stage;
use super::need::{Need, PartNeed};
use crate::bands::Bands;
use crate::budget::Budget;
use crate::error::{Result, bytes};
use crate::tiles::{Tiles, VaeTiling};
use calotype_graph::{Caps, Streamed};
use calotype_models::Role;
use std::collections::BTreeMap;
use std::fmt;

/// By which means a run keeps to its memory: the cheapest that do.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Strategy {
    /// Which parts leave the device when they are done.
    pub leaving: Leaving,
    /// In which tiles pictures are decoded, where they are.
    pub tiles: Option<Tiles>,
    /// How many rows of a picture are decoded at a time, layer by layer, where they are.
    pub rows: Option<usize>,
    /// Stages whose weights do not all stay on the device while they run.
    pub streams: Vec<StageStream>,
}

/// A stage whose weights come from the host's memory as it runs.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct StageStream {
    /// Which.
    pub stage: Stage,
    /// Whether it is the refiner's.
    #[serde(rename = "refiner")]
    pub refines: bool,
    /// Bytes of weights that stay on the device.
    pub resident_bytes: u64,
    /// Bytes that are brought there at a time.
    pub slot_bytes: u64,
    /// Bytes that are brought there in one run, which for the UNet is a step.
    pub run_bytes: u64,
    /// In how many pieces.
    pub pieces: usize,
}

impl StageStream {
    /// The same as graphs are told.
    pub(crate) fn streamed(&self) -> Streamed {
        Streamed { resident: self.resident_bytes, slot: self.slot_bytes }
    }
}

/// Which parts leave the device when they are done, those before them in this list among them. What has left is brought again
/// for the next picture that takes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Leaving {
    /// None does: all parts are there at the same time.
    #[default]
    Nothing,
    /// The text encoders, before the loop.
    Texts,
    /// The UNet too, before the refiner's or the VAE.
    Loop,
    /// Each of the text encoders before the next.
    Each,
}

impl Leaving {
    /// All of them, cheapest first.
    const ALL: [Self; 4] = [Self::Nothing, Self::Texts, Self::Loop, Self::Each];

    /// Parts of one group are on the device at the same time, and no others.
    pub(crate) fn group(self, role: Role, refines: bool) -> usize {
        let is_text = Role::TEXT.contains(&role);
        match self {
            Self::Nothing => 0,
            Self::Texts => usize::from(!is_text),
            Self::Loop if is_text => 0,
            Self::Loop | Self::Each => 1 + 2 * role as usize + usize::from(refines),
        }
    }
}

impl fmt::Display for Leaving {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nothing => "all parts stay on the device",
            Self::Texts => "text encoders leave before the loop",
            Self::Loop => "text encoders leave before the loop, the UNet before the VAE",
            Self::Each => {
                "each text encoder leaves before the next, the last before the loop, the UNet before the VAE"
            }
        })
    }
}

impl Strategy {
    /// What is there at the same time, group by group.
    pub(crate) fn groups(&self, parts: &[PartNeed]) -> impl Iterator<Item = Need> + use<> {
        let mut groups: BTreeMap<usize, (Need, u64)> = BTreeMap::new();
        for part in parts {
            let (need, slot) = groups.entry(self.leaving.group(part.role, part.refines)).or_default();
            *need = std::mem::take(need).beside(&part.need);
            let is_own = |s: &&StageStream| {
                s.refines == part.refines && part.loads.iter().any(|(own, _)| *own == s.stage)
            };
            for stream in self.streams.iter().filter(is_own) {
                need.weights = need.weights.saturating_sub(stream.run_bytes);
                *slot = stream.slot_bytes;
            }
        }
        let with_slots =
            |(need, slot): (Need, u64)| Need { weights: need.weights + Streamed::SLOTS * slot, ..need };
        groups.into_values().map(with_slots)
    }
}

impl fmt::Display for Strategy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.leaving)?;
        if let Some(tiles) = &self.tiles {
            write!(f, "; the VAE decodes {tiles}")?;
        }
        if let Some(rows) = &self.rows {
            write!(f, "; the VAE decodes layer by layer, {rows} rows at a time")?;
        }
        for StageStream { stage, refines, resident_bytes, run_bytes, pieces, .. } in &self.streams {
            let whose = if *refines { "the refiner's " } else { "" };
            let [brought, stay] = [*run_bytes, *resident_bytes].map(bytes);
            write!(
                f,
                "; {whose}{stage}: {brought} of weights are brought each time it runs, in {pieces} pieces, {stay} stay"
            )?;
        }
        Ok(())
    }
}

/// How a decoder would do in tiles.
pub(crate) trait InTiles {
    /// Height and width of the latents.
    fn latents(&self) -> [usize; 2];

    /// What the decoder takes for a tile.
    fn need(&self, tiles: Tiles) -> Result<PartNeed>;

    /// The picture's height, where it can be decoded layer by layer; else 0.
    fn height(&self) -> usize;

    /// What the decoder takes so, with so many rows at a time.
    fn need_in_rows(&self, rows: usize) -> Result<PartNeed>;
}

/// The cheapest means by which parts keep within a budget, or that take least; the decoder among the parts is then the one that
/// takes tiles.
pub(crate) fn decide(
    parts: &mut [PartNeed],
    budget: &Budget,
    caps: &Caps,
    decoder: &dyn InTiles,
) -> Result<Strategy> {
    let target = budget.target();
    let mut strategy = Strategy::default();
    // What encodes comes before.
    let vae = parts.iter().rposition(|part| part.role == Role::Vae);
    if let (Some(vae), VaeTiling::On) = (vae, budget.tiling) {
        strategy.tiles = Tiles::usual(decoder.latents());
        strategy.tiles.iter().try_for_each(|tiles| decoder.need(*tiles).map(|need| parts[vae] = need))?;
    }

    // 1. Parts leave. Where that does not do, as they must to take least, and for the fewest groups to be too large.
    let of = |leaving, parts: &[PartNeed]| {
        let groups = Strategy { leaving, ..Strategy::default() }.groups(parts);
        let totals: Vec<u64> = groups.map(|need| need.total(caps)).collect();
        (totals.iter().max().copied(), totals.iter().filter(|bytes| **bytes > target).count())
    };
    strategy.leaving = match Leaving::ALL.into_iter().find(|leaving| of(*leaving, parts).1 == 0) {
        Some(leaving) => return Ok(Strategy { leaving, ..strategy }),
        None => Leaving::ALL.into_iter().min_by_key(|leaving| of(*leaving, parts)).unwrap_or_default(),
    };
    if !budget.is_known() {
        return Ok(strategy);
    }

    // 2. The VAE decodes in tiles, or by rows where the picture is to stay as it is. On the host, where all rows would lie,
    // nothing is won by these.
    if let Some(vae) = vae.filter(|vae| parts[*vae].need.total(caps) > target) {
        let fits = |part: &PartNeed| part.need.total(caps) <= target;
        if budget.tiling == VaeTiling::Auto {
            let tiles: Vec<Tiles> = Tiles::of(decoder.latents()).collect();
            let found = fewest(&tiles, |tiles| decoder.need(*tiles), fits)?;
            strategy.tiles = found.map(|(tiles, need)| (parts[vae] = need, tiles).1);
        }
        if budget.tiling == VaeTiling::Exact && caps.host.is_none() {
            let rows = Bands::choices(decoder.height());
            let found = fewest(&rows, |rows| decoder.need_in_rows(*rows), fits)?;
            strategy.rows = found.map(|(rows, need)| (parts[vae] = need, rows).1);
        }
    }

    // 3. What is too large yet keeps its weights in the host's memory.
    if caps.streams {
        let mut groups: BTreeMap<usize, Vec<&PartNeed>> = BTreeMap::new();
        for part in parts.iter() {
            groups.entry(strategy.leaving.group(part.role, part.refines)).or_default().push(part);
        }
        strategy.streams = groups.values().flat_map(|group| stream(group, target, caps)).collect();
    }
    Ok(strategy)
}

/// The first of several choices, each of which takes less than those before it, that fits, or the last, and what it takes.
fn fewest<T: Copy>(
    choices: &[T],
    need: impl Fn(&T) -> Result<PartNeed>,
    fits: impl Fn(&PartNeed) -> bool,
) -> Result<Option<(T, PartNeed)>> {
    let Some(last) = choices.len().checked_sub(1) else { return Ok(None) };
    let (mut low, mut high) = (0, last);
    while low < high {
        let middle = low.midpoint(high);
        match fits(&need(&choices[middle])?) {
            true => high = middle,
            false => low = middle + 1,
        }
    }
    Ok(Some((choices[low], need(&choices[low])?)))
}

/// The stages of some parts whose weights cannot all stay beside each other; none where they can. Those of the UNet's step
/// are the last to go, since it runs most often.
fn stream(parts: &[&PartNeed], target: u64, caps: &Caps) -> Vec<StageStream> {
    let whole = parts.iter().fold(Need::default(), |all, part| all.beside(&part.need));
    let total = whole.total(caps);
    if total <= target {
        return Vec::new();
    }
    let of = |part: &&PartNeed| {
        let refines = part.refines;
        part.loads.iter().map(move |(stage, loads)| (*stage, refines, loads.clone())).collect::<Vec<_>>()
    };
    let mut stages: Vec<(Stage, bool, Vec<u64>)> = parts.iter().flat_map(of).collect();
    stages.sort_by_key(|(stage, ..)| *stage != Stage::Step);
    let slot = stages.iter().flat_map(|(.., loads)| loads).copied().max().unwrap_or(0);
    let least = total - whole.weights + Streamed::SLOTS * slot;
    if least >= total {
        return Vec::new();
    }
    let mut left = target.saturating_sub(least);
    let mut streams = Vec::new();
    for (stage, refines, loads) in stages {
        let (stay, pieces) = Streamed { resident: left, slot }.cut(&loads);
        let [resident_bytes, run_bytes] = [&loads[..stay], &loads[stay..]].map(|loads| loads.iter().sum());
        left -= resident_bytes;
        if run_bytes > 0 {
            let pieces = pieces.len();
            streams.push(StageStream { stage, refines, resident_bytes, slot_bytes: slot, run_bytes, pieces });
        }
    }
    streams
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(role: Role, weights: u64, activations: u64) -> PartNeed {
        let need = Need { weights, buffers: vec![activations], ..Need::default() };
        let stage = match role {
            Role::Text => Stage::Text,
            Role::Text2 => Stage::Text2,
            Role::Denoiser => Stage::Step,
            Role::Vae => Stage::Decoder,
        };
        let loads = vec![(stage, vec![1; weights.min(99) as usize])];
        PartNeed { role, refines: false, need, stages: Vec::new(), loads }
    }

    /// A decoder of 1 of weights and `0` of activations, which tiles make less.
    struct Vae(u64);

    impl InTiles for Vae {
        fn latents(&self) -> [usize; 2] {
            [128, 128]
        }

        fn need(&self, tiles: Tiles) -> Result<PartNeed> {
            Ok(part(Role::Vae, 1, self.0 * (tiles.size[0] * tiles.size[1]) as u64 / (128 * 128)))
        }

        fn height(&self) -> usize {
            1024
        }

        fn need_in_rows(&self, rows: usize) -> Result<PartNeed> {
            Ok(part(Role::Vae, 1, (self.0 * rows as u64).div_ceil(1024)))
        }
    }

    fn told(texts: [u64; 2], budget: &Budget) -> (Strategy, Vec<u64>) {
        let (caps, vae) = (Caps::default(), Vae(8));
        let [text, text2] = [(Role::Text, texts[0]), (Role::Text2, texts[1])].map(|(r, w)| part(r, w, 0));
        let mut parts = [text, text2, part(Role::Denoiser, 10, 2), part(Role::Vae, 1, 8)];
        let strategy = decide(&mut parts, budget, &caps, &vae).unwrap();
        let totals = strategy.groups(&parts).map(|need| need.total(&caps)).collect();
        (strategy, totals)
    }

    fn limit(bytes: u64) -> Budget {
        Budget { max_vram: Some(bytes), ..Budget::default() }
    }

    #[test]
    fn parts_leave_where_they_must() {
        let of = |texts, bytes| told(texts, &limit(bytes)).0.leaving;
        // 2 + 3 + 10 + 1 of weights, the largest activations are the VAE's 8.
        use Leaving::{Each, Loop, Nothing, Texts};
        assert_eq!([24, 23, 19, 18, 12].map(|b| of([2, 3], b)), [Nothing, Texts, Texts, Loop, Loop]);
        assert_eq!([16, 15].map(|b| of([8, 8], b)), [Loop, Each]);
        // Where nobody knows how much there is nothing else is done.
        let (strategy, _) = told([2 << 30, 3 << 30], &Budget::default());
        assert_eq!(strategy, Strategy { leaving: Each, ..Strategy::default() });
    }

    #[test]
    fn then_the_vae_takes_tiles_and_the_unet_streams() {
        let of = |bytes| told([2, 3], &limit(bytes));
        assert_eq!(of(12).0.tiles, None);
        let (strategy, totals) = of(11);
        assert_eq!((strategy.leaving, strategy.tiles), (Leaving::Loop, None));
        // 2 of activations, four slots of one, and five of ten stay.
        let stream = StageStream {
            stage: Stage::Step,
            refines: false,
            resident_bytes: 5,
            slot_bytes: 1,
            run_bytes: 5,
            pieces: 5,
        };
        assert_eq!((strategy.streams, totals), (vec![stream], vec![5, 11, 9]));
        let (strategy, totals) = of(6);
        assert_eq!(strategy.tiles.map(|tiles| tiles.size), Some([72, 128]));
        assert_eq!((strategy.streams[0].resident_bytes, totals), (0, vec![5, 6, 5]));
        // What cannot be done is told by what it takes at the least.
        let (strategy, totals) = of(1);
        assert_eq!((strategy.tiles.map(|tiles| tiles.size), totals), (Some([40, 48]), vec![4, 6, 1]));
    }

    #[test]
    fn tiles_are_the_users_choice() {
        let of = |tiling, bytes| told([2, 3], &Budget { tiling, ..limit(bytes) }).0.tiles;
        assert_eq!(of(VaeTiling::Off, 3), None);
        assert_eq!(of(VaeTiling::On, 99).map(|tiles| tiles.size), Some([56, 56]));
        assert_eq!(of(VaeTiling::Auto, 99), None);
        let exact = |bytes| {
            let (strategy, _) = told([2, 3], &Budget { tiling: VaeTiling::Exact, ..limit(bytes) });
            assert_eq!(strategy.tiles, None);
            strategy.rows
        };
        // 1 of weights, and 8 for all rows.
        assert_eq!([9, 8, 3, 1].map(exact), [None, Some(520), Some(208), Some(16)]);
    }
}
