//! What was drawn, held against a peer's.

use crate::support::{Golden, Report};
use calotype::Output;
use calotype_testkit::error;
use serde_json::Value as Json;
use std::path::Path;

/// Differences of final latents, of the largest magnitude; see `trajectories.rs`.
pub const LATENTS: f64 = 1e-3;

impl Report {
    /// Notes how far a run's final latents are from a case's, and its pictures from the files that the case names.
    pub fn drawn(&mut self, name: &str, output: &Output, (golden, case): (&Golden, &Json)) {
        self.case(name, error(&output.latents, &golden.tensor(&case["final"])), LATENTS);
        let files = strings(&case["png"]);
        assert_eq!(output.pictures.len(), files.len(), "{name}");
        for (picture, file) in output.pictures.iter().zip(files) {
            let off = apart(&picture.rgb(), &read_png(&golden.folder.join(&file)));
            self.check(off <= 1, || format!("{name}: {file} differs by {off} of 255"));
        }
    }
}

/// A list of texts.
pub fn strings(value: &Json) -> Vec<String> {
    value.as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_string()).collect()
}

/// The pixels of an RGB file.
pub fn read_png(file: &Path) -> Vec<u8> {
    let decoder = png::Decoder::new(std::io::BufReader::new(std::fs::File::open(file).unwrap()));
    let mut reader = decoder.read_info().unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let frame = reader.next_frame(&mut pixels).unwrap();
    assert_eq!((frame.color_type, frame.bit_depth), (png::ColorType::Rgb, png::BitDepth::Eight));
    pixels.truncate(frame.buffer_size());
    pixels
}

/// The largest difference of two values, of 255.
pub fn apart(a: &[u8], b: &[u8]) -> u8 {
    assert_eq!(a.len(), b.len());
    a.iter().zip(b).map(|(a, b)| a.abs_diff(*b)).max().unwrap_or(0)
}
