//! The flags that say how much memory a run may take.

use calotype::VaeTiling;
use clap::{Args, ValueEnum};

/// How much memory a run may take.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Device")]
pub struct MemoryArgs {
    /// Hold no more than SIZE of the device's memory, such as 6G, 2500M or 1.5GiB, however slow that makes the run; what is
    /// done for it calotype plan tells [default: what the device has, less a sixteenth]
    #[arg(long, value_name = "SIZE", value_parser = size)]
    pub max_vram: Option<u64>,

    /// Decode pictures in overlapping tiles, which takes less memory and changes them slightly; auto does where they would not
    /// fit otherwise, exact decodes layer by layer then, some rows at a time, which leaves the picture as it is
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub vae_tiling: Tiling,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Tiling {
    #[default]
    Auto,
    On,
    Exact,
    Off,
}

impl Tiling {
    pub fn tiling(self) -> VaeTiling {
        match self {
            Self::Auto => VaeTiling::Auto,
            Self::On => VaeTiling::On,
            Self::Exact => VaeTiling::Exact,
            Self::Off => VaeTiling::Off,
        }
    }
}

/// Units of sizes, in bytes, without the letters that say no more.
const UNITS: [(&str, f64); 9] = [
    ("m", 1048576.0),
    ("mib", 1048576.0),
    ("mb", 1e6),
    ("g", 1073741824.0),
    ("gib", 1073741824.0),
    ("gb", 1e9),
    ("t", 1099511627776.0),
    ("tib", 1099511627776.0),
    ("tb", 1e12),
];

/// A size in bytes.
pub(super) fn size(text: &str) -> Result<u64, String> {
    let wrong = || String::from("use a size with its unit, such as 6G, 2500M or 1.5GiB");
    let text = text.trim();
    let unit = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = (text[..unit].trim(), text[unit..].to_ascii_lowercase());
    let (_, times) = UNITS.iter().find(|(name, _)| *name == unit).ok_or_else(wrong)?;
    let number: f64 = number.parse().map_err(|_| wrong())?;
    match number * times {
        bytes if bytes >= 1.0 && bytes < (1u64 << 60) as f64 => Ok(bytes as u64),
        _ => Err(wrong()),
    }
}

#[cfg(test)]
mod tests {
    use super::size;

    #[test]
    fn sizes_have_a_unit() {
        for (text, bytes) in [
            ("6G", 6 << 30),
            ("2500M", 2500 << 20),
            ("1.5GiB", 3 << 29),
            ("1.5 gib", 3 << 29),
            ("8GB", 8_000_000_000),
            ("512mb", 512_000_000),
            ("1T", 1 << 40),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "6", "G", "-1G", "0G", "6 apples", "1e30T", "NaNG", "infG", "6GiBs", "6,5G"] {
            assert!(size(text).unwrap_err().contains("1.5GiB"), "{text}");
        }
    }
}
