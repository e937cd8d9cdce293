use calotype_graph::{Graph, Quant};
use calotype_models::unused;
use calotype_tensor::{Encoding, Error, Tensors};
use calotype_weights::warn_unused;
use std::collections::{BTreeMap, BTreeSet};

/// What a component's checkpoint holds, whether or not the pipeline needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The component's folder: `text_encoder`, `unet`, `vae`.
    pub component: &'static str,
    /// Tensors in it.
    pub tensors: usize,
    /// Floating-point numbers in them, but for tensors whose numbers cannot be read.
    pub parameters: u64,
    /// Bytes they take as stored.
    pub bytes: u64,
    /// How many tensors are stored in each element type, by its name.
    pub dtypes: BTreeMap<&'static str, usize>,
    /// Those of them that are blocks.
    pub blocks: BTreeSet<Encoding>,
}

impl Contents {
    /// Counts what is there, and warns of what the component's graph does not take.
    pub(crate) fn of(component: &'static str, source: &dyn Tensors, graph: Option<&Graph>) -> Self {
        let mut contents = Self {
            component,
            tensors: 0,
            parameters: 0,
            bytes: 0,
            dtypes: BTreeMap::new(),
            blocks: BTreeSet::new(),
        };
        for name in source.names() {
            contents.tensors += 1;
            let dtype = match source.get(name) {
                Ok(info) => {
                    contents.parameters += if info.encoding.is_float() { info.numel() as u64 } else { 0 };
                    contents.bytes += info.encoding.bytes(info.numel());
                    contents.blocks.extend(Quant::held(info.encoding).map(|_| info.encoding));
                    info.encoding.name()
                }
                Err(Error::Unsupported { encoding, .. }) => encoding.name(),
                Err(_) => continue,
            };
            *contents.dtypes.entry(dtype).or_default() += 1;
        }
        if let Some(graph) = graph {
            warn_unused(&source.describe(""), component, unused(graph, source));
        }
        contents
    }
}
