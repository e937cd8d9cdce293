//! The fixed settings that are compared between adapters, drivers and versions.

use calotype::Sampler;

/// Settings by a name.
#[derive(Debug)]
pub struct Preset {
    /// On the command line and in records.
    pub name: &'static str,
    /// As `-m` takes it; none for the built-in one.
    pub model: Option<&'static str>,
    /// Pixels a side; none for the model's own size.
    pub side: Option<usize>,
    /// Pictures at once.
    pub batch_size: usize,
    /// Denoising steps.
    pub steps: usize,
    /// DDIM evaluates the UNet once a step, so that its figures are easily read; PLMS once more in all.
    pub sampler: Sampler,
    /// What it is for.
    pub about: &'static str,
}

/// All of them; those of [`FIXED`] first.
pub static PRESETS: [Preset; 7] = [
    Preset {
        name: "sd15-512",
        model: Some("synthetic:sd15"),
        side: Some(512),
        batch_size: 1,
        steps: 20,
        sampler: Sampler::DDIM,
        about: "Stable Diffusion 1.5, one picture",
    },
    Preset {
        name: "sd15-512-b4",
        model: Some("synthetic:sd15"),
        side: Some(512),
        batch_size: 4,
        steps: 20,
        sampler: Sampler::DDIM,
        about: "the same, four at once",
    },
    Preset {
        name: "sd21-768",
        model: Some("synthetic:sd21"),
        side: Some(768),
        batch_size: 1,
        steps: 20,
        sampler: Sampler::DDIM,
        about: "Stable Diffusion 2.1, one picture",
    },
    Preset {
        name: "sdxl-1024",
        model: Some("synthetic:sdxl"),
        side: Some(1024),
        batch_size: 1,
        steps: 20,
        sampler: Sampler::EULER,
        about: "Stable Diffusion XL, one picture",
    },
    Preset {
        name: "keras-sd15",
        model: Some("synthetic:sd15"),
        side: Some(512),
        batch_size: 3,
        steps: 50,
        sampler: Sampler::DDIM,
        about: "as KerasCV published its figures: three pictures, 50 steps",
    },
    Preset {
        name: "compvis-plms",
        model: Some("synthetic:sd15"),
        side: Some(512),
        batch_size: 1,
        steps: 50,
        sampler: Sampler::PNDM,
        about: "as CompVis's txt2img.py was timed: 50 steps of PLMS",
    },
    Preset {
        name: "builtin",
        model: None,
        side: None,
        batch_size: 1,
        steps: 4,
        sampler: Sampler::DDIM,
        about: "the built-in model: quick anywhere, for trying the command out",
    },
];

/// What runs on a GPU where no preset is named.
pub static FIXED: [&str; 3] = ["sd15-512", "sd15-512-b4", "sd21-768"];

/// What runs where there is only a processor.
pub static QUICK: [&str; 1] = ["builtin"];

/// What is drawn. Any words would take the same time.
pub const PROMPT: &str = "a photograph of an astronaut riding a horse";

impl Preset {
    /// The preset of that name.
    pub fn find(name: &str) -> Option<&'static Self> {
        PRESETS.iter().find(|preset| preset.name == name)
    }
}

/// For `--help`.
pub fn listing() -> String {
    let lines = PRESETS.iter().map(|p| format!("  {:<13} {}", p.name, p.about));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_unasked_exists() {
        assert!(FIXED.iter().chain(&QUICK).all(|name| Preset::find(name).is_some()));
    }
}
