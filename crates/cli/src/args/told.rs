//! What a command line that cannot be read is told: one line that names what was written and shows the way out.

use super::{Cli, GenerateArgs, elsewhere};
use crate::exit::{self, Usage};
use crate::text::Stdout;
use clap::error::{ContextKind, ContextValue, Error, ErrorKind};
use clap::{Arg, Command, CommandFactory, FromArgMatches};
use std::error::Error as _;
use std::ffi::OsString;
use std::num::{IntErrorKind, ParseFloatError, ParseIntError};
use std::process::ExitCode;

/// What the values of flags are called that are numbers.
const NUMBERS: [&str; 6] = ["N", "X", "PIXELS", "SECONDS", "N,…", "PIXELS,…"];

/// Reads the command line, or does what it asks for at once (help), or tells what is wrong with it.
pub fn parse(args: &[OsString]) -> Result<Cli, ExitCode> {
    let line = Line::new(args);
    if let Some(why) = line.one_dash() {
        return Err(exit::code(&Usage(why).into()));
    }
    let read = command().try_get_matches_from(args).and_then(|found| Cli::from_arg_matches(&found));
    let error = match read {
        Ok(cli) => return Ok(cli),
        Err(error) => error,
    };
    Err(match error.kind() {
        ErrorKind::DisplayHelp if line.glued_help().is_some() => {
            exit::code(&Usage(line.glued_help().unwrap_or_default()).into())
        }
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => match error.print() {
            Ok(()) => ExitCode::SUCCESS,
            Err(e) => exit::code(&Stdout(e).into()),
        },
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Nobody is left to tell if this fails.
            let _ = error.print();
            ExitCode::from(2)
        }
        _ => exit::code(&Usage(line.explain(&error)).into()),
    })
}

/// What a command line of `generate` asks for.
pub fn generate(args: &[OsString]) -> Result<GenerateArgs, Usage> {
    let line = Line::new(args);
    if let Some(why) = line.one_dash() {
        return Err(Usage(why));
    }
    let read = command().try_get_matches_from(args).and_then(|found| Cli::from_arg_matches(&found));
    match read.map(|cli| cli.command) {
        Ok(super::Command::Generate(args)) => Ok(*args),
        Ok(_) => Err(Usage("calotype generate is wanted".into())),
        Err(error) => Err(Usage(line.explain(&error))),
    }
}

/// The commands. A number below zero is a number: what takes one says itself which it takes.
fn command() -> Command {
    let signed = |arg: Arg| if takes_number(&arg) { arg.allow_negative_numbers(true) } else { arg };
    Cli::command().mut_subcommands(|command| command.mut_args(signed))
}

fn takes_number(arg: &Arg) -> bool {
    let name = arg.get_value_names().and_then(|names| names.first());
    name.is_some_and(|name| NUMBERS.contains(&name.as_str()))
}

/// A command line as it was written.
struct Line {
    words: Vec<String>,
    raw: Vec<OsString>,
    cli: Command,
    /// Where the command stands in it.
    at: Option<usize>,
}

impl Line {
    fn new(args: &[OsString]) -> Self {
        let mut cli = command();
        cli.build();
        let words: Vec<String> = args.iter().skip(1).map(|arg| arg.to_string_lossy().into_owned()).collect();
        let at = words.iter().position(|word| cli.find_subcommand(word).is_some());
        Self { words, raw: args.iter().skip(1).cloned().collect(), cli, at }
    }

    fn explain(&self, error: &Error) -> String {
        let text = |kind| match error.get(kind) {
            Some(ContextValue::String(text)) => text.clone(),
            Some(ContextValue::Strings(texts)) => texts.join(", "),
            _ => String::new(),
        };
        let (arg, value) = (flag(&text(ContextKind::InvalidArg)), text(ContextKind::InvalidValue));
        match error.kind() {
            ErrorKind::UnknownArgument => self.unknown(&arg, &flag(&text(ContextKind::SuggestedArg))),
            ErrorKind::InvalidSubcommand => self
                .no_command(&text(ContextKind::InvalidSubcommand), &text(ContextKind::SuggestedSubcommand)),
            ErrorKind::InvalidValue if value.is_empty() => self.no_value(&arg),
            ErrorKind::InvalidValue => {
                let near = text(ContextKind::SuggestedValue);
                let near = if near.is_empty() { near } else { format!("did you mean {near}? ") };
                format!("{arg} {value}: {near}use one of {}", text(ContextKind::ValidValue))
            }
            ErrorKind::ValueValidation if value.is_empty() => self.no_value(&arg),
            ErrorKind::ValueValidation => {
                let why = error.source().map_or(String::new(), |source| reason(source, &value));
                let named = why.starts_with(&value) || why.contains(&format!("\"{value}\""));
                let value = if named { String::new() } else { format!(" {value}") };
                format!("{arg}{value}: {why}{}", self.not_a_flag(value.trim_start()))
            }
            ErrorKind::MissingRequiredArgument if arg == "PROMPT" => {
                "a prompt is required: calotype generate \"a red apple\", or --from-file FILE".into()
            }
            ErrorKind::MissingRequiredArgument => format!("{arg} is required with what was given"),
            ErrorKind::ArgumentConflict => match flag(&text(ContextKind::PriorArg)) {
                prior if prior == arg => format!("{arg} is given twice: leave one out"),
                prior => format!("{arg} and {prior} cannot go together: leave one of them out"),
            },
            ErrorKind::InvalidUtf8 => self.not_utf8(),
            _ => {
                let said = error.render().to_string();
                said.lines().next().unwrap_or_default().trim_start_matches("error: ").to_string()
            }
        }
    }

    fn command(&self) -> Option<&Command> {
        self.cli.find_subcommand(self.words.get(self.at?)?)
    }

    /// The flag of the command that a word is, if that takes a value.
    fn takes_value(&self, word: &str) -> Option<&Arg> {
        let is = |arg: &&Arg| is_flag(arg, word) && arg.get_action().takes_values();
        self.command()?.get_opts().find(is)
    }

    /// Where a word stands that was taken for flags, or for a flag with its value.
    fn place(&self, arg: &str) -> Option<usize> {
        let here = |word: &String| word == arg || word.starts_with(&format!("{arg}="));
        let within = |word: &String| {
            let short = arg.strip_prefix('-').filter(|short| short.chars().count() == 1);
            short
                .is_some_and(|short| word.starts_with('-') && !word.starts_with("--") && word.contains(short))
        };
        self.words.iter().position(here).or_else(|| self.words.iter().position(within))
    }

    /// What is said of a word that asks for help only because it begins like `-h`.
    fn glued_help(&self) -> Option<String> {
        self.command().filter(|command| command.get_name() == "generate")?;
        let word = self.words.iter().find(|word| word.starts_with("-h") || *word == "--help")?;
        (word.len() > 2 && word != "--help").then(|| dashed_prompt(word))
    }

    /// What is said of a flag's name after one dash, which is read as a short flag with its value: `-output x` would
    /// write to `utput`.
    fn one_dash(&self) -> Option<String> {
        let command = self.command()?;
        let end = self.words.iter().position(|word| word == "--").unwrap_or(self.words.len());
        let given = (0..end)
            .filter(|at| at.checked_sub(1).is_none_or(|at| self.takes_value(&self.words[at]).is_none()));
        let mut words = given.map(|at| self.words[at].split('=').next().unwrap_or_default());
        words.find_map(|word| {
            let long = format!("--{}", elsewhere::plain(word));
            let is = word.len() > 2 && word.starts_with('-') && !word.starts_with("--");
            (is && command.get_arguments().any(|a| is_flag(a, &long)))
                .then(|| format!("{word}: write {long}"))
        })
    }

    fn unknown(&self, arg: &str, near: &str) -> String {
        let Some(command) = self.command() else {
            return format!("{arg}: a command comes first, as in calotype generate \"a red apple\"");
        };
        let name = command.get_name();
        if !arg.starts_with('-') {
            return self.unquoted(arg);
        }
        if self.after_dashes(arg) {
            return format!("{arg} stands after --, where nothing is a flag: put flags before it");
        }
        let place = self.place(arg);
        let word = place.map_or(arg, |place| self.words[place].split('=').next().unwrap_or(arg));
        if let Some(before) = place.and_then(|place| self.words.get(place.checked_sub(1)?))
            && let Some(taker) = self.takes_value(before)
        {
            return dashed_value(taker, &self.words[place.unwrap_or(0)]);
        }
        let ours = |word: &str| {
            let long = format!("--{}", elsewhere::plain(word));
            command.get_arguments().any(|a| is_flag(a, &long)).then_some(long)
        };
        if let Some(long) = ours(word).filter(|_| elsewhere::plain(word).len() > 1) {
            return format!("{word}: write {long}");
        }
        let has = |remedy: &String| {
            let flags = remedy.split([' ', ',']).filter(|word| word.starts_with('-') && word.len() > 1);
            flags.into_iter().all(|flag| command.get_arguments().any(|a| is_flag(a, flag)))
        };
        if let Some(remedy) = elsewhere::remedy(word).filter(has) {
            return format!("{word} is no flag of calotype {name}: {remedy}");
        }
        if name == "generate" && !word.starts_with("--") && word.len() > 2 {
            return dashed_prompt(word);
        }
        let known = |command: &&Command| command.get_arguments().any(|a| is_flag(a, arg));
        if let Some(other) = self.cli.get_subcommands().find(known) {
            return format!("{arg} is a flag of calotype {}, not of calotype {name}", other.get_name());
        }
        match near {
            "" => format!("{word} is no flag of calotype {name}: calotype {name} --help lists them"),
            near => format!("{word} is no flag of calotype {name}: did you mean {near}?"),
        }
    }

    /// Whether a word is refused where it stands after `--`. One before it is refused first, unless it is a flag.
    fn after_dashes(&self, arg: &str) -> bool {
        let end = self.words.iter().position(|word| word == "--").unwrap_or(self.words.len());
        let is = |word: &String| word.split([' ', '=']).next() == Some(arg);
        let known = self.command().is_some_and(|command| command.get_arguments().any(|a| is_flag(a, arg)));
        self.words[end..].iter().any(is) && (known || !self.words[..end].iter().any(is))
    }

    /// A word too many: most likely words without quotes.
    fn unquoted(&self, word: &str) -> String {
        let name = self.command().map_or("", Command::get_name);
        let place = self.words.iter().rposition(|w| w == word).unwrap_or(0);
        let is_word = |at: &usize| !self.words[*at].starts_with('-') && Some(*at) != self.at;
        let mut first = (0..place).rev().take_while(is_word).last().unwrap_or(place);
        let last = (place..self.words.len()).take_while(is_word).last().unwrap_or(place);
        let words = quoted(&self.words[first..=last].join(" "));
        let before = first.checked_sub(1).map(|at| self.words[at].as_str()).unwrap_or_default();
        if let Some(taker) = self.takes_value(before) {
            // The first word is the flag's value, the one after it may be a prompt.
            first += 1;
            if first == place && !takes_number(taker) {
                return format!("{word} is a word too many: words with spaces need quotes: {before} {words}");
            }
        }
        let words = quoted(&self.words[first..=last].join(" "));
        match name {
            "generate" if first < last => {
                format!("{word} is a word too many: a prompt needs quotes: calotype generate {words}")
            }
            "generate" => format!(
                "{word} is a word too many, for there is a prompt already: words with spaces need quotes"
            ),
            "plan" | "adapters" => format!("{word} is a word too many: calotype {name} takes flags only"),
            _ => {
                format!("{word} is a word too many: a name with spaces needs quotes: calotype {name} {words}")
            }
        }
    }

    fn no_command(&self, word: &str, near: &str) -> String {
        let names: Vec<&str> = self.cli.get_subcommands().map(Command::get_name).collect();
        let near = match near {
            // Several words are a prompt, however near they come to a command.
            _ if word.contains(char::is_whitespace) => "",
            "" => elsewhere::command(word).unwrap_or_default(),
            near => near,
        };
        match near {
            "" => format!(
                "{} is no command of calotype ({}); to draw it: calotype generate {}",
                quoted(word),
                names.join(", "),
                quoted(word)
            ),
            near => format!("{word} is no command of calotype: did you mean {near}?"),
        }
    }

    /// A flag without its value; where a word with a dash follows, that may have been meant.
    fn no_value(&self, arg: &str) -> String {
        let command = self.command().unwrap_or(&self.cli);
        let Some(taker) = command.get_arguments().find(|a| is_flag(a, arg)) else {
            return format!("{arg} needs a value");
        };
        let place = self.words.iter().position(|word| is_flag(taker, word));
        let known =
            |word: &str| command.get_arguments().any(|a| is_flag(a, word.split('=').next().unwrap_or(word)));
        let next = place.and_then(|place| self.words.get(place + 1));
        match next.filter(|next| next.starts_with('-') && !known(next)) {
            Some(next) => dashed_value(taker, next),
            None => {
                let name = taker.get_value_names().and_then(|names| names.first());
                format!("{arg} needs a value: {arg} {}", name.map_or("VALUE", |name| name.as_str()))
            }
        }
    }

    /// Where a value was glued to a short flag, a word with one dash may have been meant otherwise.
    fn not_a_flag(&self, value: &str) -> String {
        let Some(command) = self.command() else { return String::new() };
        let glued = |word: &&String| {
            let rest = word.strip_prefix('-').filter(|rest| !rest.starts_with('-')).unwrap_or("");
            let mut letters = rest.chars();
            letters.next().is_some() && !value.is_empty() && letters.as_str() == value
        };
        let Some(word) = self.words.iter().find(glued) else { return String::new() };
        match command.get_name() {
            "generate" => {
                format!(" (for a prompt that begins with a dash: calotype generate -- {})", quoted(word))
            }
            _ => String::new(),
        }
    }

    fn not_utf8(&self) -> String {
        let odd = |at: &usize| self.raw[*at].to_str().is_none();
        let is_path = |at: usize| {
            let before = at.checked_sub(1).and_then(|at| self.takes_value(&self.words[at]));
            before.and_then(Arg::get_long).is_some_and(|long| KEPT.contains(&long))
        };
        let places: Vec<usize> = (0..self.raw.len()).filter(odd).collect();
        let place = places.iter().find(|at| !is_path(**at)).or(places.first());
        let shown = place.map_or(String::new(), |at| format!("{:?}", self.raw[*at]));
        format!(
            "the argument {shown} is not UTF-8: only the files of {} may have such names",
            KEPT.map(|long| format!("--{long}")).join(", ")
        )
    }
}

/// Flags of files whose names may be anything.
const KEPT: [&str; 4] = ["output", "save-latents", "latents", "from-file"];

/// `--lora` of `--lora <FILE[:SCALE]>`; `PROMPT` of `[PROMPT]`.
fn flag(shown: &str) -> String {
    let words = shown.split(", ").map(|part| match part.starts_with('-') {
        true => part.split([' ', '=']).next().unwrap_or(part).to_string(),
        false => part.trim_matches(['<', '>', '[', ']', '.']).to_string(),
    });
    words.collect::<Vec<_>>().join(", ")
}

fn is_flag(arg: &Arg, word: &str) -> bool {
    match word.strip_prefix("--") {
        Some(long) => arg.get_long() == Some(long),
        None => word
            .strip_prefix('-')
            .is_some_and(|short| arg.get_short().map(String::from).as_deref() == Some(short)),
    }
}

fn dashed_prompt(word: &str) -> String {
    format!(
        "{word} begins with a dash and is no flag: for a prompt write calotype generate -- {}",
        quoted(word)
    )
}

fn dashed_value(taker: &Arg, value: &str) -> String {
    let name = taker.get_long().unwrap_or_default();
    let shown = if value.contains(char::is_whitespace) { quoted(value) } else { value.to_string() };
    format!("--{name} needs a value, and {value} begins with a dash: write --{name}={shown}")
}

/// As a shell takes it for one word.
fn quoted(text: &str) -> String {
    match text.contains(['"', '$', '`', '\\', '!']) {
        true => format!("'{}'", text.replace('\'', "'\\''")),
        false => format!("\"{text}\""),
    }
}

/// Why a value does not do, in words that say what would.
fn reason(error: &(dyn std::error::Error + 'static), value: &str) -> String {
    if error.is::<ParseFloatError>() {
        return "use a number, such as 7.5".into();
    }
    match error.downcast_ref::<ParseIntError>().map(|e| e.kind()) {
        Some(IntErrorKind::PosOverflow) => "this is too large a number".into(),
        Some(_) if value.starts_with('-') => "use a whole number, not below zero".into(),
        Some(_) => "use a whole number".into(),
        None => in_words(&error.to_string()),
    }
}

/// A range as clap writes it, `0 is not in 1..=9`, in words.
fn in_words(why: &str) -> String {
    let range = why.split_once(" is not in ").and_then(|(_, range)| range.split_once("..="));
    range
        .map_or_else(|| why.to_string(), |(least, most)| format!("use a whole number from {least} to {most}"))
}
