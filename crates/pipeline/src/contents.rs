use calotype_tensor::DType;
use calotype_weights::WeightSource;
use std::collections::BTreeMap;

/// What a component's checkpoint holds, whether or not the pipeline needs it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contents {
    /// The component's folder: `text_encoder`, `unet`, `vae`.
    pub component: &'static str,
    /// Tensors in it.
    pub tensors: usize,
    /// Numbers in them.
    pub parameters: u64,
    /// Bytes they take as stored.
    pub bytes: u64,
    /// How many tensors are stored in each element type, by its name.
    pub dtypes: BTreeMap<&'static str, usize>,
}

impl Contents {
    pub(crate) fn of(component: &'static str, source: &impl WeightSource) -> Self {
        let mut contents = Self { component, tensors: 0, parameters: 0, bytes: 0, dtypes: BTreeMap::new() };
        for info in source.names().into_iter().filter_map(|name| source.get(name).ok()) {
            contents.tensors += 1;
            contents.parameters += info.numel() as u64;
            contents.bytes += info.bytes() as u64;
            *contents.dtypes.entry(DType::name(info.dtype)).or_default() += 1;
        }
        contents
    }
}
