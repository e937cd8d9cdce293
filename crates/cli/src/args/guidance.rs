use super::values::number;
use calotype::{Cache, FreeU, Guidance, Request};
use clap::Args;

/// What becomes of the model's outputs, and what of the model.
#[derive(Clone, Copy, Debug, Args)]
pub struct GuidanceArgs {
    /// Guide from this share of the steps on, 0 to 1; before it the prompt alone counts, and a step takes half the time
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = number::<f64>)]
    pub cfg_start: f64,

    /// Guide up to this share of the steps, 0 to 1
    #[arg(long, value_name = "F", default_value_t = 1.0, value_parser = number::<f64>)]
    pub cfg_end: f64,

    /// What guidance makes of the model's outputs: cfg, apg, perp-neg, cfg-zero, pag or slg, with its numbers where they are
    /// not the usual ones: apg:eta=1:norm=15:momentum=0, perp-neg:scale=1, pag:scale=3, slg:scale=2.8:start=0.01:end=0.2
    #[arg(long, value_name = "KIND", default_value_t, value_parser = str::parse::<Guidance>)]
    pub guidance: Guidance,

    /// Guide only every other time below this noise level, sigma; the others take half the time (A1111's NGMS)
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = number::<f64>)]
    pub s_min_uncond: f64,

    /// How far to rescale the guided prediction to the spread of the unguided one, 0 to 1
    #[arg(long, value_name = "X", default_value_t = 0.0, value_parser = number::<f32>)]
    pub cfg_rescale: f32,

    /// FreeU: b1 and b2 turn up half of the UNet's way up, s1 and s2 turn down its skip connections' slow waves: 1.5,1.6,0.9,0.2
    /// for Stable Diffusion 1.5, as diffusers has it; v1:1.5,1.6,0.9,0.2 and v2:... as ComfyUI's FreeU and FreeU_V2
    #[arg(long, value_name = "B1,B2,S1,S2", value_parser = str::parse::<FreeU>)]
    pub freeu: Option<FreeU>,

    /// Compute the UNet's deep layers in one of N evaluations only (DeepCache): deep:3 draws another picture in about half the
    /// time; deep:3:branch=1 computes a layer more each time
    #[arg(long, value_name = "none|deep:N", default_value_t, value_parser = str::parse::<Cache>)]
    pub cache: Cache,
}

impl GuidanceArgs {
    /// What is said here on top of what is said elsewhere.
    pub fn request(&self, request: Request) -> Request {
        Request {
            cfg_start: self.cfg_start,
            cfg_end: self.cfg_end,
            guidance: self.guidance,
            s_min_uncond: self.s_min_uncond,
            cfg_rescale: self.cfg_rescale,
            free_u: self.freeu,
            cache: self.cache,
            ..request
        }
    }
}
