use crate::contents::Contents;
use calotype_graph::Graph;
use calotype_models::{Role, in_graphs};
use calotype_tensor::{Error, Read, Result, TensorInfo, Tensors};
use calotype_weights::{Lora, Merged};
use std::collections::BTreeMap;
use std::ops::Range;
use std::rc::Rc;

/// Tensors that LoRAs change, with what tells each change from others.
pub(crate) type Changes = BTreeMap<String, Vec<(u64, usize, u32)>>;

/// A model's component: where its weights come from.
pub struct Component {
    /// The weights as graphs ask for them, with what was added to them.
    pub weights: Box<dyn Tensors>,
    /// What the checkpoint holds.
    pub contents: Contents,
    /// The checkpoint as it is.
    plain: Rc<dyn Tensors>,
    /// Every tensor's path, with the component's folder before it.
    names: Vec<String>,
}

/// The components of a model. Graphs take weights from all of them, by names that begin with the component's folder
/// ([`calotype_graph::Graph::within`]).
pub struct Components {
    own: BTreeMap<Role, Component>,
    /// Nets that steer the denoiser, whose weights are among its own: the n-th's names begin with `control.n.`.
    control: Vec<Rc<dyn Tensors>>,
}

impl Component {
    /// `graph` is what the component computes, where that is known: the checkpoint's tensors that it does not take are told.
    pub(crate) fn new(role: Role, source: impl Tensors + 'static, graph: Option<&Graph>) -> Self {
        let contents = Contents::of(role.folder(), &source, graph);
        let names = source.names().into_iter().map(|name| format!("{role}/{name}")).collect();
        let plain: Rc<dyn Tensors> = Rc::new(source);
        Self { weights: Box::new(in_graphs(plain.clone())), contents, plain, names }
    }

    /// The tensors that LoRAs would change, by the checkpoint's names.
    pub(crate) async fn changes(
        &self,
        role: Role,
        loras: &[(Rc<Lora>, f32)],
    ) -> calotype_weights::Result<Changes> {
        Merged::new(self.plain.clone(), role.folder(), loras)?.changes().await
    }

    /// The weights with LoRAs laid over them, each times its scale.
    pub(crate) fn merged(
        &self,
        role: Role,
        loras: &[(Rc<Lora>, f32)],
    ) -> calotype_weights::Result<Box<dyn Tensors>> {
        Ok(Box::new(in_graphs(Merged::new(self.plain.clone(), role.folder(), loras)?)))
    }
}

impl Components {
    pub(crate) fn new(components: impl IntoIterator<Item = (Role, Component)>) -> Self {
        Self { own: components.into_iter().collect(), control: Vec::new() }
    }

    /// Says whether LoRAs are for this model, and tells once what of them fits nowhere in it ([`Lora::check`]).
    pub(crate) fn check(&self, loras: &[(Rc<Lora>, f32)]) -> calotype_weights::Result<()> {
        let plain: Vec<(&str, &dyn Tensors)> =
            self.iter().map(|(role, c)| (role.folder(), &*c.plain)).collect();
        loras.iter().try_for_each(|(lora, _)| lora.check(&plain))
    }

    /// The component in a role, where the model has it.
    pub fn get(&self, role: Role) -> Option<&Component> {
        self.own.get(&role)
    }

    /// Adds a net that steers the denoiser.
    pub(crate) fn steer_with(&mut self, net: Rc<dyn Tensors>) {
        self.control.push(net);
    }

    /// The same, to change it.
    pub fn get_mut(&mut self, role: Role) -> Option<&mut Component> {
        self.own.get_mut(&role)
    }

    /// The weights of the component in a role, where the model has it.
    pub fn weights(&self, role: Role) -> Option<&dyn Tensors> {
        self.get(role).map(|component| &*component.weights)
    }

    /// Every component, in the order in which a picture takes them.
    pub fn iter(&self) -> impl Iterator<Item = (Role, &Component)> {
        self.own.iter().map(|(role, component)| (*role, component))
    }

    /// What a weight is of, and what it is called there.
    fn of<'a>(&self, name: &'a str) -> Result<(&dyn Tensors, &'a str)> {
        let control = |bare: &'a str| {
            let (i, rest) = bare.strip_prefix("control.")?.split_once('.')?;
            Some((&**self.control.get(i.parse::<usize>().ok()?)?, rest))
        };
        let found = name.split_once('/').and_then(|(folder, bare)| {
            let component = self.get(Role::of_folder(folder)?)?;
            Some(control(bare).unwrap_or((&*component.weights, bare)))
        });
        found.ok_or_else(|| Error::missing(name, "the model", self.names()))
    }
}

impl Tensors for Components {
    /// The info carries the name that the component's checkpoint has.
    fn get(&self, name: &str) -> Result<&TensorInfo> {
        let (tensors, bare) = self.of(name)?;
        tensors.get(bare)
    }

    fn names(&self) -> Vec<&str> {
        self.own.values().flat_map(|component| &component.names).map(String::as_str).collect()
    }

    fn read<'a>(&'a self, name: &'a str, range: Range<usize>) -> Read<'a> {
        match self.of(name) {
            Ok((tensors, bare)) => tensors.read(bare, range),
            Err(error) => Box::pin(std::future::ready(Err(error))),
        }
    }

    fn as_stored<'a>(&'a self, name: &'a str) -> Option<Read<'a>> {
        let (tensors, bare) = self.of(name).ok()?;
        tensors.as_stored(bare)
    }

    fn describe(&self, name: &str) -> String {
        self.of(name).map_or_else(|_| "the model".into(), |(tensors, bare)| tensors.describe(bare))
    }

    fn release(&self, name: &str) {
        if let Ok((tensors, bare)) = self.of(name) {
            tensors.release(bare);
        }
    }
}
