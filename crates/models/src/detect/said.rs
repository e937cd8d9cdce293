use super::{Family, Predicts};

/// What the user says of a file, by the name that `--config` takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Said {
    /// The name.
    pub name: &'static str,
    /// The family.
    pub family: Family,
    /// What the UNet predicts.
    pub prediction: Predicts,
}

impl Said {
    /// All that can be said.
    pub const ALL: [Self; 5] = [
        Self::new("sd15", Family::Sd1, Predicts::Epsilon),
        Self::new("sd21", Family::Sd2, Predicts::Epsilon),
        Self::new("sd21-v", Family::Sd2, Predicts::V),
        Self::new("sdxl", Family::Sdxl, Predicts::Epsilon),
        Self::new("sdxl-refiner", Family::Refiner, Predicts::Epsilon),
    ];

    const fn new(name: &'static str, family: Family, prediction: Predicts) -> Self {
        Self { name, family, prediction }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|said| said.name == name)
    }
}
