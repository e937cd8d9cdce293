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

    /// The ids of the vectors of the word of this name.
    fn named(&self, name: &str) -> Option<Vec<u32>>;
}

/// There are none.
impl Added for () {
    fn at(&self, _: &[u32]) -> Option<(Vec<u32>, usize)> {
        None
    }

    fn named(&self, _: &str) -> Option<Vec<u32>> {
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

/// What ComfyUI calls an embedding by.
const NAMED: &str = "embedding:";

/// Pieces in chunks by ComfyUI's rule: words between blanks, of which those of fewer than eight tokens stay whole. A word
/// `embedding:NAME` is that word's vectors; commas behind the name are words of their own.
pub fn by_pieces<E>(
    pieces: &[Weighted],
    size: usize,
    added: &dyn Added,
    mut ids: impl FnMut(&str) -> Result<Vec<u32>, E>,
) -> Result<Vec<Chunk>, E> {
    let mut chunks = vec![Chunk::new()];
    for piece in pieces {
        let mut put = |group: Vec<u32>| fill(&mut chunks, size, &group, piece.weight as f32);
        for word in piece.text.split([' ', '\n']).filter(|word| !word.is_empty()) {
            match word.strip_prefix(NAMED).and_then(|name| by_name(added, name)) {
                Some((vectors, "")) => put(vectors),
                Some((vectors, rest)) => {
                    put(vectors);
                    put(ids(rest)?);
                }
                None => put(ids(word)?),
            }
        }
    }
    Ok(chunks)
}

/// The vectors of a name, and the commas behind it.
fn by_name<'a>(added: &dyn Added, name: &'a str) -> Option<(Vec<u32>, &'a str)> {
    let whole = added.named(name).map(|ids| (ids, ""));
    let bare = name.trim_end_matches(',');
    whole.or_else(|| Some((added.named(bare)?, &name[bare.len()..])))
}

/// Puts a word's tokens where there is room for them: into the chunk that is begun, or a new one; what is large is cut.
fn fill(chunks: &mut Vec<Chunk>, size: usize, mut group: &[u32], weight: f32) {
    const LARGE: usize = 8;
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
        let (now, later) = group.split_at(taken);
        last.extend(now.iter().map(|&id| Token { id, weight }));
        group = later;
        if !fits {
            chunks.push(Chunk::new());
        }
    }
}
