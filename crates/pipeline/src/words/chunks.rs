//! Tokens in chunks as long as the text encoder reads at once: A1111's rule (stable-diffusion-webui 1.10,
//! modules/sd_hijack_clip.py `tokenize_line`) and ComfyUI's (comfy/sd1_clip.py `tokenize_with_weights`).

use super::Weighted;

/// A token and its weight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Token {
    /// Its row in the text encoder's table.
    pub id: u32,
    /// 1 where nothing is said.
    pub weight: f32,
}

/// What the text encoder reads at once, without start, end and padding.
pub type Chunk = Vec<Token>;

/// Words that were added with vectors of their own.
pub trait Added {
    /// The ids of the vectors of the word that begins at a place of these tokens, and how many tokens it takes there. The
    /// longest word wins, and may end within another.
    fn at(&self, ids: &[u32]) -> Option<(Vec<u32>, usize)>;
}

/// There are none.
impl Added for () {
    fn at(&self, _: &[u32]) -> Option<(Vec<u32>, usize)> {
        None
    }
}

/// How tokens are divided.
#[derive(Clone, Copy, Debug)]
pub struct ChunkRules {
    /// Tokens of a chunk: CLIP's 77 less start and end.
    pub size: usize,
    /// The comma's token, where the vocabulary has one.
    pub comma: Option<u32>,
    /// A full chunk ends with its last comma where at most so many tokens follow that (A1111's setting
    /// "comma_padding_backtrack", 20 unless changed). 0 for never.
    pub backtrack: usize,
}

impl ChunkRules {
    /// A1111's defaults.
    pub fn new(size: usize, comma: Option<u32>) -> Self {
        Self { size, comma, backtrack: 20 }
    }
}

/// Pieces in chunks by A1111's rule; at least one chunk. BREAK ends one, even an empty one; one that would stay empty at the
/// end is not begun. Vectors of one word stay together, and move together with what follows a comma (where the web UI
/// leaves them at the places they had in the chunk before).
pub fn by_tokens<E>(
    pieces: &[Weighted],
    rules: ChunkRules,
    added: &dyn Added,
    mut ids: impl FnMut(&str) -> Result<Vec<u32>, E>,
) -> Result<Vec<Chunk>, E> {
    let (mut chunks, mut chunk, mut comma) = (Vec::new(), Chunk::new(), None);
    for piece in pieces {
        if piece.is_break() {
            chunks.push(std::mem::take(&mut chunk));
            comma = None;
            continue;
        }
        let (ids, weight) = (ids(&piece.text)?, piece.weight as f32);
        let mut at = 0;
        while at < ids.len() {
            if Some(ids[at]) == rules.comma {
                comma = Some(chunk.len());
            } else if let Some(last) = comma
                && chunk.len() == rules.size
                && rules.backtrack != 0
                && chunk.len() - last <= rules.backtrack
            {
                let moved = chunk.split_off(last + 1);
                chunks.push(std::mem::replace(&mut chunk, moved));
                comma = None;
            }
            if chunk.len() >= rules.size {
                chunks.push(std::mem::take(&mut chunk));
                comma = None;
            }
            let (vectors, taken) = added.at(&ids[at..]).unwrap_or_else(|| (vec![ids[at]], 1));
            if chunk.len() + vectors.len() > rules.size {
                chunks.push(std::mem::take(&mut chunk));
                comma = None;
            }
            chunk.extend(vectors.into_iter().map(|id| Token { id, weight }));
            at += taken;
        }
    }
    if !chunk.is_empty() || chunks.is_empty() {
        chunks.push(chunk);
    }
    Ok(chunks)
}

/// Pieces in chunks by ComfyUI's rule: words between blanks, of which those of fewer than eight tokens stay whole.
pub fn by_pieces<E>(
    pieces: &[Weighted],
    size: usize,
    mut ids: impl FnMut(&str) -> Result<Vec<u32>, E>,
) -> Result<Vec<Chunk>, E> {
    const LARGE: usize = 8;
    let mut chunks = vec![Chunk::new()];
    for piece in pieces {
        for word in piece.text.split([' ', '\n']).filter(|word| !word.is_empty()) {
            let mut group = ids(word)?;
            let large = group.len() >= LARGE;
            while !group.is_empty() {
                let last = chunks.last_mut().expect("there is one");
                let room = size - last.len();
                let fits = group.len() <= room;
                let taken = if fits {
                    group.len()
                } else if large {
                    room
                } else {
                    0
                };
                let token = |id| Token { id, weight: piece.weight as f32 };
                last.extend(group.drain(..taken).map(token));
                if !fits {
                    chunks.push(Chunk::new());
                }
            }
        }
    }
    Ok(chunks)
}
