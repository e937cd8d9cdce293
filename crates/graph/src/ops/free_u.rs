use super::{Operation, Shapes, ensure};
use crate::error::Error;
use crate::launch::{Context, Lower, Part, flag, vector};
use crate::value::{Elem, ValueId};
use calotype_shaders::{free_u, free_u_means, free_u_range, free_u_sums};
use calotype_tensor::Shape;
use std::f64::consts::TAU;

/// Sums of a channel that its slowest waves are made of: of all pixels, and of those times the cosine and the sine of each
/// of three waves.
const SUMS: usize = 7;

/// What FreeU puts side by side for a layer of a UNet's way up (Si et al. 2023, arXiv:2309.11497; diffusers: `apply_freeu`):
/// h with the first half of its channels turned up, and the skip with its slowest waves turned down, those of frequency 0 and
/// -1 along either side.
#[derive(Clone, Debug, PartialEq)]
pub struct FreeConcat {
    /// The way up's own, `[B, H, W, C]`.
    pub h: ValueId,
    /// The skip connection, `[B, H, W, D]`.
    pub skip: ValueId,
    /// `[2 H + 2 W]`, a constant: see [`FreeConcat::waves`].
    pub waves: ValueId,
    /// What multiplies half of h.
    pub backbone: f32,
    /// What multiplies the skip's slowest waves.
    pub slow: f32,
    /// Whether a pixel is turned up by as much as its mean lies above the image's least (FreeU's second version; ComfyUI:
    /// `FreeU_V2`), all of it where it is the largest.
    pub structured: bool,
}

impl FreeConcat {
    /// The cosines of a wave as long as H at each of its pixels, their sines, and the same of W. A side of one pixel has no
    /// wave but its mean.
    pub fn waves([height, width]: [usize; 2]) -> Vec<f32> {
        let angles = |side: usize| (0..side).map(move |i| TAU * i as f64 / side as f64);
        let part = |side: usize, f: fn(f64) -> f64| {
            angles(side).map(move |angle| if side == 1 { 0.0 } else { f(angle) as f32 })
        };
        let of = |side: usize| part(side, f64::cos).chain(part(side, f64::sin));
        of(height).chain(of(width)).collect()
    }
}

impl Operation for FreeConcat {
    const NAME: &'static str = "free_u";

    fn operands(&mut self, visit: &mut dyn FnMut(&mut ValueId)) {
        visit(&mut self.h);
        visit(&mut self.skip);
        visit(&mut self.waves);
    }

    fn infer(&self, shapes: &dyn Shapes) -> Result<(Shape, Elem), String> {
        let (h, skip) = (shapes.shape(self.h), shapes.shape(self.skip));
        ensure(h.rank() == 4, || format!("takes images, not {h}"))?;
        let out = h.with_channels(h.channels().saturating_add(skip.channels()));
        ensure(skip.with_channels(out.channels()) == out, || {
            format!("cannot put {h} and {skip} side by side")
        })?;
        let waves = shapes.shape(self.waves);
        let size = 2 * (h.dims()[1] + h.dims()[2]);
        ensure(waves.numel() == size, || format!("waves {waves} do not go with {h}"))?;
        Ok((out, Elem::Float))
    }
}

impl Lower for FreeConcat {
    /// The skip's sums, and each pixel's mean where that counts.
    fn scratch(&self, out: Shape) -> Vec<u64> {
        let sums = out.dims()[0] * SUMS * out.channels() * 4;
        let means = if self.structured { out.rows() * 4 } else { 0 };
        [sums, means].into_iter().filter(|bytes| *bytes > 0).map(|bytes| bytes as u64).collect()
    }

    fn lower(&self, cx: &mut Context<'_>, out: ValueId) -> Result<(), Error> {
        let (h, skip) = (cx.shape(self.h), cx.shape(self.skip));
        let [images, lines, columns, channels] = h.dims()[..] else {
            unreachable!("images have four dimensions")
        };
        let vector = vector(&[channels, skip.channels()]);
        let [width, beside] = [channels, skip.channels()].map(|channels| (channels / vector) as u32);
        let pixels = (lines * columns) as u32;
        let (sums, waves) = (cx.scratch(0), cx.bind(self.waves)?);

        let variant = cx.vectored("free_u_sums", vector)?;
        let params = free_u_sums::Params { lines: lines as u32, columns: columns as u32, width: beside };
        let bindings = vec![cx.bind(self.skip)?, waves.clone(), sums.clone()];
        cx.dispatch(variant, &[], params, bindings, [beside.div_ceil(8), images as u32, 1]);

        let mut means = sums.clone();
        if self.structured {
            means = cx.scratch(1);
            let rows = h.rows();
            let variant = cx.vectored("free_u_means", vector)?;
            let params = free_u_means::Params { count: rows as u32, width };
            let groups = cx.flat(rows);
            cx.dispatch(variant, &[], params, vec![cx.bind(self.h)?, means.clone()], groups);
            let variant = cx.variant("free_u_range", &[])?;
            let params = free_u_range::Params { pixels };
            cx.dispatch(variant, &[], params, vec![means.clone()], [images as u32, 1, 1]);
        }

        let parts = [
            Part::Rows(self.h),
            Part::Rows(self.skip),
            Part::Whole(waves),
            Part::Whole(sums),
            Part::Whole(means),
        ];
        let overrides = [("STRUCTURED", flag(self.structured))];
        cx.pointwise("free_u", &overrides, &parts, out, |band| free_u::Params {
            count: band.count,
            first: band.first,
            lines: lines as u32,
            columns: columns as u32,
            h_width: width,
            skip_width: beside,
            h_base: band.base(0),
            skip_base: band.base(1),
            y_base: band.base(5),
            half: (channels / 2) as u32,
            backbone: self.backbone,
            slow: (self.slow - 1.0) / pixels as f32,
        })
    }
}
