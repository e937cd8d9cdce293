use std::fmt;

/// What a component is to its model. A model has some of them; more kinds are to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Ids to states.
    Text,
    /// Latents, a time and states to a prediction.
    Denoiser,
    /// Latents to pictures.
    Vae,
}

impl Role {
    /// Those that a picture takes.
    pub const ALL: [Self; 3] = [Self::Text, Self::Denoiser, Self::Vae];

    /// The component's folder in the diffusers layout, and what the names of its weights begin with in a graph
    /// ([`calotype_graph::Graph::within`]).
    pub fn folder(self) -> &'static str {
        match self {
            Self::Text => "text_encoder",
            Self::Denoiser => "unet",
            Self::Vae => "vae",
        }
    }

    /// The role of the component in a folder.
    pub fn of_folder(folder: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|role| role.folder() == folder)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.folder())
    }
}
