//! A1111's prompts that change on the way: `[from:to:0.5]`, `[a|b]` (stable-diffusion-webui 1.10, modules/prompt_parser.py
//! `get_learned_conditioning_prompt_schedules`, whose grammar this is).

/// How many evaluations a pass has, and by which rule they are counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeline {
    /// The pass's evaluations: as A1111 counts, twice the steps for samplers of second order.
    pub steps: usize,
    /// The first pass's, where this is the second one (hires), which goes on counting from there.
    pub before: Option<usize>,
    /// The rule of before 1.6: a number below 1 is a share, any other a step, and a second pass counts anew.
    pub old: bool,
}

impl Timeline {
    /// A pass by itself.
    pub fn of(steps: usize) -> Self {
        Self { steps, before: None, old: false }
    }

    /// Up to which step the text before stands, for a number as it was written; 0 or less where it never does.
    fn when(self, number: &str) -> i64 {
        let (steps, value) = (self.steps as f64, number.parse::<f64>().unwrap_or(0.0));
        let shift = self.before.filter(|_| !self.old).map_or([0.0; 2], |before| [before as f64, 1.0]);
        let share = if self.old { value < 1.0 } else { number.contains('.') };
        let value = match share {
            true => (value - shift[1]) * steps,
            false => value - shift[0],
        };
        // As Python's int, towards zero.
        (value.trunc() as i64).min(self.steps as i64)
    }
}

enum Node {
    Text(String),
    Edit { from: Vec<Node>, to: Vec<Node>, when: String },
    Alternate(Vec<Vec<Node>>),
}

/// The texts that a prompt is, one after another, each with the step up to which it stands. Evaluations count from 0: text
/// i serves those up to its step and with it, from where the one before ended. A prompt that is
/// not of the grammar is one text, as it stands.
pub fn timeline(prompt: &str, passing: Timeline) -> Vec<(usize, String)> {
    let chars: Vec<char> = prompt.chars().collect();
    let closed = closed(&chars);
    let Some(nodes) = (Reader { chars: &chars, closed: &closed, at: 0, depth: 0 }).all() else {
        return vec![(passing.steps, prompt.into())];
    };
    let mut ends = vec![passing.steps];
    collect(&nodes, passing, &mut ends);
    ends.sort_unstable();
    ends.dedup();
    let text = |step: usize| {
        let mut text = String::new();
        write(&nodes, passing, step, &mut text);
        (step, text)
    };
    ends.into_iter().map(text).collect()
}

/// The steps at which something changes.
fn collect(nodes: &[Node], passing: Timeline, ends: &mut Vec<usize>) {
    for node in nodes {
        match node {
            Node::Text(_) => {}
            Node::Edit { from, to, when } => {
                collect(from, passing, ends);
                collect(to, passing, ends);
                ends.extend(usize::try_from(passing.when(when)).ok().filter(|end| *end >= 1));
            }
            Node::Alternate(options) => {
                options.iter().for_each(|option| collect(option, passing, ends));
                ends.extend(1..=passing.steps);
            }
        }
    }
}

fn write(nodes: &[Node], passing: Timeline, step: usize, text: &mut String) {
    for node in nodes {
        match node {
            Node::Text(plain) => text.push_str(plain),
            Node::Edit { from, to, when } => {
                let before = step as i64 <= passing.when(when);
                write(if before { from } else { to }, passing, step, text);
            }
            Node::Alternate(options) => {
                write(&options[(step + options.len() - 1) % options.len()], passing, step, text);
            }
        }
    }
}

/// Brackets deeper than this are no edits.
const DEEPEST: usize = 50;

/// The brackets that are closed with nothing but closed ones between.
fn closed(chars: &[char]) -> Vec<bool> {
    let (mut closed, mut open, mut escaped) = (vec![false; chars.len()], Vec::new(), false);
    for (at, mark) in chars.iter().enumerate() {
        match mark {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '[' | '(' => open.push(at),
            ']' | ')' => match open.pop().filter(|start| (chars[*start] == '[') == (*mark == ']')) {
                Some(start) => closed[start] = true,
                None => open.clear(),
            },
            _ => {}
        }
    }
    closed
}

struct Reader<'a> {
    chars: &'a [char],
    closed: &'a [bool],
    at: usize,
    depth: usize,
}

impl Reader<'_> {
    fn next(&self) -> Option<char> {
        self.chars.get(self.at).copied()
    }

    fn take(&mut self, mark: char) -> Option<()> {
        (self.next() == Some(mark)).then(|| self.at += 1)
    }

    /// The whole prompt: brackets and colons that make nothing may stand outside of all others.
    fn all(mut self) -> Option<Vec<Node>> {
        let mut nodes = Vec::new();
        loop {
            nodes.extend(self.prompt()?);
            match self.next() {
                None => return Some(nodes),
                Some(mark) if "[]():".contains(mark) => {
                    nodes.push(Node::Text(mark.into()));
                    self.at += 1;
                }
                Some(_) => return None,
            }
        }
    }

    /// What may stand in brackets, up to what may not. None where a backslash has nothing behind it.
    fn prompt(&mut self) -> Option<Vec<Node>> {
        let mut nodes = Vec::new();
        while let Some(mark) = self.next() {
            match mark {
                '[' | '(' => {
                    let start = self.at;
                    self.depth += 1;
                    let found = (self.closed[start] && self.depth <= DEEPEST)
                        .then(|| if mark == '[' { self.square() } else { self.round() })
                        .flatten();
                    self.depth -= 1;
                    let Some(found) = found else {
                        self.at = start;
                        return Some(nodes);
                    };
                    nodes.extend(found);
                }
                ']' | ')' | ':' | '|' => return Some(nodes),
                _ => nodes.push(Node::Text(self.plain()?)),
            }
        }
        Some(nodes)
    }

    fn plain(&mut self) -> Option<String> {
        let mut text = String::new();
        while let Some(mark) = self.next().filter(|mark| !"[]():|".contains(*mark)) {
            text.push(mark);
            self.at += 1;
            if mark == '\\' {
                text.push(self.next().filter(|next| *next != '\n')?);
                self.at += 1;
            }
        }
        Some(text)
    }

    /// `(a)` or `(a:b)`, whose marks the weights' rules read later.
    fn round(&mut self) -> Option<Vec<Node>> {
        self.take('(')?;
        let mut nodes = vec![Node::Text("(".into())];
        nodes.extend(self.prompt()?);
        if self.take(':').is_some() {
            nodes.push(Node::Text(":".into()));
            nodes.extend(self.prompt()?);
        }
        self.take(')')?;
        nodes.push(Node::Text(")".into()));
        Some(nodes)
    }

    /// `[a]`, `[a:1]`, `[a:b:1]`, `[a|b]`.
    fn square(&mut self) -> Option<Vec<Node>> {
        self.take('[')?;
        let first = self.prompt()?;
        match self.next()? {
            ']' => {
                self.at += 1;
                let open = [Node::Text("[".into())];
                Some(open.into_iter().chain(first).chain([Node::Text("]".into())]).collect())
            }
            ':' => {
                if let Some(when) = self.when() {
                    return Some(vec![Node::Edit { from: Vec::new(), to: first, when }]);
                }
                self.take(':')?;
                let to = self.prompt()?;
                Some(vec![Node::Edit { from: first, to, when: self.when()? }])
            }
            '|' => {
                let mut options = vec![first];
                while self.take('|').is_some() {
                    options.push(self.prompt()?);
                }
                self.take(']')?;
                Some(vec![Node::Alternate(options)])
            }
            _ => None,
        }
    }

    /// `: 1.5 ]`; nothing is taken where it is not there.
    fn when(&mut self) -> Option<String> {
        let rest = &self.chars[self.at..];
        let inside = rest.strip_prefix(&[':'])?;
        let end =
            inside.iter().position(|c| !(c.is_ascii_digit() || c.is_whitespace() || "+-.eE".contains(*c)))?;
        let number: String = inside[..end].iter().collect();
        let number = number.trim();
        number.parse::<f64>().ok().filter(|_| inside[end] == ']')?;
        self.at += end + 2;
        Some(number.into())
    }
}
