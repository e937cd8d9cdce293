use super::{Given, View};
use calotype_tensor::{DType, Error, Read, Result, TensorInfo, Tensors};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

/// Tensors of a checkpoint under other names: each a stored one, some of its rows, or its transpose. Nothing is copied but
/// what is transposed.
#[derive(Clone)]
pub struct Renamed {
    source: Rc<dyn Tensors>,
    tensors: BTreeMap<String, Lent>,
}

#[derive(Clone)]
struct Lent {
    /// The stored tensor.
    stored: String,
    /// What is lent; none where the stored tensor's numbers cannot be read.
    info: Option<TensorInfo>,
    /// The first of its elements in the stored tensor.
    start: usize,
    transposed: bool,
    /// The stored number that it is times, where there is one.
    scale: Option<String>,
}

/// What ends the names of numbers that 8-bit weights are times (ComfyUI: `scaled_fp8` in comfy/ops.py and model_detection.py).
const SCALES: [&str; 2] = [".scale_weight", ".weight_scale"];

/// The number that a stored weight is times.
fn scale(source: &dyn Tensors, stored: &str) -> Option<String> {
    let layer = stored.strip_suffix(".weight")?;
    let names = SCALES.map(|end| format!("{layer}{end}"));
    names.into_iter().find(|name| source.get(name).is_ok_and(|info| info.numel() == 1))
}

impl Lent {
    /// A view that the stored shape does not allow is of the whole tensor: what asks for it sees that it does not fit.
    fn new(source: &dyn Tensors, stored: &str, given: &Given) -> Self {
        let mut lent = Self { stored: stored.into(), info: None, start: 0, transposed: false, scale: None };
        let Ok(info) = source.get(stored) else { return lent };
        let mut info = TensorInfo { name: given.name.clone(), ..info.clone() };
        match (given.view, &mut info.shape[..]) {
            (View::Matrix, [_, _, 1, 1] | [_, _, 1]) => info.shape.truncate(2),
            (View::Third(third), [rows, ..]) if rows.is_multiple_of(3) => {
                *rows /= 3;
                lent.start = third * info.shape.iter().product::<usize>();
            }
            (View::Transposed, [rows, columns]) => {
                std::mem::swap(rows, columns);
                info.encoding = info.dtype.into();
                lent.transposed = true;
            }
            _ => {}
        }
        lent.scale = scale(source, stored);
        if lent.scale.is_some() {
            (info.dtype, info.encoding) = (DType::F32, DType::F32.into());
        }
        lent.info = Some(info);
        lent
    }
}

impl Renamed {
    /// Stored tensors, each with what it gives.
    pub(super) fn new<'a>(
        source: Rc<dyn Tensors>,
        given: impl IntoIterator<Item = (&'a str, Given)>,
    ) -> Self {
        let lent = |(stored, given): (&str, Given)| {
            let lent = Lent::new(&source, stored, &given);
            (given.name, lent)
        };
        let tensors = given.into_iter().map(lent).collect();
        Self { source, tensors }
    }

    /// The stored tensor of which one is lent, where there is one.
    pub fn stored(&self, name: &str) -> Option<&str> {
        self.tensors.get(name).map(|lent| &lent.stored[..])
    }

    /// Leaves out the tensors whose names begin so.
    pub fn leave_out(&mut self, prefix: &str) {
        self.tensors.retain(|name, _| !name.starts_with(prefix));
    }

    fn lent(&self, name: &str) -> Result<&Lent> {
        let missing = || Error::missing(name, self.source.describe(""), self.names());
        self.tensors.get(name).ok_or_else(missing)
    }
}

impl Tensors for Renamed {
    fn get(&self, name: &str) -> Result<&TensorInfo> {
        let Lent { stored, info, .. } = self.lent(name)?;
        match info {
            Some(info) => Ok(info),
            None => self.source.get(stored),
        }
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        Box::pin(async move {
            let (info, lent) = (self.get(name)?, self.lent(name)?);
            info.check(&range, || self.describe(name))?;
            let dtype = self.source.get(&lent.stored)?.dtype;
            let stored = if lent.transposed {
                let whole = self.source.read_all(&lent.stored).await?;
                Cow::Owned(transpose(&whole, dtype, [info.shape[0], info.shape[1]], range))
            } else {
                self.source.read(&lent.stored, lent.start + range.start..lent.start + range.end).await?
            };
            let Some(scale) = &lent.scale else { return Ok(stored) };
            let factor = self.source.get(scale)?.dtype.to_f32(&self.source.read_all(scale).await?)[0];
            let scaled = dtype.to_f32(&stored).into_iter().flat_map(|v| (v * factor).to_le_bytes());
            Ok(Cow::Owned(scaled.collect()))
        })
    }

    fn as_stored<'a>(&'a self, name: &'a str) -> Option<Read<'a>> {
        let lent = self.tensors.get(name)?;
        let info = lent.info.as_ref()?;
        let [block, size] = info.encoding.block();
        // Rows of one are whole blocks of it, as a rule.
        let whole = lent.start.is_multiple_of(block) && info.numel().is_multiple_of(block);
        if lent.transposed || lent.scale.is_some() || !whole {
            return None;
        }
        let begin = lent.start / block * size;
        let own = begin..begin + info.numel() / block * size;
        let stored = self.source.as_stored(&lent.stored)?;
        Some(Box::pin(async move {
            Ok(match stored.await? {
                Cow::Borrowed(all) => Cow::Borrowed(&all[own]),
                Cow::Owned(all) if own.len() == all.len() => Cow::Owned(all),
                Cow::Owned(all) => Cow::Owned(all[own].to_vec()),
            })
        }))
    }

    fn describe(&self, name: &str) -> String {
        self.source.describe(self.stored(name).unwrap_or(name))
    }

    fn release(&self, name: &str) {
        if let Some(stored) = self.stored(name) {
            self.source.release(stored);
        }
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.source.metadata(key)
    }
}

/// Some elements of a matrix of `rows × columns` that is stored as `columns × rows`.
pub(super) fn transpose(
    stored: &[u8],
    dtype: DType,
    [rows, columns]: [usize; 2],
    range: Range<usize>,
) -> Vec<u8> {
    let size = dtype.size();
    let at = |element: usize| (element % columns * rows + element / columns) * size;
    range.flat_map(|element| &stored[at(element)..at(element) + size]).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use calotype_tensor::{Encoding, HostTensor, Made, Shape};

    fn source() -> Rc<dyn Tensors> {
        let tensors: [(&str, &[usize]); 3] = [("fused", &[6, 2]), ("conv", &[2, 2, 1, 1]), ("wide", &[2, 3])];
        let tensors = tensors.map(|(name, shape)| (name, DType::F32, Shape::new(shape)));
        let count = |_: &str, shape: Shape| {
            HostTensor::from_f32(shape, &(0..shape.numel()).map(|i| i as f32).collect::<Vec<_>>())
        };
        Rc::new(Made::new("file", tensors, count))
    }

    fn lent(stored: &'static str, view: View) -> Renamed {
        Renamed::new(source(), [(stored, Given { name: "new".into(), view })])
    }

    fn numbers(renamed: &Renamed, range: Range<usize>) -> Vec<f32> {
        let bytes = pollster::block_on(renamed.read("new", range.clone())).unwrap();
        HostTensor::from_bytes([range.len()], DType::F32, bytes.into_owned()).to_f32()
    }

    #[test]
    fn rows_of_a_fused_tensor_are_lent_by_thirds() {
        for third in 0..3 {
            let renamed = lent("fused", View::Third(third));
            assert_eq!(renamed.get("new").unwrap().shape, [2, 2]);
            let first = 4.0 * third as f32;
            assert_eq!(numbers(&renamed, 0..4), [first, first + 1.0, first + 2.0, first + 3.0]);
            assert_eq!(numbers(&renamed, 2..3), [first + 2.0]);
            assert!(pollster::block_on(renamed.read("new", 3..5)).is_err(), "beyond its rows");
        }
        // Two rows are no three thirds.
        assert_eq!(lent("wide", View::Third(1)).get("new").unwrap().shape, [2, 3]);
    }

    /// A tensor in blocks of q8_0.
    struct Held(TensorInfo);

    impl Held {
        fn bytes(&self) -> Vec<u8> {
            (0..self.0.encoding.bytes(self.0.numel())).map(|i| i as u8).collect()
        }
    }

    impl Tensors for Held {
        fn get(&self, _: &str) -> Result<&TensorInfo> {
            Ok(&self.0)
        }
        fn names(&self) -> Vec<&str> {
            vec![&self.0.name]
        }
        fn read<'a>(&'a self, _: &'a str, _: Range<usize>) -> Read<'a> {
            unreachable!("only blocks are asked for")
        }
        fn describe(&self, _: &str) -> String {
            "file".into()
        }
        fn as_stored<'a>(&'a self, _: &'a str) -> Option<Read<'a>> {
            Some(Box::pin(std::future::ready(Ok(self.bytes().into()))))
        }
    }

    #[test]
    fn rows_in_blocks_are_lent_as_blocks() {
        let stored = |shape: &[usize], view| {
            let (dtype, encoding, shape) = (DType::F32, Encoding::Q8_0, shape.to_vec());
            let held = Held(TensorInfo { name: "fused".into(), dtype, encoding, shape });
            let all = held.bytes();
            let lent = Renamed::new(Rc::new(held), [("fused", Given { name: "new".into(), view })]);
            (lent.as_stored("new").map(|read| pollster::block_on(read).unwrap().into_owned()), all)
        };
        let (second, all) = stored(&[6, 32], View::Third(1));
        assert_eq!(second.unwrap(), all[2 * 34..4 * 34]);
        let (whole, all) = stored(&[6, 32], View::Whole);
        assert_eq!(whole.unwrap(), all);
        assert_eq!(stored(&[6, 32], View::Transposed).0, None);
        assert_eq!(stored(&[3, 16], View::Third(1)).0, None, "half a block");
    }

    #[test]
    fn a_convolution_of_one_pixel_is_a_matrix_and_a_transpose_is_read_in_parts() {
        assert_eq!(lent("conv", View::Matrix).get("new").unwrap().shape, [2, 2]);
        assert_eq!(lent("wide", View::Matrix).get("new").unwrap().shape, [2, 3]);
        let renamed = lent("wide", View::Transposed);
        assert_eq!(renamed.get("new").unwrap().shape, [3, 2]);
        assert_eq!(numbers(&renamed, 0..6), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(numbers(&renamed, 1..4), [3.0, 1.0, 4.0]);
    }

    #[test]
    fn eight_bits_are_times_their_scale() {
        // 1.0 and -1.5 of e4m3, in both of the spellings that are about.
        for spelling in SCALES {
            let json = format!(
                r#"{{"a.weight":{{"dtype":"F8_E4M3","shape":[2,1],"data_offsets":[0,2]}},"a{spelling}":{{"dtype":"F32","shape":[],"data_offsets":[2,6]}}}}"#
            );
            let data = [vec![0x38, 0xbc], 0.25f32.to_le_bytes().to_vec()].concat();
            let bytes = [&(json.len() as u64).to_le_bytes()[..], json.as_bytes(), &data].concat();
            let file: Rc<dyn Tensors> = Rc::new(crate::Checkpoint::in_memory("file", bytes).unwrap());
            for (view, shape) in [(View::Whole, [2, 1]), (View::Transposed, [1, 2])] {
                let given = Given { name: "new".into(), view };
                let renamed = Renamed::new(file.clone(), [("a.weight", given)]);
                assert_eq!(renamed.get("new").unwrap().shape, shape);
                assert_eq!(numbers(&renamed, 0..2), [0.25, -0.375]);
                assert_eq!(numbers(&renamed, 1..2), [-0.375]);
                assert!(renamed.as_stored("new").is_none());
            }
        }
    }

    #[test]
    fn what_is_not_there_is_told_by_the_new_names() {
        let renamed = lent("wide", View::Whole);
        assert_eq!(
            renamed.get("newer").unwrap_err().to_string(),
            "file: no tensor newer (the nearest name is new)"
        );
        assert_eq!(
            (renamed.names(), renamed.stored("new"), renamed.stored("wide")),
            (vec!["new"], Some("wide"), None)
        );
    }
}
