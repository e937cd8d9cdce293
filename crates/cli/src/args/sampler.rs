//! How a picture is drawn: sampler, noise schedule, and where noise comes from.

use super::values::{Numbers, number, numbers, sampler, sampler_help, schedule, schedule_help, size};
use calotype::{Dialect, Request, Rng, Sampler, Schedule};
use clap::Args;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Picture")]
pub struct SamplerArgs {
    #[arg(long, value_name = "NAME", value_parser = sampler, help = sampler_help())]
    pub sampler: Option<Sampler>,

    #[arg(long, value_name = "NAME", value_parser = schedule, help = schedule_help())]
    pub scheduler: Option<Schedule>,

    /// Whose rules they follow: diffusers, k (A1111, k-diffusion), comfy, compvis (ddim, plms and dpm++_2m of CompVis'
    /// scripts), keras or keras-0.3 (KerasCV's ddim, before 0.8.2 the latter) [default: diffusers where it has them, else k]
    #[arg(long, value_name = "NAME", value_parser = str::parse::<Dialect>)]
    pub sampler_dialect: Option<Dialect>,

    /// The share of noise that is drawn anew, 0 to 1 [default: the sampler's own; 0 for DDIM, 0.3 for TCD]
    #[arg(long, value_name = "X", value_parser = number::<f64>)]
    pub eta: Option<f64>,

    /// What noise on the way is multiplied with
    #[arg(long, value_name = "X", value_parser = number::<f64>)]
    pub s_noise: Option<f64>,

    /// How far noise is turned up before steps (euler, heun, dpm2, heunpp2)
    #[arg(long, value_name = "X", value_parser = number::<f64>)]
    pub s_churn: Option<f64>,

    /// The least sigma at which it is
    #[arg(long, value_name = "X", value_parser = number::<f64>)]
    pub s_tmin: Option<f64>,

    /// The largest sigma at which it is; 0 for any
    #[arg(long, value_name = "X", value_parser = number::<f64>)]
    pub s_tmax: Option<f64>,

    /// Noise levels in place of --scheduler and --steps, falling, with commas between
    #[arg(long, value_name = "LIST", value_parser = numbers, conflicts_with = "timesteps")]
    pub sigmas: Option<Numbers>,

    /// Timesteps in their place
    #[arg(long, value_name = "LIST", value_parser = numbers)]
    pub timesteps: Option<Numbers>,
}

impl SamplerArgs {
    /// A request with what is said here.
    pub fn request(&self, prompt: &str) -> Request {
        Request {
            sampler: self.sampler,
            schedule: self.scheduler,
            sampler_dialect: self.sampler_dialect,
            eta: self.eta,
            s_noise: self.s_noise,
            s_churn: self.s_churn,
            s_tmin: self.s_tmin,
            s_tmax: self.s_tmax,
            sigmas: self.sigmas.clone().map(|list| list.0),
            timesteps: self.timesteps.clone().map(|list| list.0),
            ..Request::new(prompt)
        }
    }
}

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Picture")]
pub struct NoiseArgs {
    /// Whose random numbers a seed gives: cpu (PyTorch's), cuda (Philox, A1111's NV) or numpy
    #[arg(long, value_name = "NAME", default_value = "cpu", value_parser = str::parse::<Rng>)]
    pub rng: Rng,

    /// Turn the noise towards another seed's; with --variation-strength
    #[arg(long, value_name = "N", requires = "variation_strength")]
    pub variation_seed: Option<u64>,

    /// How far, 0 to 1
    #[arg(long, value_name = "X", value_parser = number::<f64>, requires = "variation_seed")]
    pub variation_strength: Option<f64>,

    /// Draw the seed's noise at another size, and lay it into the middle of this one's
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub seed_resize_from: Option<[usize; 2]>,
}

impl NoiseArgs {
    /// Puts what is said here into a request.
    pub fn apply(&self, request: &mut Request) {
        request.rng = self.rng;
        request.variation_seed = self.variation_seed;
        request.variation_strength = self.variation_strength.unwrap_or(0.0);
        request.seed_resize_from = self.seed_resize_from;
    }
}
