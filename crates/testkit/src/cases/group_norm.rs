use super::layer_norm::FAR;
use crate::{Case, Fill, Tolerance};
use calotype_graph::ops::GroupNorm;
use calotype_graph::{Activation, Elem};

fn group<const N: usize>(name: &str, shape: [usize; N], groups: usize, activation: Activation) -> Case {
    group_about(name, shape, groups, activation, 0.1, Tolerance::POINTWISE)
}

fn group_about<const N: usize>(
    name: &str,
    shape: [usize; N],
    groups: usize,
    activation: Activation,
    mean: f32,
    tolerance: Tolerance,
) -> Case {
    Case::new(&format!("group_norm.{name}"), tolerance, |b| {
        let x = b.input("x", shape, Elem::Float, Fill::Spread { mean, spread: 1.0 });
        let (gamma, beta) = (b.vector("gamma", shape[N - 1], 1.0), b.vector("beta", shape[N - 1], 0.0));
        b.op(GroupNorm { x, beside: None, gamma, beta, groups, eps: 1e-5, activation });
    })
}

pub(super) fn cases() -> Vec<Case> {
    let silu = Activation::Silu;
    vec![
        group("unet_320", [2, 32, 32, 320], 32, silu),
        group("unet_960", [1, 16, 16, 960], 32, silu),
        group("unet_1280", [2, 8, 8, 1280], 32, Activation::None),
        group("unet_2560", [1, 4, 4, 2560], 32, silu),
        group("vae_128", [1, 128, 128, 128], 32, silu),
        group("vae_512", [1, 16, 16, 512], 32, Activation::None),
        group("one", [1, 1, 1, 1], 1, Activation::None),
        group("one_pixel", [1, 1, 1, 64], 32, Activation::None),
        group("one_channel_each", [2, 5, 7, 12], 12, silu),
        group("one_group", [2, 5, 7, 12], 1, silu),
        group("primes", [3, 7, 11, 39], 13, silu),
        group("odd_channels", [1, 9, 9, 10], 5, silu),
        group("groups_of_5", [1, 9, 9, 40], 8, silu),
        group("rows_of_tokens", [2, 77, 64], 8, Activation::None),
        group("past_a_chunk", [1, 1, 257, 64], 8, Activation::None),
        group_about("mish", [1, 5, 5, 16], 4, Activation::Mish, 0.1, Tolerance::TANH),
        group_about("far_from_zero", [1, 32, 32, 64], 32, Activation::None, 30.0, FAR),
    ]
}
