//! What steers a run, as a denoiser's ports take it.

use crate::error::Result;
use crate::guidance::Guidance;
use crate::order::Order;
use crate::parts::{Canvas, hint_port, terms_port};
use crate::session::Ready;
use calotype_graph::Executor;
use calotype_tensor::HostTensor;

/// Shows each net of a canvas its picture, and says how much of what it adds counts.
pub(crate) fn steer(exec: &dyn Executor, (part, canvas): (&Ready, &Canvas), order: &Order) -> Result<()> {
    let seen = canvas.batch * canvas.parts();
    // What images keep away from is a prompt too, and none that a net would follow.
    let is_first = order.edits().is_some() || matches!(order.guidance, Guidance::PerpNeg { .. });
    let knowing = canvas.batch * if canvas.guided && is_first { 1 } else { canvas.prompts };
    for (i, control) in order.controls.iter().enumerate().filter(|(i, _)| canvas.has_net(*i)) {
        let port = &part.ports[&hint_port(i)];
        let places = control.picture.rgb();
        let pixel = |p: &[u8; 3]| [p[0], p[1], p[2], 0].map(|value| f32::from(value) / 255.0);
        let image: Vec<f32> = places.as_chunks().0.iter().flat_map(pixel).collect();
        let image = HostTensor::from_f32([image.len()], &image).cast(port.dtype);
        for s in 0..seen {
            exec.write(port, (s * image.bytes().len()) as u64, image.bytes())?;
        }
        let outputs = (0..).take_while(|k| part.ports.contains_key(&terms_port(i, *k))).count();
        let [knows, without] = [true, false].map(|knows| control.factors(outputs, knows).collect::<Vec<_>>());
        for k in 0..outputs {
            let port = &part.ports[&terms_port(i, k)];
            let width = port.shape.channels();
            let factor = |s: usize| if s < knowing { knows[k] } else { without[k] };
            let terms = |s: usize| [vec![factor(s); width], vec![0.0; width]].concat();
            let terms: Vec<f32> = (0..seen).flat_map(terms).collect();
            exec.write(port, 0, bytemuck::cast_slice(&terms))?;
        }
    }
    Ok(())
}
