use crate::{Case, Fill, Tolerance};
use calotype_graph::Elem;
use calotype_graph::ops::Attention;

/// Batch, queries, keys, heads, size of a head.
type Size = [usize; 5];

const ROUNDED: Tolerance = Tolerance { f32: 1e-3, f16: 1e-3 };

fn case(name: &str, size: Size, causal: bool) -> Case {
    spread(name, size, causal, 1.0)
}

fn spread(name: &str, [batch, queries, keys, heads, head]: Size, causal: bool, spread: f32) -> Case {
    // An average of values by weights whose errors are those of exp; scores are short sums.
    Case::new(&format!("attention.{name}"), Tolerance { f32: 1e-5, f16: 1e-3 }, |b| {
        let fill = Fill::Spread { mean: 0.0, spread };
        let q = b.input("q", [batch, queries, heads * head], Elem::Float, fill.clone());
        let k = b.input("k", [batch, keys, heads * head], Elem::Float, fill);
        let v = b.x("v", [batch, keys, heads * head]);
        b.op(Attention { q, k, v, heads, scale: 1.0 / (head as f32).sqrt(), causal });
    })
}

pub(super) fn cases() -> Vec<Case> {
    let mut all = vec![
        // Stable Diffusion 1.5: eight heads at every level of the UNet, twelve in CLIP, one in the VAE.
        case("unet_40", [1, 1024, 1024, 8, 40], false),
        case("unet_80", [2, 256, 256, 8, 80], false),
        case("unet_160", [2, 64, 64, 8, 160], false),
        case("unet_cross_40", [2, 1024, 77, 8, 40], false),
        case("unet_cross_80", [1, 256, 77, 8, 80], false),
        case("unet_cross_160", [1, 64, 77, 8, 160], false),
        case("clip_64", [2, 77, 77, 12, 64], true),
        case("vae_512", [1, 256, 256, 1, 512], false),
        // Awkward sizes.
        case("one", [1, 1, 1, 1, 1], false),
        case("one_key", [2, 9, 1, 2, 8], false),
        case("one_query", [2, 1, 9, 2, 8], false),
        case("primes", [3, 31, 37, 5, 8], false),
        case("past_a_block_of_queries", [1, 65, 64, 1, 40], false),
        case("past_a_block_of_keys", [1, 64, 65, 1, 40], false),
        case("more_keys_causal", [1, 5, 70, 2, 16], true),
        case("fewer_keys_causal", [1, 70, 5, 2, 16], true),
        case("batch", [3, 19, 23, 2, 64], false),
        // Scores far apart, so that one key takes nearly all the weight and the running maximum moves.
        spread("sharp", [1, 33, 70, 2, 40], false, 6.0),
        spread("sharp_causal", [1, 70, 70, 2, 64], true, 6.0),
        // Products of queries and keys past what f16 holds, as Stable Diffusion 2.1's are, for which diffusers computes attention
        // in f32 (`upcast_attention`): sums are f32 here whatever is stored. A score of four thousand is off by as many
        // 2⁻²⁴ a rounding, and a weight, its exponential, by that share of itself: 1e-3 for four.
        Case { tolerance: ROUNDED, ..spread("past_halves", [1, 33, 64, 2, 64], false, 60.0) },
        Case { tolerance: ROUNDED, ..spread("past_halves_512", [1, 33, 64, 1, 512], false, 30.0) },
    ];
    for head in [1, 4, 5, 7, 8, 12, 16, 40, 44, 64, 68, 80, 84, 128, 160, 164, 256, 260, 512] {
        all.push(case(&format!("head_{head}"), [1, 17, 19, 2, head], false));
        all.push(case(&format!("head_{head}_causal"), [1, 17, 17, 2, head], true));
    }
    all
}
