//! Other LoRAs on a model that was opened: what is on the device stays, but for the tensors that are others now.

use crate::error::Result;
use crate::model::{LORA, Model};
use crate::pipeline::Pipeline;
use crate::session::Session;
use calotype_models::Role;
use calotype_tensor::Tensors;
use calotype_weights::Lora;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// A LoRA to be laid over a model: what pictures' settings call it, and its scale.
pub type NamedLora = (String, Rc<Lora>, f32);

/// The tensors of components that are others now, by the checkpoints' names.
pub(crate) type Changed = BTreeMap<Role, BTreeSet<String>>;

impl Model {
    /// Has these LoRAs in the place of those that were added before, each over those in front of it. Fails, leaving the model
    /// as it is, where one is for another. A model on a device takes them by [`Pipeline::set_loras`]. Words that a LoRA brings
    /// are added as by [`add_words`](Self::add_words), and stay.
    pub async fn set_loras(&mut self, loras: &[NamedLora]) -> Result<()> {
        self.change_loras(loras).await.map(|_| ())
    }

    /// The same; says which tensors are others now.
    pub(crate) async fn change_loras(&mut self, loras: &[NamedLora]) -> Result<Changed> {
        let added = loras.iter().map(|(_, lora, scale)| (Rc::clone(lora), *scale)).collect();
        let before = std::mem::replace(&mut self.added, added);
        let changed =
            match self.between(&before).await.and_then(|changed| self.merge_again().map(|()| changed)) {
                Ok(changed) => changed,
                Err(error) => {
                    self.added = before;
                    return Err(error);
                }
            };
        for (_, lora, _) in loras {
            if let Err(error) = self.add_words(lora).await {
                self.added = before;
                self.merge_again()?;
                return Err(error);
            }
        }
        self.loras = loras.iter().map(|(name, _, scale)| (name.clone(), *scale)).collect();
        Ok(changed)
    }

    /// The tensors of which what is laid over them is another than it was with other LoRAs.
    async fn between(&self, before: &[(Rc<Lora>, f32)]) -> Result<Changed> {
        let mut all = Changed::new();
        for role in LORA {
            let Some(component) = self.components.get(role) else { continue };
            let [was, is] = [self.laid_over(before), self.laid_over(&self.added)];
            let (was, is) = (component.changes(role, &was).await?, component.changes(role, &is).await?);
            let names: BTreeSet<&String> = was.keys().chain(is.keys()).collect();
            let others: BTreeSet<String> =
                names.into_iter().filter(|name| was.get(*name) != is.get(*name)).cloned().collect();
            if !others.is_empty() {
                all.insert(role, others);
            }
        }
        Ok(all)
    }
}

impl Session {
    /// Forgets what is made of tensors that are others now, and the parts that hold it.
    fn renew(&mut self, model: &Model, changed: &Changed) {
        self.drop_parts(&changed.keys().copied().collect::<Vec<_>>());
        let is_other = |name: &str| {
            let role = name.split_once('/').and_then(|(folder, _)| Role::of_folder(folder));
            let Some(others) = role.and_then(|role| changed.get(&role)) else { return false };
            // Constants are no checkpoint's.
            Tensors::get(&model.components, name).is_ok_and(|info| others.contains(&info.name))
        };
        self.exec.expire(self.checkpoint(), &is_other);
    }
}

impl Pipeline {
    /// Has these LoRAs in the place of those before, each over those in front of it. Only the tensors that are changed otherwise
    /// than before are brought to the device anew. Fails, leaving all as it is, where one is for another model.
    pub async fn set_loras(&mut self, loras: &[NamedLora]) -> Result<()> {
        let changed = self.model.change_loras(loras).await?;
        if !changed.is_empty() {
            self.session.renew(&self.model, &changed);
            self.states.borrow_mut().clear();
        }
        Ok(())
    }

    /// Bytes of weights that were brought to the device since the start.
    pub fn uploaded(&self) -> u64 {
        self.session.uploaded.get()
    }
}
