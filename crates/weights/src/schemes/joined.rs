use super::{Given, TEXT, TEXT_2, UNET, VAE, View, text, unet, vae};
use calotype_tensor::{DType, Error, Read, Result, TensorInfo, Tensors};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

/// Where a component stands in a file of a whole model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FilePlace {
    /// What its names begin with.
    pub prefix: &'static str,
    /// Whether it is a text encoder that is called as OpenCLIP has it, and not as transformers.
    pub open_clip: bool,
}

/// Components as one file in the original layout: the other way of [`FileParts`](super::FileParts), by the same tables.
/// Nothing is copied but what is transposed, and queries, keys and values, which are stored as one.
pub struct Joined {
    tensors: BTreeMap<String, Lent>,
}

struct Lent {
    source: Rc<dyn Tensors>,
    /// Its parts, one behind another: one tensor, or queries, keys and values.
    parts: Vec<String>,
    /// None where a part's numbers cannot be read.
    info: Option<TensorInfo>,
    transposed: bool,
}

/// What a component's tensor is stored as; none where the layout has nothing for it.
type Original = Box<dyn Fn(&str) -> Option<Given>>;

impl Joined {
    /// Of components, each by its folder, under today's names ([`super::under_own_names`]); what is of no component keeps its
    /// names.
    pub fn new(components: impl IntoIterator<Item = (&'static str, Rc<dyn Tensors>, FilePlace)>) -> Self {
        let mut tensors: BTreeMap<String, Lent> = BTreeMap::new();
        for (component, source, FilePlace { prefix, open_clip }) in components {
            let original = original(component, &*source, open_clip);
            let mut views: BTreeMap<String, Vec<(View, &str)>> = BTreeMap::new();
            for name in source.names() {
                if let Some(Given { name: stored, view }) = original(name) {
                    views.entry(format!("{prefix}{stored}")).or_default().push((view, name));
                }
            }
            for (stored, mut parts) in views {
                parts.sort_by_key(|(view, _)| if let View::Third(third) = view { *third } else { 0 });
                let lent = Lent::new(Rc::clone(&source), &stored, &parts);
                tensors.insert(stored, lent);
            }
        }
        Self { tensors }
    }

    fn lent(&self, name: &str) -> Result<&Lent> {
        self.tensors.get(name).ok_or_else(|| Error::missing(name, "the model", self.names()))
    }
}

/// Where the tensors of a component are stored.
fn original(component: &str, source: &dyn Tensors, open_clip: bool) -> Original {
    match component {
        UNET => {
            let blocks = unet::Blocks::of_diffusers(source.names().into_iter());
            Box::new(move |name| Some(Given::whole(blocks.original(name).unwrap_or_else(|| name.into()))))
        }
        VAE => {
            let levels = vae::Levels::of(source.names().into_iter());
            Box::new(move |name| Some(levels.original(name)))
        }
        TEXT | TEXT_2 if open_clip => Box::new(text::original),
        _ => Box::new(|name| Some(Given::whole(name))),
    }
}

impl Lent {
    fn new(source: Rc<dyn Tensors>, stored: &str, parts: &[(View, &str)]) -> Self {
        let names = parts.iter().map(|(_, name)| (*name).to_owned()).collect();
        let infos: Option<Vec<&TensorInfo>> = parts.iter().map(|(_, name)| source.get(name).ok()).collect();
        let info = infos.and_then(|infos| joined(stored, &infos));
        let mut lent = Self { info, parts: names, transposed: false, source: Rc::clone(&source) };
        let Some(info) = &mut lent.info else { return lent };
        match (parts[0].0, &mut info.shape[..]) {
            (View::Matrix, [_, _]) => info.shape.extend([1, 1]),
            (View::Transposed, [rows, columns]) => {
                std::mem::swap(rows, columns);
                info.encoding = info.dtype.into();
                lent.transposed = true;
            }
            _ => {}
        }
        lent
    }

    async fn whole(&self, dtype: DType) -> Result<Vec<u8>> {
        let mut all = Vec::new();
        for part in &self.parts {
            let bytes = self.source.read_all(part).await?;
            match self.source.get(part)?.dtype {
                own if own == dtype => all.extend_from_slice(&bytes),
                own => all.extend(own.to_f32(&bytes).into_iter().flat_map(f32::to_le_bytes)),
            }
        }
        Ok(all)
    }
}

/// What tensors are one behind another, along the first axis: of their own type where they all are of one.
fn joined(stored: &str, infos: &[&TensorInfo]) -> Option<TensorInfo> {
    let (first, rest) = infos.split_first()?;
    let mut info = TensorInfo { name: stored.into(), ..(*first).clone() };
    for other in rest {
        let ([rows, inner @ ..], [more, same @ ..]) = (&mut info.shape[..], &other.shape[..]) else {
            return None;
        };
        if inner != same {
            return None;
        }
        *rows += more;
        if info.dtype != other.dtype {
            info.dtype = DType::F32;
        }
        if info.encoding != other.encoding {
            info.encoding = info.dtype.into();
        }
    }
    Some(info)
}

impl Tensors for Joined {
    fn get(&self, name: &str) -> Result<&TensorInfo> {
        let Lent { source, parts, info, .. } = self.lent(name)?;
        if let Some(info) = info {
            return Ok(info);
        }
        for part in parts {
            source.get(part)?;
        }
        // Queries, keys and values that are not of one shape.
        Err(Error::missing(name, self.describe(name), self.names()))
    }

    fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        Box::pin(async move {
            let (info, lent) = (self.get(name)?, self.lent(name)?);
            info.check(&range, || self.describe(name))?;
            let size = info.dtype.size();
            match &lent.parts[..] {
                [one] if !lent.transposed => lent.source.read(one, range).await,
                _ => {
                    let whole = lent.whole(info.dtype).await?;
                    if lent.transposed {
                        let sides = [info.shape[0], info.shape[1]];
                        return Ok(super::renamed::transpose(&whole, info.dtype, sides, range).into());
                    }
                    Ok(whole[range.start * size..range.end * size].to_vec().into())
                }
            }
        })
    }

    fn as_stored<'a>(&'a self, name: &'a str) -> Option<Read<'a>> {
        let lent = self.tensors.get(name)?;
        match &lent.parts[..] {
            [one] if !lent.transposed => lent.source.as_stored(one),
            _ => None,
        }
    }

    fn describe(&self, name: &str) -> String {
        let lent = self.tensors.get(name).or_else(|| self.tensors.values().next());
        lent.map_or_else(
            || "the model".into(),
            |lent| lent.source.describe(lent.parts.first().map_or("", |part| &part[..])),
        )
    }

    fn release(&self, name: &str) {
        if let Some(lent) = self.tensors.get(name) {
            lent.parts.iter().for_each(|part| lent.source.release(part));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{FileParts, under_own_names};
    use super::*;
    use calotype_tensor::{HostTensor, Made, Shape};
    use pollster::block_on;

    fn source(tensors: &[(&'static str, &[usize])]) -> Rc<dyn Tensors> {
        let tensors = tensors.iter().map(|(name, shape)| (*name, DType::F32, Shape::new(shape)));
        // Numbers that tell tensors and their elements apart.
        let make = |name: &str, shape: Shape| {
            let first: f32 = name.bytes().map(f32::from).sum();
            HostTensor::from_f32(
                shape,
                &(0..shape.numel()).map(|i| first + i as f32 / 64.0).collect::<Vec<_>>(),
            )
        };
        Rc::new(Made::new("folder", tensors, make))
    }

    const TEXT_PLACE: FilePlace = FilePlace { prefix: "cond_stage_model.model.", open_clip: true };

    #[test]
    fn what_is_joined_comes_apart_as_it_was() {
        let at = "text_model.encoder.layers.0.self_attn";
        let names = ["q_proj", "k_proj", "v_proj"].map(|part| format!("{at}.{part}.weight").leak() as &str);
        let mut text: Vec<(&'static str, &[usize])> = names.iter().map(|name| (*name, &[2, 3][..])).collect();
        text.push(("text_projection.weight", &[2, 3]));
        text.push(("text_model.embeddings.token_embedding.weight", &[5, 3]));
        let vae: [(&str, &[usize]); 2] = [
            ("decoder.mid_block.attentions.0.to_q.weight", &[2, 2]),
            ("decoder.conv_in.weight", &[2, 1, 3, 3]),
        ];
        let parts = [("text_encoder", source(&text)), ("vae", source(&vae))];
        let place = |component: &str| match component {
            "vae" => FilePlace { prefix: "first_stage_model.", open_clip: false },
            _ => TEXT_PLACE,
        };
        let marks = ("", source(&[("v_pred", &[0])]), FilePlace { prefix: "", open_clip: false });
        let parts_in_places =
            parts.iter().map(|(component, part)| (*component, Rc::clone(part), place(component)));
        let joined = Joined::new(parts_in_places.chain([marks]));
        let fused = "cond_stage_model.model.transformer.resblocks.0.attn.in_proj_weight";
        assert_eq!(joined.get(fused).unwrap().shape, [6, 3]);
        assert_eq!(joined.get("first_stage_model.decoder.mid.attn_1.q.weight").unwrap().shape, [2, 2, 1, 1]);
        assert_eq!(joined.get("cond_stage_model.model.text_projection").unwrap().shape, [3, 2]);
        assert_eq!(block_on(joined.read_all("v_pred")).unwrap().len(), 0);

        let apart = FileParts::of(Rc::new(joined)).unwrap();
        assert_eq!(apart.rest, ["v_pred"]);
        for (component, part) in &parts {
            let found = &apart.components[component];
            assert_eq!(found.names(), part.names());
            for name in part.names() {
                assert_eq!(found.get(name).unwrap().shape, part.get(name).unwrap().shape, "{name}");
                assert_eq!(
                    block_on(found.read_all(name)).unwrap(),
                    block_on(part.read_all(name)).unwrap(),
                    "{name}"
                );
            }
        }
    }

    #[test]
    fn older_names_are_todays_before_they_are_joined() {
        let old: [(&str, &[usize]); 2] =
            [("encoder.layers.0.mlp.fc1.bias", &[2]), ("embeddings.token_embedding.weight", &[2, 2])];
        let text = under_own_names("text_encoder", source(&old)).unwrap();
        let joined = Joined::new([("text_encoder", Rc::new(text) as Rc<dyn Tensors>, TEXT_PLACE)]);
        let names = ["token_embedding.weight", "transformer.resblocks.0.mlp.c_fc.bias"];
        assert_eq!(joined.names(), names.map(|name| format!("cond_stage_model.model.{name}")));
    }
}
