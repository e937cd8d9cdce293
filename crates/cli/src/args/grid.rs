use super::GenerateArgs;
use clap::Args;

const GRID_HELP: &str = "\
Examples:
  calotype grid \"a red apple\" --x steps=4,8,20 --y sampler=euler,ddim,dpm++_2m --seed 7
  calotype grid \"a cat\" -m MODEL --x cfg-scale=1,4,7.5,12 --y 'prompt=s/cat/dog/,s/cat/owl in ink/' --z seed=1,2
  calotype grid \"a cat, ink\" -m MODEL --x lora=ink.safetensors:0.4,ink.safetensors:0.8

An axis is a flag of calotype generate without its dashes, and its values between commas; a value with a comma goes in
double quotes: '--x sigmas=\"14,7,1\",\"14,3,1\"'. Of prompt a value is another prompt, or s/WORDS/OTHER WORDS/.

--json prints what calotype generate prints, and in each line cell: the values that it was drawn with.";

#[derive(Debug, Args)]
#[command(after_long_help = GRID_HELP)]
pub struct GridArgs {
    /// What changes from left to right
    #[arg(help_heading = "Axes", long, value_name = "FLAG=A,B,…")]
    pub x: Option<String>,

    /// What changes from top to bottom
    #[arg(help_heading = "Axes", long, value_name = "FLAG=A,B,…")]
    pub y: Option<String>,

    /// What changes from sheet to sheet; they stand below each other
    #[arg(help_heading = "Axes", long, value_name = "FLAG=A,B,…")]
    pub z: Option<String>,

    #[command(flatten)]
    pub generate: GenerateArgs,
}

impl GridArgs {
    /// The axes that were given, each with its flag.
    pub fn axes(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = [("--x", &self.x), ("--y", &self.y), ("--z", &self.z)];
        all.into_iter().filter_map(|(flag, axis)| Some((flag, axis.as_deref()?)))
    }
}
