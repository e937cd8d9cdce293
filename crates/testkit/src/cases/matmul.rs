use crate::{Case, Tolerance};
use calotype_graph::ops::Matmul;
use calotype_graph::{Activation, Quant};
use calotype_tensor::DType;

/// What is fused into a product.
#[derive(Clone, Copy, Default)]
struct Fused {
    bias: bool,
    activation: Activation,
    residual: bool,
}

fn case(name: &str, [m, k, n]: [usize; 3], fused: Fused) -> Case {
    let tolerance = match fused.activation {
        Activation::GeluTanh | Activation::Mish => Tolerance::TANH,
        _ => Tolerance::SUM,
    };
    Case::new(&format!("matmul.{name}"), tolerance, |b| {
        let (x, weight) = (b.x("x", [1, m, k]), b.matrix("weight", k, n));
        let bias = fused.bias.then(|| b.vector("bias", n, 0.0));
        let residual = fused.residual.then(|| b.x("residual", [1, m, n]));
        b.op(Matmul { activation: fused.activation, residual, ..Matmul::new(x, weight, bias) });
    })
}

pub(super) fn cases() -> Vec<Case> {
    let plain = Fused::default();
    let bias = Fused { bias: true, ..plain };
    let residual = Fused { bias: true, residual: true, ..plain };
    let with = |activation| Fused { bias: true, activation, ..plain };
    let mut all = vec![
        // Stable Diffusion 1.5's linear layers.
        case("to_q_320", [1024, 320, 320], plain),
        case("to_out_320", [1024, 320, 320], residual),
        case("geglu_320", [256, 320, 2560], bias),
        case("ff_320", [256, 1280, 320], residual),
        case("to_q_640", [256, 640, 640], plain),
        case("geglu_640", [64, 640, 5120], bias),
        case("ff_640", [64, 2560, 640], residual),
        case("to_q_1280", [64, 1280, 1280], plain),
        case("ff_1280", [64, 5120, 1280], residual),
        case("to_k_context", [77, 768, 320], plain),
        case("clip_fc1", [77, 768, 3072], with(Activation::QuickGelu)),
        case("clip_fc2", [77, 3072, 768], residual),
        case("time_embedding", [1, 320, 1280], with(Activation::Silu)),
        // What is worth splitting along k, which no slice divides.
        case("deep", [5, 1000, 36], Fused { activation: Activation::Silu, ..residual }),
        case("deep_plain", [70, 1160, 264], plain),
        // Of whole slices, which matrices take.
        case("deep_whole", [70, 1216, 264], plain),
        case("past_two_whole_tiles", [129, 192, 132], bias),
        // Awkward sizes.
        case("one", [1, 1, 1], bias),
        case("one_row", [1, 64, 64], bias),
        case("one_column", [64, 64, 1], bias),
        case("one_deep", [64, 1, 64], bias),
        case("primes", [31, 37, 41], residual),
        case("past_a_tile", [65, 68, 68], residual),
        case("past_two_tiles", [129, 132, 132], bias),
        case("short_of_a_tile", [63, 60, 60], bias),
        case("odd_columns", [64, 64, 66], bias),
        case("odd_depth", [64, 66, 64], with(Activation::Silu)),
    ];
    let activations = [
        ("silu", Activation::Silu),
        ("gelu", Activation::Gelu),
        ("gelu_tanh", Activation::GeluTanh),
        ("quick_gelu", Activation::QuickGelu),
        ("relu", Activation::Relu),
        ("mish", Activation::Mish),
    ];
    for (name, activation) in activations {
        all.push(case(name, [17, 32, 48], with(activation)));
        all.push(case(&format!("{name}_residual"), [17, 32, 48], Fused { activation, ..residual }));
        all.push(case(&format!("{name}_odd"), [17, 31, 47], Fused { activation, ..residual }));
    }
    for (name, size) in [("f16_weights", [65, 64, 68]), ("f16_weights_odd", [17, 31, 47])] {
        let mut stored = case(name, size, residual);
        stored.weights = DType::F16;
        all.push(stored);
    }
    for (kind, quant) in [("q8_0", Quant::Q8_0), ("q4_0", Quant::Q4_0)] {
        for (name, size, fused) in [
            ("past_a_tile", [65, 64, 68], residual),
            ("panels", [33, 96, 288], residual),
            ("one_row", [1, 32, 64], bias),
            ("deep_plain", [70, 1216, 264], plain),
            ("unet_320", [64, 320, 320], with(Activation::Silu)),
        ] {
            all.push(Case { quant, ..case(&format!("{kind}_{name}"), size, fused) });
        }
    }
    all
}
