//! Fields as flags.

use calotype::Field;
use std::borrow::Cow;

/// The flag by which a field is set.
pub fn flag(field: Field) -> Cow<'static, str> {
    match field {
        Field::Prompts => "the prompt".into(),
        Field::NegativePrompts => "--negative-prompt".into(),
        Field::Prompts2 => "--prompt-2".into(),
        Field::NegativePrompts2 => "--negative-prompt-2".into(),
        Field::Schedule => "--scheduler".into(),
        Field::Precision => "--dtype".into(),
        Field::Device => "--backend".into(),
        Field::Place => "-m".into(),
        other => format!("--{}", other.name().replace('_', "-")).into(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::Cli;
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_field_has_a_flag_that_there_is() {
        let cli = Cli::command();
        let generate = cli.find_subcommand("generate").unwrap();
        for &field in Field::ALL.iter().filter(|field| **field != Field::Prompts) {
            let flag = flag(field);
            let known = generate.get_arguments().any(|arg| {
                let long = arg.get_long().map(|long| format!("--{long}"));
                let short = arg.get_short().map(|short| format!("-{short}"));
                long.as_deref() == Some(&*flag) || short.as_deref() == Some(&*flag)
            });
            assert!(known, "{field:?} is no {flag}");
        }
    }
}
