use super::values::{number, place, size};
use calotype::Request;
use clap::Args;

/// What SDXL and its children are told beside the prompt.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "SDXL")]
pub struct SdxlArgs {
    /// What the second text encoder reads [default: the prompt]
    #[arg(long, value_name = "TEXT")]
    pub prompt_2: Option<String>,

    /// What the second text encoder keeps away from [default: the negative prompt]
    #[arg(long, value_name = "TEXT")]
    pub negative_prompt_2: Option<String>,

    /// The size in pixels that the model is told its example had [default: the picture's]
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub original_size: Option<[usize; 2]>,

    /// The pixels that it is told were cut off at the left and at the top [default: 0,0]
    #[arg(long, value_name = "X,Y", value_parser = place)]
    pub crop: Option<[usize; 2]>,

    /// The size in pixels that it is told the picture has [default: the picture's]
    #[arg(long, value_name = "WxH", value_parser = size)]
    pub target_size: Option<[usize; 2]>,

    /// From which share of the training timesteps on, counted from the noise, --refiner draws [default: 0.8]
    #[arg(long, value_name = "F", value_parser = number::<f64>)]
    pub refiner_switch: Option<f64>,

    /// How much the refiner is told that the picture is liked, 1 to 10 [default: 6]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number::<f32>)]
    pub aesthetic_score: Option<f32>,

    /// How much it is told that what it keeps away from is liked [default: 2.5]
    #[arg(long, value_name = "X", allow_negative_numbers = true, value_parser = number::<f32>)]
    pub negative_aesthetic_score: Option<f32>,
}

impl SdxlArgs {
    /// Puts what is said here into a request.
    pub fn apply(&self, request: &mut Request) {
        request.prompts_2 = self.prompt_2.iter().cloned().collect();
        request.negative_prompts_2 = self.negative_prompt_2.iter().cloned().collect();
        request.original_size = self.original_size;
        request.crop = self.crop;
        request.target_size = self.target_size;
        request.refiner_switch = self.refiner_switch;
        request.aesthetic_score = self.aesthetic_score;
        request.negative_aesthetic_score = self.negative_aesthetic_score;
    }
}
