//! What a model is told of a picture beside its latents.

use calotype_tensor::HostTensor;

/// What a model is told of one picture. Several may be made of one prompt and taken in turns.
#[derive(Clone, Debug)]
pub struct Condition {
    /// What the prompt says, `[1, T, width]` f32, where T is any whole number of the text encoders' lengths: the states of
    /// all text encoders side by side.
    pub states: HostTensor,
    /// The whole prompt as one vector, of models with a text encoder that makes one, else nothing.
    pub pooled: Vec<f32>,
    /// Numbers that tell of the picture, of models that take some: the order's, where there are none.
    pub ids: Vec<f32>,
}

/// What a model is told up to an evaluation and with it: a condition for all images of a batch, or one for each.
#[derive(Clone, Debug)]
pub struct Turn {
    /// Evaluations count from 0.
    pub until: usize,
    /// Those of the negative prompts, where the run is guided.
    pub negative: Option<Vec<Condition>>,
    /// Those of the prompts; where images have several (`AND`), first the first ones of all, then the second ones, and so on.
    pub positive: Vec<Condition>,
}

/// What one text encoder makes of a prompt.
#[derive(Clone)]
pub(crate) struct TextOutput {
    pub states: HostTensor,
    pub pooled: Vec<f32>,
}

impl Condition {
    /// What models that were trained so are told where there is no prompt: zeros.
    pub fn zeros(&self) -> Self {
        let zeros = |of: usize| vec![0.0; of];
        Self {
            states: HostTensor::from_f32(self.states.shape(), &zeros(self.states.shape().numel())),
            pooled: zeros(self.pooled.len()),
            ids: self.ids.clone(),
        }
    }

    /// With its last state again and again, up to a number of tokens: so A1111 has prompts of one picture that are of different
    /// lengths (modules/prompt_parser.py `reconstruct_multicond_batch`).
    pub(crate) fn padded(mut self, tokens: usize) -> Self {
        let (own, width) = (self.states.shape().rows(), self.states.shape().channels());
        if own < tokens {
            let mut values = self.states.to_f32();
            (own..tokens).for_each(|_| values.extend_from_within(values.len() - width..));
            self.states = HostTensor::from_f32([1, tokens, width], &values);
        }
        self
    }

    /// The states again and again, up to a number of tokens: attention to them is the same.
    pub(crate) fn repeated(&self, tokens: usize) -> Vec<f32> {
        let own = self.states.shape().rows();
        self.states.to_f32().repeat((tokens / own).max(1))
    }

    pub(crate) fn side_by_side(encoded: &[TextOutput]) -> Self {
        let pooled = encoded.iter().flat_map(|one| one.pooled.iter().copied()).collect();
        let states = match encoded {
            [one] => one.states.clone(),
            several => {
                let each: Vec<(usize, Vec<f32>)> =
                    several.iter().map(|one| (one.states.shape().channels(), one.states.to_f32())).collect();
                let tokens = several[0].states.shape().rows();
                let row = |i: usize| each.iter().flat_map(move |(width, all)| &all[i * width..][..*width]);
                let values: Vec<f32> = (0..tokens).flat_map(row).copied().collect();
                HostTensor::from_f32([1, tokens, values.len() / tokens], &values)
            }
        };
        Self { states, pooled, ids: Vec::new() }
    }
}
