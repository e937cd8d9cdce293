//! What a run keeps of a picture where a mask says so: of each evaluation what is blended with it, and what multiplies it.

use crate::choice::Chosen;
use crate::dialect::Dialect;
use crate::error::{Error, Result};
use crate::lin::{Lin, MODEL};
use crate::program::{Step, predict};
use crate::samplers::Sampler;
use calotype_field::Field;

/// By whose rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeepRule {
    /// After each evaluation the sample is the picture with as much noise as the next one takes
    /// (`StableDiffusionInpaintPipeline`).
    Diffusers,
    /// The clean picture that each evaluation tells of is the one that is kept. Samplers over timesteps are shown it without
    /// noise in place of that (modules/sd_samplers_cfg_denoiser.py, `mask_before_denoising`). The run ends in it.
    A1111,
}

/// What an evaluation keeps.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Keeps {
    /// What multiplies the sample and the clean picture to give the guided output, where that is blended.
    pub output: Option<[f32; 2]>,
    /// What multiplies the clean picture and unit noise to give the new sample, where that is.
    pub sample: Option<[f32; 2]>,
    /// Whether what the next evaluation sees is blended with the clean picture.
    pub input: bool,
}

/// A1111's samplers over timesteps.
const OVER_TIMESTEPS: [Sampler; 5] =
    [Sampler::DDIM, Sampler::DDIM_CFG_PP, Sampler::PNDM, Sampler::UNIPC, Sampler::UNIPC_BH2];

impl Chosen {
    /// Whether what the first evaluation sees is blended with the clean picture, and what each of them keeps.
    ///
    /// Errors where the sampler does not tell its noise levels, or not before it takes its steps.
    pub fn keeps(&self, rule: KeepRule) -> Result<(bool, Vec<Keeps>)> {
        let Self { sampler, dialect, program, .. } = self;
        let steps = &program.steps;
        let untold = || {
            let field = Field::Sampler;
            Error::Sampler(format!(
                "{field} {sampler} keeps to no mask in dialect {dialect}: give another {field}"
            ))
        };
        if self.adaptive.is_some() {
            return Err(untold());
        }
        let sees = rule == KeepRule::A1111 && *dialect == Dialect::K && OVER_TIMESTEPS.contains(sampler);
        let of = |i: usize| {
            let next = steps.get(i + 1);
            let end = next.is_none().then_some([1.0, 0.0]);
            Ok(match rule {
                KeepRule::Diffusers => {
                    let level = end.or_else(|| next?.level).ok_or_else(untold)?;
                    Keeps { sample: Some(level), ..Keeps::default() }
                }
                KeepRule::A1111 if sees => Keeps { sample: end, input: next.is_some(), output: None },
                KeepRule::A1111 => {
                    let output = Some(self.output_of(&steps[i]).ok_or_else(untold)?);
                    Keeps { sample: end, input: false, output }
                }
            })
        };
        Ok((sees, (0..steps.len()).map(of).collect::<Result<_>>()?))
    }

    /// What multiplies the sample and a clean picture to give the output that tells of that picture; none where there is no noise
    /// to tell it from, or where nobody knows how much.
    fn output_of(&self, step: &Step) -> Option<[f32; 2]> {
        let [signal, noise] = step.level.filter(|level| level[1] > 0.0)?.map(f64::from);
        let norm = signal.hypot(noise);
        let clean = match self.edm {
            Some(edm) => edm.clean(self.prediction, Lin::X, Lin::M, noise),
            None => predict(self.prediction, Lin::X / norm, Lin::M, signal / norm, noise / norm).0,
        };
        let row = clean.row();
        Some([-row[0] / row[MODEL], 1.0 / row[MODEL]])
    }
}
