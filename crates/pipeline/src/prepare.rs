//! Weights to the device, and graphs to programs.

use crate::blueprint::{Blueprint, CONTEXT, STEP, Size, TEXT, VAE};
use crate::error::Result;
use crate::measure::LoadTimes;
use crate::pipeline::{Canvas, Pipeline};
use calotype_graph::{Ports, ProgramSpec};
use calotype_tensor::DType;
use std::collections::BTreeMap;
use web_time::Instant;

impl Pipeline {
    /// Makes the text encoder ready. It is not tuned: a picture spends a hundredth of its time there.
    pub(crate) async fn prepare_text(&mut self) -> Result<()> {
        if self.text.is_some() {
            return Ok(());
        }
        let start = Instant::now();
        let mut graph = calotype_models::clip::text_encoder(&self.model.config.text, 1)?;
        graph = calotype_graph::passes::fuse(graph);
        graph.resolve(&*self.model.text, self.precision)?;
        graph.checkpoint = self.checkpoint;
        let mut times = LoadTimes { other: start.elapsed(), ..LoadTimes::default() };
        self.exec.load(&graph, &*self.model.text, &mut |_| ()).await?;
        times.weights = start.elapsed() - times.total();
        let mut ports = Ports::new();
        let values = graph.inputs().map(|(n, v)| (n.to_string(), v)).chain(graph.outputs().iter().cloned());
        for (name, value) in values {
            let shape = graph.value(value).shape;
            let dtype = if name == "ids" { DType::U32 } else { self.precision.dtype() };
            ports.insert(name.clone(), self.exec.port(&format!("text encoder.{name}"), shape, dtype)?);
        }
        let spec = ProgramSpec { graph: &graph, ports: &ports, precision: self.precision };
        let program = self.exec.prepare(&[spec])?.remove(0);
        self.text = Some((ports, program));
        times.compile = start.elapsed() - times.total();
        self.spent.add(times);
        Ok(())
    }

    /// Makes all else ready for runs of one size.
    pub(crate) async fn prepare(&mut self, size: Size) -> Result<()> {
        if self.canvas.as_ref().is_some_and(|c| c.size == size) {
            return Ok(());
        }
        let start = Instant::now();
        let mut blueprint = Blueprint::new(&self.model, size, self.precision)?;
        blueprint.stages.iter_mut().for_each(|stage| stage.graph.checkpoint = self.checkpoint);
        // The old buffers go before the new ones come.
        self.canvas = None;
        let mut ports = BTreeMap::new();
        for (name, spec) in blueprint.ports.iter().filter(|(n, _)| !n.starts_with("text encoder")) {
            ports.insert(name.clone(), self.exec.port(name, spec.shape, spec.dtype)?);
        }
        let mut times = LoadTimes { other: start.elapsed(), ..LoadTimes::default() };
        let mut bound = Vec::new();
        for (i, stage) in blueprint.stages.iter().enumerate().filter(|(i, _)| *i != TEXT) {
            self.exec.load(&stage.graph, Blueprint::source(&self.model, i), &mut |_| ()).await?;
            let own: Ports = stage.ports.iter().map(|(n, p)| (n.clone(), ports[p].clone())).collect();
            bound.push((&stage.graph, own));
        }
        times.weights = start.elapsed() - times.total();
        let precision = self.precision;
        let specs: Vec<ProgramSpec> =
            bound.iter().map(|(graph, ports)| ProgramSpec { graph, ports, precision }).collect();

        // A picture takes many steps, one decoding, and its context once. Every run writes all that its programs read,
        // so nothing of what is tried here is left in the ports by then.
        let by_weight = [STEP, VAE, CONTEXT].map(|stage| specs[stage - 1]);
        let told = self.on_tuning.clone();
        self.exec.tune(&by_weight, &|products| told.iter().for_each(|told| told(products))).await?;
        times.tuning = start.elapsed() - times.total();

        let programs = self.exec.prepare(&specs)?;
        self.canvas = Some(Canvas { size, ports, programs });
        times.compile = start.elapsed() - times.total();
        self.spent.add(times);
        Ok(())
    }
}
