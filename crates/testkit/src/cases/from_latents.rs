use crate::{Case, Fill, Tolerance};
use calotype_graph::Elem;
use calotype_graph::ops::FromLatents;
use calotype_tensor::Shape;

fn from_latents(name: &str, shape: [usize; 4], from: usize, copies: usize) -> Case {
    Case::new(&format!("from_latents.{name}"), Tolerance::POINTWISE, |b| {
        let shape = Shape::from(shape);
        let fill = Fill::Spread { mean: 0.0, spread: 1.0 };
        let latents = b.input("latents", [from + shape.numel() + 5], Elem::F32, fill);
        b.op(FromLatents { latents, shape, from, copies, scale: 1.0 / 0.18215, shift: 0.125 });
    })
}

pub(super) fn cases() -> Vec<Case> {
    vec![
        from_latents("one_copy", [1, 8, 8, 4], 0, 1),
        from_latents("two_copies", [2, 9, 25, 4], 0, 2),
        from_latents("from_the_middle", [1, 5, 7, 4], 140, 2),
        from_latents("odd", [1, 3, 5, 3], 7, 2),
    ]
}
