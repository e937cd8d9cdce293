//! How a prompt is read, and what it may ask for.

use super::values::{EmbeddingArg, embedding};
use calotype::Request;
use calotype::words::{Emphasis, PromptStyle};
use clap::Args;
use std::path::PathBuf;

#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Prompt")]
pub struct WordArgs {
    /// By whose rules prompts are read: a1111 ((word:1.2), [from:to:0.5], [a|b], BREAK, AND, any length), comfy
    /// ((word:1.2), any length) or plain (the text as it stands, cut at 75 tokens) [default: a1111]
    #[arg(long, value_name = "NAME", value_parser = str::parse::<PromptStyle>)]
    pub prompt_style: Option<PromptStyle>,

    /// What a1111 does with weights: original, no_norm, ignore or none [default: original]
    #[arg(long, value_name = "MODE", value_parser = str::parse::<Emphasis>)]
    pub emphasis: Option<Emphasis>,

    /// Which of the text encoder's layers is taken, as A1111 counts: 1 the last, 2 the one before [default: the model's own]
    #[arg(long, value_name = "N")]
    pub clip_skip: Option<usize>,

    /// Where <lora:NAME:SCALE> in a prompt looks for NAME, with the folders in it
    #[arg(long, value_name = "FOLDER")]
    pub lora_dir: Option<PathBuf>,

    /// A word with vectors of its own (textual inversion), of any trainer's: prompts bring it in by NAME [default: the
    /// file's own name]; may be repeated
    #[arg(long, value_name = "FILE[:NAME]", value_parser = embedding)]
    pub embedding: Vec<EmbeddingArg>,

    /// Where such files are, with the folders in it: those whose names stand in a prompt are taken
    #[arg(long, value_name = "FOLDER")]
    pub embedding_dir: Option<PathBuf>,

    /// Texts that prompts are put into, by name: a table of A1111's (styles.csv), with the columns name, prompt and
    /// negative_prompt
    #[arg(long, value_name = "FILE", requires = "style")]
    pub styles: Option<PathBuf>,

    /// A style of --styles: the prompt takes the place of {prompt} in it, or stands before it; may be repeated
    #[arg(long, value_name = "NAME", requires = "styles")]
    pub style: Vec<String>,

    /// Draw with the settings that a picture carries, as if typed; flags that are typed go before them
    #[arg(long, value_name = "FILE", conflicts_with = "from_file")]
    pub from_png: Option<PathBuf>,
}

impl WordArgs {
    /// Puts what is said here into a request.
    pub fn apply(&self, request: &mut Request) {
        request.prompt_style = self.prompt_style.unwrap_or_default();
        request.emphasis = self.emphasis.unwrap_or_default();
        request.clip_skip = self.clip_skip;
    }
}
