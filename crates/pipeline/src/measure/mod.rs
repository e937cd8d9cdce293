//! What a run costs, stage by stage and launch by launch, and what the device can do at best: what
//! `calotype bench` reports.

mod ceilings;
mod profile;

pub use crate::session::LoadTimes;
pub use ceilings::{Ceiling, Ceilings, ceilings};
pub use profile::{StageProfile, Work};

use crate::error::Result;
use crate::order::Order;
use crate::pipeline::Pipeline;

impl Pipeline {
    /// Brings an order's weights to the device and compiles its kernels: what the first run does otherwise. What is
    /// there already costs nothing.
    pub async fn load(&mut self, order: &Order) -> Result<LoadTimes> {
        let before = self.session.spent;
        self.prepare_for(order).await?;
        self.session.exec.wait().await?;
        Ok(LoadTimes {
            weights: self.session.spent.weights - before.weights,
            tuning: self.session.spent.tuning - before.tuning,
            compile: self.session.spent.compile - before.compile,
            other: self.session.spent.other - before.other,
        })
    }

    /// Forgets the states of the prompts met so far, so that the next run encodes its own again, as its first did.
    pub fn forget_prompts(&mut self) {
        self.states.borrow_mut().clear();
    }

    /// Runs each stage of an order `runs` times with every launch timed by itself. Draw the order first: what the
    /// stages read is what the last run left.
    pub async fn profile(&mut self, order: &Order, runs: usize) -> Result<Vec<StageProfile>> {
        self.load(order).await?;
        let mut stages = Vec::new();
        let parts = self.parts(order);
        let strategy = self.strategy_of(parts[parts.len() - 1])?;
        for key in parts.into_iter().flat_map(|key| key.by(&strategy, &self.model)) {
            self.session.prepare(&self.model, &[key]).await?;
            let ready = self.session.get(key);
            for (stage, graph) in &key.draw(&self.model)?.graphs {
                let program = (ready.program(*stage), key.precision);
                stages.push(StageProfile::take(&*self.session.exec, (*stage, graph), program, runs).await?);
            }
        }
        Ok(stages)
    }
}
