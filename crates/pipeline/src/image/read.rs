//! Pictures from files, as they are looked at.

use super::{Mask, Picture, Resize};
use crate::error::Error;
use exif::{In, Tag};
use fast_image_resize::images::{Image, ImageRef};
use fast_image_resize::{FilterType, PixelType, ResizeAlg, ResizeOptions, Resizer};
use image_webp::WebPDecoder;
use std::fmt::Display;
use std::io::Cursor;
use zune_jpeg::JpegDecoder;
use zune_jpeg::zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions};

/// The longest side that is decoded, in pixels.
const MOST_SIDE: usize = 1 << 15;

/// The most pixels that are decoded.
const MOST_PIXELS: usize = 1 << 26;

/// Width, height, channels (1 to 4, the last of 2 or 4 says how much there is) and values.
type Raw = ([usize; 2], usize, Vec<u8>);

impl Picture {
    /// A PNG, a JPEG or a WebP as it is looked at: turned as its EXIF says, over white where it is clear, with 8 bits a channel.
    /// `name` is what errors call it. Its size is looked at before its pixels are.
    pub fn read(name: &str, file: &[u8]) -> Result<Picture, Error> {
        let ([width, height], pixels) = looked_at(name, file)?;
        let pixels: Vec<[u8; 3]> = pixels.into_iter().map(over_white).collect();
        Picture::new(width, height, 3, pixels.into_flattened())
    }

    /// The picture at another size, as A1111 resizes (modules/images.py, `resize_image`) and PIL does it: by Lanczos' filter.
    pub fn resized(&self, width: usize, height: usize, how: Resize) -> Result<Picture, Error> {
        let wider = width * self.height > height * self.width;
        let [w, h] = match how {
            Resize::Stretch => [width, height],
            Resize::Crop if wider => [width, self.height * width / self.width],
            Resize::Fill if !wider => [width, self.height * width / self.width],
            Resize::Crop | Resize::Fill => [self.width * height / self.height, height],
        };
        let scaled = self.scaled([w.max(1), h.max(1)])?;
        let mut pixels = Vec::with_capacity(3 * width * height);
        // Where the scaled one is smaller its edge goes on, and where it is larger its middle is taken.
        let place = |to: usize, of: usize, own: usize| (to + own / 2).saturating_sub(of / 2).min(own - 1);
        for y in 0..height {
            for x in 0..width {
                let at = place(y, height, scaled.height) * scaled.width + place(x, width, scaled.width);
                pixels.extend_from_slice(&scaled.pixels[3 * at..3 * at + 3]);
            }
        }
        Picture::new(width, height, 3, pixels)
    }

    /// By columns first, then by rows, each to 8 bits, as PIL does it, but for its newest where rows are much less work: the order
    /// tells at sharp edges.
    fn scaled(&self, [width, height]: [usize; 2]) -> Result<Picture, Error> {
        Picture::new(
            width,
            height,
            3,
            scaled(&self.rgb(), [self.width, self.height], [width, height], LANCZOS)?,
        )
    }
}

impl Mask {
    /// A mask from a PNG, a JPEG or a WebP: white is drawn anew. Where some of it is clear, what is not is drawn anew, as A1111's
    /// page sends it (modules/processing.py, `create_binary_mask`).
    pub fn read(name: &str, file: &[u8]) -> Result<Self, Error> {
        let ([width, height], pixels) = looked_at(name, file)?;
        let has_clear = pixels.iter().any(|pixel| pixel[3] != 255);
        let value = |[r, g, b, alpha]: [u8; 4]| match has_clear {
            true if alpha > 128 => 255,
            true => 0,
            false => luma([r, g, b]),
        };
        Self::new(width, height, pixels.into_iter().map(value).collect())
    }

    /// The mask at another size, as pictures are resized.
    pub fn resized(&self, width: usize, height: usize, how: Resize) -> Result<Self, Error> {
        let picture = Picture::new(self.width, self.height, 3, self.grey())?.resized(width, height, how)?;
        Self::new(width, height, picture.pixels.chunks_exact(3).map(|pixel| pixel[0]).collect())
    }

    /// So many times smaller, by PIL's bicubic filter.
    pub fn shrunk(&self, factor: usize) -> Result<Self, Error> {
        let [width, height] = [self.width, self.height].map(|side| side / factor);
        let pixels =
            scaled(&self.grey(), [self.width, self.height], [width, height], FilterType::CatmullRom)?;
        Self::new(width, height, pixels.chunks_exact(3).map(|pixel| pixel[0]).collect())
    }

    fn grey(&self) -> Vec<u8> {
        self.values.iter().flat_map(|value| [*value; 3]).collect()
    }
}

/// As PIL has it (ImagingConvert, `rgb2l`).
fn luma([r, g, b]: [u8; 3]) -> u8 {
    let [r, g, b] = [r, g, b].map(u32::from);
    ((r * 19595 + g * 38470 + b * 7471 + 0x8000) >> 16) as u8
}

/// A picture's size and its pixels with what is clear of them, turned as EXIF says.
fn looked_at(name: &str, file: &[u8]) -> Result<([usize; 2], Vec<[u8; 4]>), Error> {
    let read = match file {
        [0x89, b'P', b'N', b'G', ..] => png(file),
        [0xff, 0xd8, ..] => jpeg(file),
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => webp(file),
        _ => Err("neither a PNG nor a JPEG nor a WebP".into()),
    };
    let bad = |reason| Error::Image { file: name.into(), reason };
    let (size, channels, values) = read.map_err(bad)?;
    let pixels = values.chunks_exact(channels).map(|values| match *values {
        [grey] => [grey, grey, grey, 255],
        [grey, alpha] => [grey, grey, grey, alpha],
        [r, g, b] => [r, g, b, 255],
        [r, g, b, alpha, ..] => [r, g, b, alpha],
        [] => [0; 4],
    });
    Ok(turned(orientation(file), size, &pixels.collect::<Vec<_>>()))
}

/// PIL's filter for pictures.
const LANCZOS: FilterType = FilterType::Lanczos3;

/// Pixels of three channels at another size: by columns first, then by rows.
fn scaled(
    pixels: &[u8],
    [w, h]: [usize; 2],
    [width, height]: [usize; 2],
    filter: FilterType,
) -> Result<Vec<u8>, Error> {
    let wide = along(pixels, [w, h], [width, h], filter)?;
    along(&wide, [width, h], [width, height], filter)
}

/// Pixels of three channels at another size, which is another on one side at most.
fn along(pixels: &[u8], from: [usize; 2], to: [usize; 2], filter: FilterType) -> Result<Vec<u8>, Error> {
    if from == to {
        return Ok(pixels.to_vec());
    }
    let failed =
        |e: &dyn Display| Error::Image { file: format!("{}x{}", from[0], from[1]), reason: failed(e) };
    let [from, to] = [from, to].map(|size| size.map(|side| u32::try_from(side).unwrap_or(u32::MAX)));
    let source = ImageRef::new(from[0], from[1], pixels, PixelType::U8x3).map_err(|e| failed(&e))?;
    let mut scaled = Image::new(to[0], to[1], PixelType::U8x3);
    let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(filter));
    Resizer::new().resize(&source, &mut scaled, &options).map_err(|e| failed(&e))?;
    Ok(scaled.into_vec())
}

fn failed(error: impl Display) -> String {
    format!("not readable: {}", error.to_string().lines().collect::<Vec<_>>().join(" "))
}

fn check_size([width, height]: [usize; 2]) -> Result<(), String> {
    match width.max(height) > MOST_SIDE || width * height > MOST_PIXELS {
        false => Ok(()),
        true => Err(format!(
            "{width}x{height} pixels are too many: at most {MOST_SIDE} a side and {MOST_PIXELS} in all are read: make it smaller"
        )),
    }
}

fn png(file: &[u8]) -> Result<Raw, String> {
    let mut decoder = png::Decoder::new(Cursor::new(file));
    decoder.set_transformations(png::Transformations::normalize_to_color8());
    let mut reader = decoder.read_info().map_err(failed)?;
    let size = [reader.info().width as usize, reader.info().height as usize];
    check_size(size)?;
    let mut values = vec![0; reader.output_buffer_size().ok_or("too large")?];
    let frame = reader.next_frame(&mut values).map_err(failed)?;
    values.truncate(frame.buffer_size());
    Ok((size, frame.color_type.samples(), values))
}

fn jpeg(file: &[u8]) -> Result<Raw, String> {
    check_jpeg(file)?;
    let options = DecoderOptions::default().jpeg_set_out_colorspace(ColorSpace::RGB);
    let options = options.set_max_width(usize::MAX).set_max_height(usize::MAX);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(file), options);
    decoder.decode_headers().map_err(failed)?;
    let size =
        decoder.info().map(|info| [info.width, info.height].map(usize::from)).ok_or("it has no size")?;
    check_size(size)?;
    Ok((size, 3, decoder.decode().map_err(failed)?))
}

fn webp(file: &[u8]) -> Result<Raw, String> {
    let mut decoder = WebPDecoder::new(Cursor::new(file)).map_err(failed)?;
    let (width, height) = decoder.dimensions();
    let size = [width as usize, height as usize];
    check_size(size)?;
    if decoder.is_animated() {
        return Err("a moving picture: give one that stands still".into());
    }
    let channels = if decoder.has_alpha() { 4 } else { 3 };
    let mut values = vec![0; size[0] * size[1] * channels];
    decoder.read_image(&mut values).map_err(failed)?;
    Ok((size, channels, values))
}

/// As EXIF has it, 1 to 8; 1 where nothing is said.
fn orientation(file: &[u8]) -> u32 {
    let reader = exif::Reader::new();
    let said = reader.read_from_container(&mut Cursor::new(file)).ok();
    said.and_then(|exif| exif.get_field(Tag::Orientation, In::PRIMARY)?.value.get_uint(0)).unwrap_or(1)
}

/// Rows of pixels as they are looked at.
fn turned(orientation: u32, [width, height]: [usize; 2], pixels: &[[u8; 4]]) -> ([usize; 2], Vec<[u8; 4]>) {
    let size = if (5..=8).contains(&orientation) { [height, width] } else { [width, height] };
    let (right, bottom) = (width.saturating_sub(1), height.saturating_sub(1));
    let from = |x: usize, y: usize| match orientation {
        2 => (right - x, y),
        3 => (right - x, bottom - y),
        4 => (x, bottom - y),
        5 => (y, x),
        6 => (y, bottom - x),
        7 => (right - y, bottom - x),
        8 => (right - y, x),
        _ => (x, y),
    };
    let at = |(x, y): (usize, usize)| pixels[y * width + x];
    (
        size,
        (0..size[1]).flat_map(|y| (0..size[0]).map(move |x| (x, y))).map(|(x, y)| at(from(x, y))).collect(),
    )
}

/// As A1111 lays pictures over the background that its settings begin with.
fn over_white([r, g, b, alpha]: [u8; 4]) -> [u8; 3] {
    let alpha = u32::from(alpha);
    [r, g, b].map(|value| ((u32::from(value) * alpha + 255 * (255 - alpha) + 127) / 255) as u8)
}

/// Refuses a JPEG of four inks, whose colours are a printer's, and one whose end is missing, which decoders would make up.
fn check_jpeg(file: &[u8]) -> Result<(), &'static str> {
    const CUT: &str = "the file ends before the picture does: it is cut off";
    let mut rest = file.get(2..).unwrap_or_default();
    loop {
        let start = rest.iter().position(|byte| *byte != 0xff).filter(|fill| *fill > 0).ok_or(CUT)?;
        let marker = rest[start];
        rest = &rest[start + 1..];
        if marker == 0x01 || (0xd0..=0xd8).contains(&marker) {
            continue;
        }
        let length = rest.first_chunk().map_or(0, |length| usize::from(u16::from_be_bytes(*length)));
        let segment = rest.get(..length.max(2)).ok_or(CUT)?;
        rest = &rest[segment.len()..];
        match marker {
            // Of the start of a frame the eighth byte says how many components there are.
            0xc0..=0xcf if ![0xc4, 0xc8, 0xcc].contains(&marker) && segment.get(7) == Some(&4) => {
                return Err("a JPEG in CMYK, a printer's colours: save it in RGB");
            }
            // In what follows a scan's start 0xff 0xd9 is the end and nothing else.
            0xda => return if rest.windows(2).any(|pair| pair == [0xff, 0xd9]) { Ok(()) } else { Err(CUT) },
            _ => {}
        }
    }
}
