use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// How a picture of another shape is made to fit (A1111's modes 0 to 2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Resize {
    /// Its sides each by itself.
    #[default]
    Stretch,
    /// All of it is covered, and what stands over at two sides is left out.
    Crop,
    /// All of it is there, and its edges go on at two sides.
    Fill,
}

impl Resize {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Stretch, Self::Crop, Self::Fill];

    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stretch => "stretch",
            Self::Crop => "crop",
            Self::Fill => "fill",
        }
    }
}

impl FromStr for Resize {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|how| how.name() == name);
        found.ok_or_else(|| "use stretch, crop or fill".into())
    }
}

impl fmt::Display for Resize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
