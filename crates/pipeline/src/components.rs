use crate::contents::Contents;
use calotype_graph::{Graph, LocalFuture, WeightFetch};
use calotype_models::{Role, Source};
use calotype_tensor::{DType, Shape};
use calotype_weights::{Lora, Merged, WeightSource};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A model's component: where its weights come from.
pub struct Component {
    /// The weights as graphs ask for them, with what was added to them.
    pub weights: Box<dyn WeightFetch>,
    /// What the checkpoint holds.
    pub contents: Contents,
    /// The checkpoint as it is.
    plain: Rc<dyn WeightSource>,
}

/// The components of a model. Graphs take weights from all of them, by names that begin with the component's folder
/// ([`calotype_graph::Graph::within`]).
pub struct Components(BTreeMap<Role, Component>);

impl Component {
    /// `graph` is what the component computes, where that is known: the checkpoint's tensors that it does not take are told.
    pub(crate) fn new(role: Role, source: impl WeightSource + 'static, graph: Option<&Graph>) -> Self {
        let contents = Contents::of(role.folder(), &source, graph);
        let plain: Rc<dyn WeightSource> = Rc::new(source);
        Self { weights: Box::new(Source::new(plain.clone())), contents, plain }
    }

    /// The weights with LoRAs added, each times its scale.
    pub(crate) fn merged(
        &self,
        role: Role,
        loras: &[(Rc<Lora>, f32)],
    ) -> Result<Box<dyn WeightFetch>, calotype_weights::Error> {
        Ok(Box::new(Source::new(Merged::new(self.plain.clone(), role.folder(), loras)?)))
    }
}

impl Components {
    pub(crate) fn new(components: impl IntoIterator<Item = (Role, Component)>) -> Self {
        Self(components.into_iter().collect())
    }

    /// The component in a role, where the model has it.
    pub fn get(&self, role: Role) -> Option<&Component> {
        self.0.get(&role)
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, role: Role) -> Option<&mut Component> {
        self.0.get_mut(&role)
    }

    /// The weights of the component in a role, where the model has it.
    pub fn weights(&self, role: Role) -> Option<&dyn WeightFetch> {
        self.get(role).map(|component| &*component.weights)
    }

    /// Every component, in the order in which a picture takes them.
    pub fn iter(&self) -> impl Iterator<Item = (Role, &Component)> {
        self.0.iter().map(|(role, component)| (*role, component))
    }

    /// A weight's component, and what it is called there.
    fn of<'a>(&self, name: &'a str) -> Option<(&Component, &'a str)> {
        let (folder, bare) = name.split_once('/')?;
        Some((self.get(Role::of_folder(folder)?)?, bare))
    }
}

impl WeightFetch for Components {
    fn find(&self, name: &str) -> Option<(DType, Shape)> {
        let (component, bare) = self.of(name)?;
        component.weights.find(bare)
    }

    fn file(&self, name: &str) -> String {
        self.of(name).map_or_else(String::new, |(component, bare)| component.weights.file(bare))
    }

    fn missing(&self, names: &[String]) -> String {
        let found: Vec<_> = names.iter().filter_map(|name| self.of(name)).collect();
        match found.first() {
            Some((component, _)) => {
                component.weights.missing(&found.iter().map(|(_, bare)| bare.to_string()).collect::<Vec<_>>())
            }
            None => format!("the model has no component with {}", names.join(" or ")),
        }
    }

    fn fetch<'a>(&'a self, name: &'a str) -> LocalFuture<'a, Result<Cow<'a, [u8]>, String>> {
        match self.of(name) {
            Some((component, bare)) => component.weights.fetch(bare),
            None => Box::pin(std::future::ready(Err(self.missing(&[name.to_string()])))),
        }
    }
}
