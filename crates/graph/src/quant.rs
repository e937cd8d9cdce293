use crate::{Error, Graph, Layout, Weight};
use calotype_tensor::{Encoding, Shape, Tensors};
use std::collections::HashMap;
use std::str::FromStr;

/// Which of a graph's matrices a device holds in blocks: 32 numbers along k that share a scale, as ggml makes them
/// ([`calotype_tensor::blocks`]).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Quant {
    /// Those that the checkpoint holds in blocks.
    #[default]
    Kept,
    /// None.
    Off,
    /// All that can be, in bytes: 8.5 bits a number.
    Q8_0,
    /// All that can be, in nibbles: 4.5 bits a number.
    Q4_0,
}

impl Quant {
    /// The blocks in which a device holds what a file has in these, where nothing else is asked for: the same where it has
    /// such, else bytes, which hold q5_0's numbers as they are, and those of other kinds to within half a 127th of the largest
    /// of 32. None where they are no blocks.
    pub fn held(encoding: Encoding) -> Option<Encoding> {
        match encoding {
            Encoding::Q4_0 => Some(Encoding::Q4_0),
            other => (other.block()[0] > 1 && other.lent().is_some()).then_some(Encoding::Q8_0),
        }
    }
}

impl FromStr for Quant {
    type Err = String;

    /// What callers write who ask for something.
    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "none" => Ok(Self::Off),
            "q8_0" => Ok(Self::Q8_0),
            "q4_0" => Ok(Self::Q4_0),
            _ => Err("devices hold q8_0 and q4_0, and as q8_0 what a file has in other blocks: use one of them, or none"
                .into()),
        }
    }
}

/// Numbers of a block.
pub(crate) const BLOCK: usize = 32;

impl Weight {
    /// Whether it is in blocks on a device.
    pub fn is_blocks(&self) -> bool {
        self.stored.block()[0] > 1
    }

    /// Whether it can be, as ops see it in `seen`: a matrix that products read by fours, whose blocks end where columns do,
    /// and a kernel's taps.
    fn takes_blocks(&self, seen: Shape) -> bool {
        let along = match self.layout {
            Layout::Matrix => seen.rows(),
            Layout::Conv { channels, .. } => channels,
            Layout::Vector | Layout::Table => return false,
        };
        let whole = self.tensors.iter().all(|tensor| tensor.shape.dims()[1] == along);
        self.constant.is_none() && whole && along.is_multiple_of(BLOCK) && seen.channels().is_multiple_of(4)
    }
}

impl Graph {
    /// Has matrices lie in blocks on a device, those whose tensors `may` be by their names: after
    /// [`resolve`](Self::resolve), which leaves none so.
    pub fn quantize(
        &mut self,
        source: &dyn Tensors,
        quant: Quant,
        may: &dyn Fn(&str) -> bool,
    ) -> Result<(), Error> {
        let able: HashMap<_, bool> = self
            .weight_values()
            .map(|(id, seen, _)| (id.index(), self.weights()[id.index()].takes_blocks(seen)))
            .collect();
        for (at, weight) in self.weights.iter_mut().enumerate() {
            let may = weight.tensors.iter().all(|tensor| may(&tensor.names[0]));
            if !may || !able.get(&at).copied().unwrap_or(false) {
                continue;
            }
            let stored = match quant {
                Quant::Off => None,
                Quant::Q8_0 => Some(Encoding::Q8_0),
                Quant::Q4_0 => Some(Encoding::Q4_0),
                Quant::Kept => kept(weight, source)?,
            };
            weight.stored = stored.unwrap_or(weight.stored);
        }
        Ok(())
    }
}

/// The blocks that hold all of a weight's tensors: nibbles where each has them and they run along k.
fn kept(weight: &Weight, source: &dyn Tensors) -> Result<Option<Encoding>, Error> {
    let mut all = Vec::new();
    for tensor in &weight.tensors {
        all.push(Quant::held(source.get(&tensor.names[0])?.encoding));
    }
    let small = weight.layout == Layout::Matrix && all.iter().all(|held| *held == Some(Encoding::Q4_0));
    Ok(if small { Some(Encoding::Q4_0) } else { all.iter().all(Option::is_some).then_some(Encoding::Q8_0) })
}
