use std::fmt;

/// What a component is to its model. A model has some of them ([`crate::config::ModelConfig::roles`]); more kinds are to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// Ids to states.
    Text,
    /// The same for a second encoder, whose states lie beside the first's.
    Text2,
    /// Latents, a time and states to a prediction.
    Denoiser,
    /// Latents to pictures.
    Vae,
}

impl Role {
    /// All of them, in the order in which a picture takes them.
    pub const ALL: [Self; 4] = [Self::Text, Self::Text2, Self::Denoiser, Self::Vae];

    /// Those that read prompts.
    pub const TEXT: [Self; 2] = [Self::Text, Self::Text2];

    /// The component's folder in the diffusers layout, and what the names of its weights begin with in a graph
    /// ([`calotype_graph::Graph::within`]).
    pub fn folder(self) -> &'static str {
        match self {
            Self::Text => "text_encoder",
            Self::Text2 => "text_encoder_2",
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
