//! The few directives that WGSL lacks. Shared by the build script, which validates every listed variant,
//! and the library, which expands a variant when a pipeline is made.
//!
//! * `#import name` pastes `shaders/shared/name.wgsl` once.
//! * `#ifdef X`, `#ifndef X`, `#elifdef X`, `#else`, `#endif` choose lines by define; of several names any will do.
//! * `#for i in 0..N` … `#endfor` repeats lines with `$i` replaced; bounds are numbers, defines or constants. Registers
//!   stay registers this way: naga emits loops that drivers do not always unroll.
//! * `#variants {…} {…}` says which variants a shader has, a choice of defines from each group; `#set name` … `#endset`
//!   names a group's choices, one a line. Both are the build script's, and leave nothing behind.
//! * `$next` is 1, then 2, and so on: for numbers of bindings, where defines decide which there are.
//!
//! A define with a value is also a WGSL `const NAME: u32`, so the body stays plain WGSL; within names and types, where
//! a constant cannot stand, `$NAME` is replaced by the value.

use std::collections::BTreeMap;

/// Expands `source` under `defines` (`NAME` or `NAME=VALUE`); `shared` finds an imported file by name.
pub fn expand<'a>(
    source: &str,
    defines: &[&str],
    shared: &dyn Fn(&str) -> Option<&'a str>,
) -> Result<String, String> {
    let mut state = State {
        defines: BTreeMap::new(),
        constants: BTreeMap::new(),
        imported: Vec::new(),
        next: 1,
        out: String::new(),
        shared,
    };
    for define in defines {
        let (name, value) = define.split_once('=').unwrap_or((define, ""));
        state.defines.insert(name.to_string(), value.to_string());
        if let Ok(number) = value.parse::<u32>() {
            state.out.push_str(&format!("const {name}: u32 = {number}u;\n"));
        }
    }
    // `enable` must come before everything else in a module.
    for (define, extension) in [("ENABLE_F16", "f16"), ("COOP", "wgpu_cooperative_matrix")] {
        if state.defines.contains_key(define) {
            state.out.insert_str(0, &format!("enable {extension};\n"));
        }
    }
    let lines: Vec<&str> = source.lines().collect();
    let values = state.defines.iter().filter_map(|(n, v)| Some((n.clone(), v.parse().ok()?)));
    let mut scope: Vec<(String, u32)> = values.collect();
    state.block(&lines, &mut scope)?;
    Ok(state.out)
}

struct State<'a, 's> {
    defines: BTreeMap<String, String>,
    /// Constants of the text so far, where they are plain numbers.
    constants: BTreeMap<String, u32>,
    imported: Vec<String>,
    /// What `$next` is.
    next: u32,
    out: String,
    shared: &'s dyn Fn(&str) -> Option<&'a str>,
}

impl State<'_, '_> {
    /// Emits `lines`, with `$name` of each loop variable in scope replaced.
    fn block(&mut self, lines: &[&str], scope: &mut Vec<(String, u32)>) -> Result<(), String> {
        let mut at = 0;
        while at < lines.len() {
            let line = lines[at].trim();
            let Some(directive) = line.strip_prefix('#') else {
                self.emit(lines[at], scope);
                at += 1;
                continue;
            };
            let (word, rest) = directive.split_once(char::is_whitespace).unwrap_or((directive, ""));
            let rest = rest.trim();
            match word {
                "import" => {
                    if !self.imported.iter().any(|n| n == rest) {
                        self.imported.push(rest.to_string());
                        let text = (self.shared)(rest).ok_or(format!("no shared/{rest}.wgsl"))?;
                        let inner: Vec<&str> = text.lines().collect();
                        self.block(&inner, scope)?;
                    }
                    at += 1;
                }
                "ifdef" | "ifndef" => {
                    let (parts, end) = branches(lines, at)?;
                    for (i, &from) in parts.iter().enumerate() {
                        let to = parts.get(i + 1).copied().unwrap_or(end);
                        if self.is_taken(lines[from]) {
                            self.block(&lines[from + 1..to], scope)?;
                            break;
                        }
                    }
                    at = end + 1;
                }
                "variants" => at += 1,
                "set" => at = matching(lines, at, "set", "endset")? + 1,
                "for" => {
                    let end = matching(lines, at, "for", "endfor")?;
                    let (name, bounds) =
                        rest.split_once(" in ").ok_or(format!("`#for i in a..b`, not `{line}`"))?;
                    let (from, to) =
                        bounds.split_once("..").ok_or(format!("bounds `a..b`, not `{bounds}`"))?;
                    for i in self.number(from)?..self.number(to)? {
                        scope.push((name.trim().to_string(), i));
                        self.block(&lines[at + 1..end], scope)?;
                        scope.pop();
                    }
                    at = end + 1;
                }
                _ => return Err(format!("unknown directive `{line}`")),
            }
        }
        Ok(())
    }

    /// Whether the lines below a conditional, `#elifdef` or `#else` are taken where none above them were.
    fn is_taken(&self, line: &str) -> bool {
        let (word, define) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let defined = define.split_whitespace().any(|define| self.defines.contains_key(define));
        match word {
            "#ifdef" | "#elifdef" => defined,
            "#ifndef" => !defined,
            _ => true,
        }
    }

    fn emit(&mut self, line: &str, scope: &[(String, u32)]) {
        // Comments say why to people; the compiler and the page need not carry them.
        let code = line.split("//").next().unwrap_or_default().trim();
        if code.is_empty() {
            return;
        }
        if let Some((name, value)) = constant(code) {
            self.constants.insert(name.to_string(), value);
        }
        let mut text = code.to_string();
        if text.contains("$next") {
            text = text.replace("$next", &self.next.to_string());
            self.next += 1;
        }
        for (name, value) in scope.iter().rev() {
            text = text.replace(&format!("${name}"), &value.to_string());
        }
        self.out.push_str(&text);
        self.out.push('\n');
    }

    fn number(&self, text: &str) -> Result<u32, String> {
        let text = text.trim();
        if let Some(constant) = self.constants.get(text) {
            return Ok(*constant);
        }
        let text = self.defines.get(text).map_or(text, String::as_str);
        text.parse()
            .map_err(|_| format!("`{text}` is neither a number, a constant nor a define with a value"))
    }
}

/// A line `const NAME: u32 = 8u;`.
fn constant(code: &str) -> Option<(&str, u32)> {
    let (name, value) = code.strip_prefix("const ")?.strip_suffix("u;")?.split_once(": u32 = ")?;
    Some((name, value.parse().ok()?))
}

/// Where the conditional at `at`, its `#elifdef`s and its `#else` stand, and its `#endif`.
fn branches(lines: &[&str], at: usize) -> Result<(Vec<usize>, usize), String> {
    let (mut depth, mut parts) = (0, Vec::new());
    for (i, line) in lines.iter().enumerate().skip(at) {
        let line = line.trim();
        if line.starts_with("#ifdef") || line.starts_with("#ifndef") {
            depth += 1;
            if depth == 1 {
                parts.push(i);
            }
        } else if (line == "#else" || line.starts_with("#elifdef")) && depth == 1 {
            parts.push(i);
        } else if line == "#endif" {
            depth -= 1;
            if depth == 0 {
                return Ok((parts, i));
            }
        }
    }
    Err(format!("`{}` has no #endif", lines[at].trim()))
}

fn matching(lines: &[&str], at: usize, open: &str, close: &str) -> Result<usize, String> {
    let mut depth = 0;
    for (i, line) in lines.iter().enumerate().skip(at) {
        let word = line.trim().strip_prefix('#').and_then(|l| l.split_whitespace().next());
        if word == Some(open) {
            depth += 1;
        } else if word == Some(close) {
            depth -= 1;
            if depth == 0 {
                return Ok(i);
            }
        }
    }
    Err(format!("`{}` has no #{close}", lines[at].trim()))
}
