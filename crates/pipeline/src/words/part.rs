use super::{PromptStyle, Timeline, Weighted, networks, parts, timeline};

/// One prompt of those that a text may be: its weight, and its texts in turns, each with the evaluation up to which it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct PromptPart {
    /// 1 where nothing is said.
    pub weight: f64,
    /// At least one, in their order; evaluations count from 0.
    pub turns: Vec<(usize, String)>,
}

impl PromptPart {
    /// What a prompt says by a style's rules. Of a negative prompt nothing is several, as in A1111.
    pub fn of(prompt: &str, style: PromptStyle, is_negative: bool, passing: Timeline) -> Vec<PromptPart> {
        if style != PromptStyle::A1111 {
            return vec![PromptPart { weight: 1.0, turns: vec![(passing.steps, prompt.into())] }];
        }
        let parts = match is_negative {
            true => vec![Weighted::new(prompt, 1.0)],
            false => parts(&networks(prompt).0),
        };
        let said = |part: Weighted| PromptPart { weight: part.weight, turns: timeline(&part.text, passing) };
        parts.into_iter().map(said).collect()
    }

    /// Which of its turns an evaluation takes.
    pub fn at(&self, evaluation: usize) -> usize {
        let found = self.turns.iter().position(|(until, _)| *until >= evaluation);
        found.unwrap_or(self.turns.len() - 1)
    }
}
