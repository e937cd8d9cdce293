use crate::exit::Usage;
use calotype::image::PictureFormat;
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// How pictures are written.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Output")]
pub struct FormatArgs {
    /// What pictures are written as; webp loses nothing, jpeg a little [default: as the file's name ends, else png]
    #[arg(long, value_name = "FORMAT")]
    pub format: Option<FormatName>,

    /// How much a JPEG keeps, 1 to 100 [default: 90]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=100))]
    pub quality: Option<u8>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum FormatName {
    Png,
    Jpeg,
    Webp,
}

impl FormatName {
    fn format(self) -> PictureFormat {
        match self {
            Self::Png => PictureFormat::Png,
            Self::Jpeg => PictureFormat::Jpeg(PictureFormat::QUALITY),
            Self::Webp => PictureFormat::WebP,
        }
    }

    fn ending(self) -> &'static str {
        match self {
            Self::Png => "png",
            Self::Jpeg => "jpg",
            Self::Webp => "webp",
        }
    }
}

/// Where pictures go if nothing is said.
pub const OUTPUT: &str = "out_%05d.png";

impl FormatArgs {
    /// Where pictures go, and their format.
    pub fn of(&self, output: &Path) -> Result<(PathBuf, PictureFormat), Usage> {
        let path = match self.format {
            Some(format) if output == OUTPUT => output.with_extension(format.ending()),
            _ => output.to_owned(),
        };
        let (name, by_name) = (path.display(), PictureFormat::of(&path));
        if path.extension().is_some() && by_name.is_none() {
            let why = "pictures are PNG, JPEG or WebP: end the name in .png, .jpg or .webp";
            return Err(Usage(format!("--output {name}: {why}")));
        }
        let said = self.format.map(FormatName::format);
        if said.is_some() && by_name.is_some() && said != by_name {
            let why =
                format!("--output {name}: the name is another format's than --format: give one of them");
            return Err(Usage(why));
        }
        let format = match (said.or(by_name).unwrap_or(PictureFormat::Png), self.quality) {
            (PictureFormat::Jpeg(own), quality) => PictureFormat::Jpeg(quality.unwrap_or(own)),
            (format, None) => format,
            (_, Some(_)) => {
                let why = "--quality is about JPEG, which these pictures are not: leave it out";
                return Err(Usage(why.into()));
            }
        };
        Ok((path, format))
    }
}
