use crate::patches::fit::Laid;
use crate::patches::{Lora, decode};
use crate::{Error, Result};
use calotype_tensor::parallel::prelude::*;
use calotype_tensor::{DType, Encoding, Read, TensorInfo, Tensors};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

/// A component's checkpoint with LoRAs laid over it, each tensor when it is read: what they make of it is lent as f32, so it
/// is rounded to what the device stores once.
pub struct Merged<S> {
    checkpoint: S,
    changed: BTreeMap<String, Changed>,
}

/// A tensor with what changes it, in order.
struct Changed {
    info: TensorInfo,
    by: Vec<Change>,
}

struct Change {
    lora: Rc<Lora>,
    laid: Laid,
    scale: f32,
}

impl<S: Tensors> Merged<S> {
    /// Lays the LoRAs, each times its scale and over those before it, over the layers of `component` (its folder's name:
    /// `unet`, `text_encoder`) that they name. What finds no layer of its shape is left out: [`Lora::check`] tells of it.
    pub fn new(checkpoint: S, component: &str, loras: &[(Rc<Lora>, f32)]) -> Result<Self> {
        let mut changed: BTreeMap<String, Changed> = BTreeMap::new();
        for (lora, scale) in loras {
            for laid in lora.fit(component, &checkpoint)?.laid {
                let info = checkpoint.get(&laid.tensor)?;
                let entry = changed.entry(laid.tensor.clone()).or_insert_with(|| Changed {
                    info: TensorInfo { dtype: DType::F32, encoding: stored_as(info), ..info.clone() },
                    by: Vec::new(),
                });
                entry.by.push(Change { lora: Rc::clone(lora), laid, scale: *scale });
            }
        }
        Ok(Self { checkpoint, changed })
    }

    /// The tensors that LoRAs change, each with what tells its change from others: which layer of which file, how often, in
    /// order.
    pub async fn changes(&self) -> Result<BTreeMap<String, Vec<(u64, usize, u32)>>> {
        let mut all = BTreeMap::new();
        for (tensor, Changed { by, .. }) in &self.changed {
            let mut prints = Vec::new();
            for Change { lora, laid, scale } in by {
                prints.push((lora.digest().await?, laid.layer, scale.to_bits()));
            }
            all.insert(tensor.clone(), prints);
        }
        Ok(all)
    }

    /// A tensor that LoRAs change.
    async fn merge(&self, name: &str, changed: &Changed) -> Result<Vec<f32>> {
        let mut weight = decode(&self.checkpoint, name).await?;
        let count = weight.par_iter().filter(|v| !v.is_finite()).count();
        if count > 0 {
            let place = self.checkpoint.describe(name);
            return Err(Error::NotFinite { tensor: name.into(), place, count });
        }
        for Change { lora, laid, scale } in &changed.by {
            lora.apply(laid, &changed.info.shape, &mut weight, *scale).await?;
        }
        Ok(weight)
    }
}

/// What a tensor may be stored as again, when it was changed: blocks stay blocks, though others.
fn stored_as(info: &TensorInfo) -> Encoding {
    if info.encoding.block()[0] > 1 { info.encoding } else { Encoding::F32 }
}

impl<S: Tensors> Tensors for Merged<S> {
    fn get(&self, name: &str) -> calotype_tensor::Result<&TensorInfo> {
        self.changed.get(name).map_or_else(|| self.checkpoint.get(name), |changed| Ok(&changed.info))
    }

    fn names(&self) -> Vec<&str> {
        self.checkpoint.names()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        let Some(changed) = self.changed.get(name) else { return self.checkpoint.read(name, range) };
        Box::pin(async move {
            changed.info.check(&range, || self.describe(name))?;
            let merged = self.merge(name, changed).await?;
            Ok(Cow::Owned(bytemuck::cast_slice(&merged[range]).to_vec()))
        })
    }

    fn as_stored<'a>(&'a self, name: &'a str) -> Option<Read<'a>> {
        if self.changed.contains_key(name) { None } else { self.checkpoint.as_stored(name) }
    }

    /// What was added is named too: a sum may be too large where neither part is.
    fn describe(&self, name: &str) -> String {
        let mut place = self.checkpoint.describe(name);
        for change in self.changed.get(name).map_or(&[][..], |changed| &changed.by) {
            place += &format!(" + {}", change.lora.place());
        }
        place
    }

    fn release(&self, name: &str) {
        self.checkpoint.release(name);
    }

    fn metadata(&self, key: &str) -> Option<&str> {
        self.checkpoint.metadata(key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Checkpoint;
    use safetensors::{Dtype, tensor::TensorView};
    use std::collections::HashMap;

    type Tensor<'a> = (&'a str, &'a [usize], &'a [f32]);

    fn file(place: &str, tensors: &[Tensor], metadata: Option<&str>) -> Checkpoint {
        let bytes: Vec<&[u8]> = tensors.iter().map(|(.., values)| bytemuck::cast_slice(values)).collect();
        let views = tensors.iter().zip(bytes).map(|((name, shape, _), bytes)| {
            (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
        });
        let metadata = metadata.map(|m| HashMap::from([("lora_adapter_metadata".to_owned(), m.to_owned())]));
        Checkpoint::in_memory(place, safetensors::serialize(views, metadata).unwrap()).unwrap()
    }

    fn model() -> Checkpoint {
        let text: Tensor = ("encoder.layers.0.mlp.fc1.weight", &[1, 1], &[1.0]);
        let tensors: [Tensor; 3] =
            [("a.to_q.weight", &[2, 3], &[0.0; 6]), ("a.conv.weight", &[2, 1, 1, 3], &[1.0; 6]), text];
        file("model", &tensors, None)
    }

    fn merged(tensors: &[Tensor], metadata: Option<&str>, scale: f32) -> Result<Merged<Checkpoint>> {
        let lora = Lora::new(file("lora", tensors, metadata))?;
        lora.check(&[("unet", &model()), ("text_encoder", &model())])?;
        Merged::new(model(), "unet", &[(Rc::new(lora), scale)])
    }

    fn values(source: &impl Tensors, name: &str) -> Vec<f32> {
        assert_eq!(source.get(name).unwrap().dtype, DType::F32);
        bytemuck::pod_collect_to_vec(&pollster::block_on(source.read_all(name)).unwrap())
    }

    const DOWN: Tensor = ("unet.a.to_q.lora_A.weight", &[2, 3], &[1.0, 2.0, 3.0, 10.0, 20.0, 30.0]);
    const UP: Tensor = ("unet.a.to_q.lora_B.weight", &[2, 2], &[1.0, 0.0, 1.0, 1.0]);
    /// `UP · DOWN`.
    const PRODUCT: [f32; 6] = [1.0, 2.0, 3.0, 11.0, 22.0, 33.0];

    #[test]
    fn the_product_is_added_times_scale_and_alpha_over_rank() {
        let merged_once = merged(&[DOWN, UP], None, 0.5).unwrap();
        assert_eq!(values(&merged_once, "a.to_q.weight"), PRODUCT.map(|v| v * 0.5));
        assert_eq!(values(&merged_once, "a.conv.weight"), [1.0; 6]);
        let part = pollster::block_on(merged_once.read("a.to_q.weight", 1..2)).unwrap().into_owned();
        assert_eq!(part, 1f32.to_le_bytes());
        // alpha = 4 of rank 2, as a tensor; and by PEFT's metadata, for all layers or one.
        let kohya: [Tensor; 3] = [
            ("lora_unet_a_to_q.lora_down.weight", DOWN.1, DOWN.2),
            ("lora_unet_a_to_q.lora_up.weight", UP.1, UP.2),
            ("lora_unet_a_to_q.alpha", &[], &[4.0]),
        ];
        let twice = PRODUCT.map(|v| v * 2.0);
        assert_eq!(values(&merged(&kohya, None, 1.0).unwrap(), "a.to_q.weight"), twice);
        for metadata in [
            r#"{"unet.lora_alpha": 4, "unet.r": 2}"#,
            r#"{"unet.lora_alpha": 1, "unet.alpha_pattern": {"to_q": 4}}"#,
        ] {
            let merged = merged(&[DOWN, UP], Some(metadata), 1.0).unwrap();
            assert_eq!(values(&merged, "a.to_q.weight"), twice, "{metadata}");
        }
    }

    #[test]
    fn kernels_and_several_loras_add_up() {
        let conv: [Tensor; 2] = [
            ("unet.a.conv.lora_A.weight", &[1, 1, 1, 3], &[1.0, 2.0, 3.0]),
            ("unet.a.conv.lora_B.weight", &[2, 1, 1, 1], &[1.0, 10.0]),
        ];
        let lora = Rc::new(Lora::new(file("lora", &conv, None)).unwrap());
        let both = Merged::new(model(), "unet", &[(Rc::clone(&lora), 1.0), (lora, -0.5)]).unwrap();
        assert_eq!(values(&both, "a.conv.weight"), [1.5, 2.0, 2.5, 6.0, 11.0, 16.0]);
    }

    #[test]
    fn a_text_encoders_layer_is_found_with_and_without_its_prefix() {
        let text: [Tensor; 2] = [
            ("text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_A.weight", &[1, 1], &[2.0]),
            ("text_encoder.text_model.encoder.layers.0.mlp.fc1.lora_B.weight", &[1, 1], &[3.0]),
        ];
        let lora = Rc::new(Lora::new(file("lora", &text, None)).unwrap());
        let merged = Merged::new(model(), "text_encoder", &[(lora, 1.0)]).unwrap();
        assert_eq!(values(&merged, "encoder.layers.0.mlp.fc1.weight"), [7.0]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let refused = |tensors: &[Tensor], parts: &[&str]| {
            let error = merged(tensors, None, 1.0).map(drop).unwrap_err().to_string();
            parts.iter().for_each(|part| assert!(error.contains(part), "no {part:?} in: {error}"));
        };
        let up: Tensor = ("unet.a.to_q.lora_B.weight", &[2, 1], &[1.0; 2]);
        refused(&[DOWN, up], &["lora", "unet.a.to_q.lora_A.weight", "rank 2", "another"]);
        let up: Tensor = ("unet.a.to_q.lora_B.weight", &[3, 2], &[1.0; 6]);
        refused(
            &[DOWN, up],
            &["unet.a.to_q.lora_A.weight", "does not fit", "(a.to_q.weight)", "[2, 3]", "another model"],
        );
        refused(&[DOWN], &["unet.a.to_q.lora_A.weight", "stands alone"]);
        let other: [Tensor; 2] =
            [("unet.b.lora_A.weight", &[1, 1], &[1.0]), ("unet.b.lora_B.weight", &[1, 1], &[1.0])];
        refused(&other, &["unet.b.lora_A.weight", "no layer b", "another model"]);
        let magnitudes: Tensor = ("unet.a.conv.lora_magnitude_vector", &[2], &[1.0; 2]);
        refused(&[DOWN, UP, magnitudes], &[magnitudes.0, "stands alone"]);
        refused(&[("conv.weight", &[1], &[1.0])], &["no LoRA"]);
        refused(&[], &["no LoRA"]);
        let control: Tensor = ("lora_controlnet", &[], &[1.0]);
        refused(&[DOWN, UP, control], &[control.0, "Control-LoRA", "not supported"]);
        let alpha: Tensor = ("unet.a.to_q.alpha", &[2], &[1.0; 2]);
        refused(&[DOWN, UP, alpha], &["unet.a.to_q.alpha", "shape [2]", "one number"]);
        let none: [Tensor; 2] =
            [("unet.a.to_q.lora_A.weight", &[0, 3], &[]), ("unet.a.to_q.lora_B.weight", &[2, 0], &[])];
        refused(&none, &["unet.a.to_q.lora_A.weight", "[0, 3]", "empty"]);
        let again: Tensor = ("base_model.model.a.to_q.lora_A.weight", DOWN.1, DOWN.2);
        refused(&[DOWN, UP, again], &[again.0, DOWN.0, "keep one"]);
        let [first, second] = ["unet.a.to_q.lora_A.first.weight", "unet.a.to_q.lora_B.second.weight"];
        refused(&[(first, DOWN.1, DOWN.2), (second, UP.1, UP.2)], &[second, "adapter second", "of first"]);
    }

    #[test]
    fn numbers_that_are_none_are_those_of_the_file_that_brought_them() {
        let refused = |tensors: &[Tensor], scale: f32, parts: &[&str]| {
            let merged = merged(tensors, None, scale).unwrap();
            let error = pollster::block_on(merged.read_all("a.to_q.weight")).unwrap_err().to_string();
            parts.iter().for_each(|part| assert!(error.contains(part), "no {part:?} in: {error}"));
            assert!(!error.contains("model"), "{error}");
        };
        for bad in [f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
            refused(
                &[(DOWN.0, DOWN.1, &[1.0, bad, 1.0, 1.0, 1.0, 1.0]), UP],
                1.0,
                &["lora: ", DOWN.0, "1 values"],
            );
            refused(&[DOWN, (UP.0, UP.1, &[bad; 4])], 0.0, &["lora: ", UP.0, "4 values", "leave it out"]);
            let alpha: Tensor = ("unet.a.to_q.alpha", &[], &[bad]);
            refused(&[DOWN, UP, alpha], 1.0, &["lora: ", alpha.0, "1 values"]);
        }
        refused(&[DOWN, UP], 3e38, &["lora: ", DOWN.0, "3e38", "smaller scale"]);

        let broken: Tensor = ("a.to_q.weight", &[2, 3], &[f32::NAN; 6]);
        let lora = Rc::new(Lora::new(file("lora", &[DOWN, UP], None)).unwrap());
        let merged = Merged::new(file("model", &[broken], None), "unet", &[(lora, 1.0)]).unwrap();
        let error = pollster::block_on(merged.read_all("a.to_q.weight")).unwrap_err().to_string();
        assert!(
            error.contains("a.to_q.weight in model holds 6 values") && !error.contains("lora"),
            "{error}"
        );
        // A sum that is too large for a device is of both.
        assert_eq!([merged.describe("a.to_q.weight"), merged.describe("b")], ["model + lora", "model"]);
    }
}
