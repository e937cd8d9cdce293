use crate::{Case, Fill, Tolerance};
use calotype_graph::Elem;
use calotype_graph::ops::FreeConcat;

/// A pixel's waves are sums over all of an image's: with few pixels they weigh as much as itself.
const BOUND: Tolerance = Tolerance { f32: 3e-6, f16: 1e-3 };

fn free_u(name: &str, shape: [usize; 4], channels: usize, structured: bool) -> Case {
    Case::new(&format!("free_u.{name}"), BOUND, |b| {
        let [images, height, width, _] = shape;
        let fill = Fill::Spread { mean: 0.5, spread: 1.0 };
        let h = b.input("h", shape, Elem::Float, fill.clone());
        let skip = b.input("skip", [images, height, width, channels], Elem::Float, fill);
        let waves = b.case.graph.constant("waves", &FreeConcat::waves([height, width]));
        b.op(FreeConcat { h, skip, waves, backbone: 1.4, slow: 0.2, structured });
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        free_u("unet_1280", [2, 8, 8, 1280], 1280, false),
        free_u("unet_640", [2, 16, 16, 640], 320, false),
        free_u("structured", [2, 16, 16, 640], 640, true),
        free_u("odd", [3, 5, 7, 10], 6, false),
        free_u("odd_structured", [1, 7, 5, 5], 3, true),
        free_u("half_a_vector", [1, 4, 4, 12], 4, true),
        free_u("a_row", [1, 1, 6, 8], 4, false),
        free_u("one", [1, 1, 1, 1], 1, true),
    ]
}
