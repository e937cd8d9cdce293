use super::{Activation, Operation, Shapes, ensure};
use crate::caps::Caps;
use crate::error::Error;
use crate::launch::{Context, Lower, Part, vector};
use crate::value::{Elem, ValueId};
use calotype_shaders::{affine, group_norm, group_norm_finish, group_norm_partial};
use calotype_tensor::{DType, Shape};

/// Rows that one workgroup sums.
const CHUNK: usize = 128;

/// Group normalisation (Wu and He 2018, arXiv:1803.08494) over `[B, …, C]`, then an activation.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupNorm {
    /// `[B, …, C]`, or the first of the C channels.
    pub x: ValueId,
    /// The rest of the C channels: a skip connection is read where it lies.
    pub beside: Option<ValueId>,
    /// `[C]`, a weight.
    pub gamma: ValueId,
    /// `[C]`, a weight.
    pub beta: ValueId,
    /// How many groups the channels fall into.
    pub groups: usize,
    /// Added to the variance.
    pub eps: f32,
    /// Applied last.
    pub activation: Activation,
}

impl Operation for GroupNorm {
    const NAME: &'static str = "group_norm";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.x);
        self.beside.iter_mut().for_each(&mut *visit);
        visit(&mut self.gamma);
        visit(&mut self.beta);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let mut x = shapes.shape(self.x);
        if let Some(beside) = self.beside.map(|b| shapes.shape(b)) {
            let fours = x.channels().is_multiple_of(4) && beside.channels().is_multiple_of(4);
            let fits = beside.with_channels(x.channels()) == x && fours;
            ensure(fits, || format!("cannot read {x} and {beside} side by side"))?;
            x = x.with_channels(x.channels() + beside.channels());
            ensure(Self::is_small(x, self.groups), || format!("has groups too large to read {x} by parts"))?;
        }
        let c = x.channels();
        ensure(x.rank() >= 2, || format!("takes [B, …, C], not {x}"))?;
        let divides = self.groups > 0 && c.is_multiple_of(self.groups);
        ensure(divides, || format!("cannot part {c} channels into {} groups", self.groups))?;
        for v in [self.gamma, self.beta] {
            let v = shapes.shape(v);
            ensure(v.dims() == [c], || format!("takes weights [{c}], not {v}"))?;
        }
        Ok((x, Elem::Float))
    }
}

impl GroupNorm {
    /// The most elements of a group that one workgroup takes by itself: 256 KiB of halves, read twice, is some ten
    /// microseconds of one processor's share of a GPU's bandwidth, about what two more launches cost.
    const SMALL: usize = 1 << 17;

    /// Whether each group of an image of x is so small that one workgroup does everything. Pairs of channels stay
    /// together, and rows of a group fit a workgroup's threads.
    pub fn is_small(x: Shape, groups: usize) -> bool {
        let (images, size) = (x.dims()[0].max(1), x.channels() / groups.max(1));
        let fits = (1..=240).contains(&size) && size.is_multiple_of(2);
        fits && x.rows() / images * size <= Self::SMALL && x.bytes(DType::F32) <= Caps::default().max_binding
    }
}

impl Lower for GroupNorm {
    /// The chunks' moments, and each image's scale and shift.
    fn scratch(&self, x: Shape) -> Vec<u64> {
        if Self::is_small(x, self.groups) {
            return Vec::new();
        }
        let (images, channels) = (x.dims()[0], x.channels());
        let chunks = (x.rows() / images).div_ceil(CHUNK);
        vec![(images * chunks * 2 * channels * 4) as u64, (images * 2 * channels * 4) as u64]
    }

    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let x = cx.shape(self.x);
        if Self::is_small(cx.shape(out), self.groups) {
            return self.lower_small(cx, out);
        }
        let (images, channels) = (x.dims()[0], x.channels());
        let rows = x.rows() / images;
        let chunks = rows.div_ceil(CHUNK);
        let vector = vector(&[channels]);
        let width = channels / vector;
        let (moments, affine) = (cx.scratch(0), cx.scratch(1));

        let variant = cx.vectored("group_norm_partial", vector)?;
        let columns = width.div_ceil(64) as u32;
        let fit = cx.rows_that_fit(images * rows, &[self.x]);
        // Whole images at once where a binding holds them, else bands of an image's chunks.
        let bands: Vec<(usize, usize, usize, usize)> = if fit >= images * rows {
            vec![(0, images, 0, chunks)]
        } else {
            let band = (fit / CHUNK).max(1);
            (0..images)
                .flat_map(|i| (0..chunks).step_by(band).map(move |c| (i, 1, c, band.min(chunks - c))))
                .collect()
        };
        for (image, count, first, band) in bands {
            let from = image * rows + first * CHUNK;
            let to = (image + count - 1) * rows + ((first + band) * CHUNK).min(rows);
            let window = cx.window(self.x, from * channels..to * channels)?;
            let params = group_norm_partial::Params {
                rows: rows as u32,
                width: width as u32,
                chunk: CHUNK as u32,
                chunks: chunks as u32,
                first: first as u32,
                x_base: window.base(vector),
                image: image as u32,
            };
            let groups = [band as u32, columns, count as u32];
            cx.dispatch(variant, &[], params, vec![window.binding, moments.clone()], groups);
        }

        let params = group_norm_finish::Params {
            rows: rows as u32,
            channels: channels as u32,
            groups: self.groups as u32,
            chunk: CHUNK as u32,
            chunks: chunks as u32,
            eps: self.eps,
        };
        let bindings = vec![moments, cx.bind(self.gamma)?, cx.bind(self.beta)?, affine.clone()];
        let variant = cx.variant("group_norm_finish", cx.caps.sums())?;
        cx.dispatch(variant, &[], params, bindings, [self.groups as u32, images as u32, 1]);

        let overrides = [("ACTIVATION", self.activation as u32 as f64)];
        let operands = [Part::Rows(self.x), Part::Whole(affine)];
        cx.pointwise("affine", &overrides, &operands, out, |band| affine::Params {
            count: band.count,
            first: band.first,
            width: width as u32,
            image: (rows * width) as u32,
            x_base: band.base(0),
            y_base: band.base(2),
        })
    }
}

impl GroupNorm {
    /// One launch, a workgroup a group.
    fn lower_small(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let (x, y) = (cx.shape(self.x), cx.shape(out));
        let (images, channels) = (y.dims()[0], y.channels());
        let vector = vector(&[x.channels(), channels]);
        let params = group_norm::Params {
            rows: (y.rows() / images) as u32,
            width: (x.channels() / vector) as u32,
            beside: ((channels - x.channels()) / vector) as u32,
            size: (channels / self.groups) as u32,
            eps: self.eps,
        };
        let variant = cx.vectored("group_norm", vector)?;
        let overrides = [("ACTIVATION", self.activation as u32 as f64)];
        let x = cx.bind(self.x)?;
        let beside = cx.bind_or(self.beside, &x)?;
        let bindings = vec![x, beside, cx.bind(self.gamma)?, cx.bind(self.beta)?, cx.bind(out)?];
        cx.dispatch(variant, &overrides, params, bindings, [self.groups as u32, images as u32, 1]);
        Ok(())
    }
}
