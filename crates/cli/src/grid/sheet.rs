//! Pictures in rows and columns, with labels.

use calotype::Picture;
use noto_sans_mono_bitmap::{FontWeight, RasterHeight, get_raster, get_raster_width};

const WEIGHT: FontWeight = FontWeight::Regular;
const HEIGHT: RasterHeight = RasterHeight::Size16;

/// Pixels of a line of text.
const LINE: usize = HEIGHT.val() + 4;

/// Pixels around pictures and words.
const GAP: usize = 8;

/// Characters beside a row, before its label goes on in the next line.
const BESIDE: usize = 24;

/// What stands above columns, beside rows and over the parts of a sheet; one without words where there is no such axis.
pub struct Labels {
    pub columns: Vec<String>,
    pub rows: Vec<String>,
    pub parts: Vec<String>,
}

/// Where things stand, in pixels.
struct Layout {
    /// Of a picture.
    cell: [usize; 2],
    /// Of a row's label.
    beside: usize,
    /// Of the columns' labels, and of a part's.
    above: usize,
    title: usize,
}

impl Labels {
    fn layout(&self, pictures: &[Picture]) -> Layout {
        let longest = |texts: &[String]| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0);
        let cell = [0, 1].map(|side| pictures.iter().map(|p| [p.width, p.height][side]).max().unwrap_or(0));
        let lines = |texts: &[String], width| {
            let lines = texts.iter().map(|text| wrapped(text, width).len()).max().unwrap_or(0);
            if longest(texts) == 0 { 0 } else { lines * LINE + GAP }
        };
        let beside = match longest(&self.rows).min(BESIDE) {
            0 => 0,
            characters => characters * letter() + GAP,
        };
        let row = beside + self.columns.len() * (cell[0] + GAP);
        Layout { cell, beside, above: lines(&self.columns, cell[0]), title: lines(&self.parts, row) }
    }

    /// Width and height of the sheet.
    pub fn size(&self, pictures: &[Picture]) -> [usize; 2] {
        let Layout { cell: [w, h], beside, above, title } = self.layout(pictures);
        let part = title + above + self.rows.len() * (h + GAP);
        [GAP + beside + self.columns.len() * (w + GAP), GAP + self.parts.len() * part]
    }

    /// All of them as one picture: `pictures` part by part, and of a part row by row. Smaller ones stand at the top left of
    /// their place.
    pub fn draw(&self, pictures: &[Picture]) -> Picture {
        let Layout { cell: [w, h], beside, above, title } = self.layout(pictures);
        let [width, height] = self.size(pictures);
        let mut sheet = Picture::plain(width, height, 255);
        let mut pictures = pictures.iter();
        let mut top = GAP;
        for part in &self.parts {
            write(&mut sheet, part, [GAP, top], width - 2 * GAP);
            top += title;
            for (at, column) in self.columns.iter().enumerate() {
                write(&mut sheet, column, [GAP + beside + at * (w + GAP), top], w);
            }
            top += above;
            for row in &self.rows {
                write(&mut sheet, row, [GAP, top], beside.saturating_sub(GAP));
                for (at, picture) in (0..self.columns.len()).zip(&mut pictures) {
                    sheet.put(picture, [GAP + beside + at * (w + GAP), top]);
                }
                top += h + GAP;
            }
        }
        sheet
    }
}

fn letter() -> usize {
    get_raster_width(WEIGHT, HEIGHT)
}

/// A text in lines of so many pixels, broken between words where it can be.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let most = (width / letter()).max(1);
    let mut lines = vec![String::new()];
    for word in text.split_inclusive(' ') {
        let mut word: Vec<char> = word.chars().collect();
        while !word.is_empty() {
            let line = lines.last().map_or(0, |line| line.chars().count());
            let fits = most - line.min(most);
            let needed = word.iter().rposition(|c| *c != ' ').map_or(0, |at| at + 1);
            if needed > fits && line > 0 {
                lines.push(String::new());
                continue;
            }
            let rest = word.split_off(word.len().min(fits));
            if let Some(line) = lines.last_mut() {
                line.extend(word);
            }
            word = if rest.iter().all(|c| *c == ' ') { Vec::new() } else { rest };
        }
    }
    lines
}

/// Black on white, from the top left; signs that the font has not become question marks.
fn write(sheet: &mut Picture, text: &str, [left, top]: [usize; 2], width: usize) {
    for (row, line) in wrapped(text, width).iter().enumerate() {
        for (column, character) in line.chars().enumerate() {
            let raster = get_raster(character, WEIGHT, HEIGHT).or_else(|| get_raster('?', WEIGHT, HEIGHT));
            let Some(raster) = raster else { continue };
            let corner = [left + column * letter(), top + row * LINE];
            for (y, values) in raster.rows().enumerate() {
                for (x, ink) in values.iter().enumerate() {
                    let (x, y) = (corner[0] + x, corner[1] + y);
                    if x < sheet.width && y < sheet.height {
                        sheet.pixels[3 * (y * sheet.width + x)..][..3].fill(255 - ink);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(columns: &[&str], rows: &[&str], parts: &[&str]) -> Labels {
        let own = |texts: &[&str]| texts.iter().map(|text| text.to_string()).collect();
        Labels { columns: own(columns), rows: own(rows), parts: own(parts) }
    }

    #[test]
    fn texts_break_between_words() {
        let wide = |n: usize| n * letter();
        assert_eq!(wrapped("steps 20", wide(8)), ["steps 20"]);
        assert_eq!(wrapped("a cat by the sea", wide(8)), ["a cat by ", "the sea"].map(str::trim_end));
        assert_eq!(wrapped("dpm++_2m_sde", wide(5)), ["dpm++", "_2m_s", "de"]);
        assert_eq!(wrapped("", wide(5)), [""]);
    }

    #[test]
    fn each_picture_has_its_place_and_words_have_theirs() {
        let labels = labels(&["a", "b"], &["row"], &["one", "two"]);
        let pictures: Vec<Picture> = (0..4).map(|at| Picture::plain(16, 12, 10 * at)).collect();
        let sheet = labels.draw(&pictures);
        assert_eq!([sheet.width, sheet.height], labels.size(&pictures));
        assert_eq!(sheet.pixels.len(), 3 * sheet.width * sheet.height);
        let count = |value| sheet.pixels.iter().filter(|v| **v == value).count();
        for value in [0, 10, 20, 30] {
            assert!(count(value) >= 3 * 16 * 12, "{value}");
        }
        let bare = super::tests::labels(&["", ""], &[""], &["", ""]).draw(&pictures);
        assert_eq!([bare.width, bare.height], [3 * GAP + 32, 3 * GAP + 24]);
    }
}
