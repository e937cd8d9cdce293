use crate::{Case, Tolerance};
use calotype_graph::ops::{Conv2d, Operation, Padding};
use calotype_graph::{Activation, Quant};
use calotype_tensor::DType;

/// A convolution; the defaults are a 3×3 one that keeps the size, with a bias.
#[derive(Clone, Copy)]
struct Conv {
    /// Batch, height, width, channels.
    x: [usize; 4],
    out: usize,
    kernel: [usize; 2],
    stride: usize,
    padding: Padding,
    upsample: Option<[usize; 2]>,
    bias: bool,
    /// Rows of the bias that differs from image to image.
    image_bias: Option<usize>,
    activation: Activation,
    residual: bool,
}

fn conv(x: [usize; 4], out: usize) -> Conv {
    Conv {
        x,
        out,
        kernel: [3, 3],
        stride: 1,
        padding: Padding::all(1),
        upsample: None,
        bias: true,
        image_bias: None,
        activation: Activation::None,
        residual: false,
    }
}

impl Conv {
    fn pointwise(self) -> Self {
        Self { kernel: [1, 1], padding: Padding::default(), ..self }
    }

    fn case(self, name: &str) -> Case {
        Case::new(&format!("conv2d.{name}"), Tolerance::SUM, |b| {
            let x = b.x("x", self.x);
            let weight = b.kernel("weight", self.out, self.x[3], self.kernel);
            let bias = self.bias.then(|| b.vector("bias", self.out, 0.0));
            let image_bias = self.image_bias.map(|rows| b.x("image_bias", [rows, self.out]));
            let mut op = Conv2d {
                bias,
                image_bias,
                activation: self.activation,
                stride: self.stride,
                padding: self.padding,
                upsample: self.upsample,
                ..Conv2d::new(x, weight, self.kernel)
            };
            if self.residual {
                let (shape, _) =
                    op.infer(&b.case.graph).unwrap_or_else(|problem| panic!("{name}: {problem}"));
                let dims: [usize; 4] = shape.dims().try_into().expect("a convolution yields four axes");
                op.residual = Some(b.x("residual", dims));
            }
            b.op(op);
        })
    }
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = stable_diffusion();
    all.extend(awkward());
    all.extend(fused());
    let mut stored = conv([1, 9, 9, 32], 36).case("f16_weights");
    stored.weights = DType::F16;
    all.push(stored);
    let mut stored = conv([1, 5, 5, 6], 7).case("f16_weights_odd");
    stored.weights = DType::F16;
    all.push(stored);
    let base =
        Conv { image_bias: Some(2), activation: Activation::Silu, residual: true, ..conv([2, 7, 9, 64], 68) };
    for (kind, quant) in [("q8_0", Quant::Q8_0), ("q4_0", Quant::Q4_0)] {
        for (name, conv) in [
            ("past_a_tile", base),
            ("panels", conv([1, 9, 9, 32], 288)),
            ("pointwise", base.pointwise()),
            ("deep", Conv { x: [2, 3, 5, 128], out: 44, ..base }),
            ("upsample", Conv { upsample: Some([14, 18]), residual: false, ..base }),
            ("unet_down", Conv { stride: 2, ..conv([1, 16, 16, 320], 320) }),
        ] {
            all.push(Case { quant, ..conv.case(&format!("{kind}_{name}")) });
        }
    }
    all
}

fn stable_diffusion() -> Vec<Case> {
    let down = |c: Conv| Conv { stride: 2, ..c };
    let up = |c: Conv| Conv { upsample: Some([2 * c.x[1], 2 * c.x[2]]), ..c };
    let mut all = vec![
        conv([2, 32, 32, 4], 320).case("unet_conv_in"),
        conv([1, 16, 16, 320], 320).case("unet_320"),
        conv([1, 16, 16, 960], 320).case("unet_960_320"),
        conv([1, 8, 8, 640], 640).case("unet_640"),
        conv([1, 4, 4, 1280], 1280).case("unet_1280"),
        conv([1, 4, 4, 2560], 1280).case("unet_2560_1280"),
        conv([1, 16, 16, 320], 4).case("unet_conv_out"),
        conv([1, 16, 16, 960], 320).pointwise().case("unet_shortcut"),
        conv([1, 16, 16, 320], 320).pointwise().case("unet_proj_in"),
        down(conv([1, 16, 16, 320], 320)).case("unet_down"),
        up(conv([1, 4, 4, 1280], 1280)).case("unet_up"),
        conv([1, 16, 16, 4], 512).case("vae_conv_in"),
        conv([1, 8, 8, 512], 512).case("vae_512"),
        conv([1, 32, 32, 128], 128).case("vae_128"),
        up(conv([1, 16, 16, 256], 256)).case("vae_up"),
    ];
    // Three colours, seen as four channels so that the output is made of whole vectors.
    all.push(Case::new("conv2d.vae_conv_out_padded", Tolerance::SUM, |b| {
        let x = b.x("x", [1, 24, 24, 128]);
        let weight = b.padded_kernel("weight", [3, 128], [3, 3], [4, 128]);
        let bias = b.padded_vector("bias", 3, 4, 0.0);
        let padding = Padding::all(1);
        b.op(Conv2d { bias: Some(bias), padding, ..Conv2d::new(x, weight, [3, 3]) });
    }));
    all
}

fn awkward() -> Vec<Case> {
    let asymmetric = Padding { top: 0, left: 0, bottom: 1, right: 1 };
    let lopsided = Padding { top: 2, left: 0, bottom: 1, right: 3 };
    let deep = conv([2, 3, 5, 76], 44);
    vec![
        // What is worth splitting along k: slices begin and end in the middle of a tap.
        Conv { image_bias: Some(2), activation: Activation::Silu, residual: true, ..deep }.case("deep"),
        Conv { upsample: Some([6, 9]), stride: 2, ..deep }.case("deep_upsample"),
        conv([1, 9, 9, 68], 260).case("deep_past_a_tile"),
        // Of whole slices, which matrices take.
        Conv { x: [2, 3, 5, 128], upsample: Some([6, 9]), stride: 2, ..deep }.case("deep_whole_upsample"),
        conv([1, 9, 9, 128], 260).case("deep_whole_past_a_tile"),
        conv([1, 1, 1, 1], 1).case("one"),
        conv([1, 1, 1, 4], 4).case("one_pixel"),
        conv([1, 1, 17, 8], 8).case("one_row"),
        conv([1, 7, 11, 4], 12).case("prime_sides"),
        conv([3, 7, 11, 5], 13).case("primes"),
        conv([1, 9, 25, 64], 68).case("past_a_tile"),
        conv([2, 8, 9, 12], 16).case("batch_inside_a_tile"),
        conv([1, 13, 5, 3], 8).case("odd_channels"),
        conv([1, 13, 5, 8], 3).case("odd_outputs"),
        conv([1, 7, 7, 5], 9).pointwise().case("1x1_odd"),
        Conv { stride: 2, ..conv([1, 9, 25, 32], 32) }.case("stride_2_odd_sides"),
        Conv { stride: 2, ..conv([2, 10, 6, 8], 8).pointwise() }.case("1x1_stride_2"),
        Conv { stride: 2, padding: asymmetric, ..conv([1, 10, 9, 16], 16) }.case("stride_2_asymmetric"),
        Conv { padding: lopsided, ..conv([1, 6, 5, 8], 8) }.case("lopsided_padding"),
        Conv { padding: Padding::default(), ..conv([1, 6, 5, 8], 8) }.case("no_padding"),
        Conv { kernel: [1, 5], padding: Padding::default(), ..conv([1, 6, 9, 8], 8) }.case("1x5"),
        Conv { kernel: [5, 2], padding: Padding::all(2), ..conv([1, 6, 9, 8], 12) }.case("5x2"),
        Conv { kernel: [7, 7], padding: Padding::all(3), stride: 3, ..conv([1, 11, 10, 4], 8) }
            .case("7x7_stride_3"),
        Conv { upsample: Some([10, 14]), ..conv([2, 5, 7, 8], 8) }.case("upsample"),
        Conv { upsample: Some([9, 25]), ..conv([1, 5, 13, 16], 16) }.case("upsample_to_odd"),
        Conv { upsample: Some([9, 25]), ..conv([1, 5, 13, 3], 5) }.case("upsample_odd_channels"),
        Conv { upsample: Some([4, 4]), ..conv([1, 2, 2, 8], 8).pointwise() }.case("1x1_upsample"),
        Conv { upsample: Some([8, 8]), stride: 2, ..conv([1, 4, 4, 8], 8) }.case("upsample_stride_2"),
    ]
}

fn fused() -> Vec<Case> {
    let mut all = Vec::new();
    for (suffix, channels, out) in [("", 32, 36), ("_odd", 6, 7)] {
        let base = conv([3, 5, 6, channels], out);
        let variants = [
            ("no_bias", Conv { bias: false, ..base }),
            ("image_bias", Conv { image_bias: Some(3), ..base }),
            ("shared_image_bias", Conv { image_bias: Some(1), ..base }),
            ("image_bias_alone", Conv { bias: false, image_bias: Some(3), ..base }),
            ("residual", Conv { residual: true, ..base }),
            ("silu", Conv { activation: Activation::Silu, ..base }),
            ("all", Conv { image_bias: Some(3), activation: Activation::Silu, residual: true, ..base }),
            (
                "1x1_all",
                Conv { image_bias: Some(3), activation: Activation::Gelu, residual: true, ..base }
                    .pointwise(),
            ),
            ("stride_2_residual", Conv { stride: 2, residual: true, ..base }),
            ("upsample_residual", Conv { upsample: Some([10, 12]), residual: true, ..base }),
        ];
        all.extend(variants.into_iter().map(|(name, conv)| conv.case(&format!("{name}{suffix}"))));
    }
    all
}
