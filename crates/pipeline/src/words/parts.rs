//! A1111's `AND`: several prompts at once (stable-diffusion-webui 1.10, modules/prompt_parser.py
//! `get_multicond_prompt_list`; Liu et al. 2022, arXiv:2206.01714).

use super::Weighted;
use super::attention::word;

/// A prompt's parts, each with its weight: a number behind a colon at its very end, 1 where there is none. A prompt without
/// AND is one part, whose end is read likewise.
pub fn parts(prompt: &str) -> Vec<Weighted> {
    const AND: &str = "AND";
    let (mut found, mut rest) = (Vec::new(), prompt);
    while let Some(at) = word(rest, AND) {
        found.push(part(&rest[..at]));
        rest = &rest[at + AND.len()..];
    }
    found.push(part(rest));
    found
}

fn part(text: &str) -> Weighted {
    let text = text.trim_end();
    let weighted = text.rsplit_once(':').and_then(|(before, number)| {
        let number = number.trim_start();
        let digits = number.strip_prefix(['+', '-']).unwrap_or(number);
        let plain = digits.chars().all(|c| c.is_ascii_digit() || c == '.');
        plain.then(|| number.parse().ok()).flatten().map(|weight| Weighted::new(before.trim_end(), weight))
    });
    weighted.unwrap_or_else(|| Weighted::new(text, 1.0))
}
