//! Kernels that notice when they index beyond what is bound.

/// The text of a kernel in which each index into one of the `bound` arrays is looked at: one beyond the array is counted in
/// word `WATCHED` of `strays`, a buffer of group 1. What is read or written stays the same.
pub fn watched(text: &str, bound: &[&str]) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    rewrite(text, bound, &mut out);
    out.push_str(
        "
@group(1) @binding(0) var<storage, read_write> strays: array<atomic<u32>>;
override WATCHED: u32 = 0u;
fn watch(at: u32, length: u32) -> u32 {
    if (at >= length) {
        atomicAdd(&strays[WATCHED], 1u);
    }
    return at;
}
",
    );
    out
}

fn rewrite(text: &str, bound: &[&str], out: &mut String) {
    let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let mut rest = text;
    while let Some(begin) = rest.find(word) {
        let (before, from) = rest.split_at(begin);
        let (name, after) = from.split_at(from.find(|c| !word(c)).unwrap_or(from.len()));
        out.push_str(before);
        out.push_str(name);
        rest = after;
        // Not a comment's words, nor a member of the name.
        let comment = out.rsplit('\n').next().is_some_and(|line| line.contains("//"));
        if !comment && !before.ends_with('.') && bound.contains(&name) && after.starts_with('[') {
            let end = closing(after);
            out.push_str("[watch(");
            rewrite(&after[1..end], bound, out);
            out.push_str(", arrayLength(&");
            out.push_str(name);
            out.push_str("))]");
            rest = &after[end + 1..];
        }
    }
    out.push_str(rest);
}

/// Where the bracket ends that a text begins with.
fn closing(text: &str) -> usize {
    let mut depth = 0usize;
    for (at, c) in text.char_indices() {
        match c {
            '[' => depth += 1,
            ']' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return at;
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn indices_of_what_is_bound_are_looked_at_wherever_they_stand() {
        let text = "let a = x[ids[i] + 1u] + p.x[0] + xs[0]; // x[0]\ny[n] = a;";
        let found = watched(text, &["x", "y", "ids"]);
        let looked = "let a = x[watch(ids[watch(i, arrayLength(&ids))] + 1u, arrayLength(&x))] + p.x[0] + xs[0]; // x[0]\n\
            y[watch(n, arrayLength(&y))] = a;\n";
        assert!(found.starts_with(looked), "{found}");
    }
}
