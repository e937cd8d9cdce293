//! No module of a crate uses, by however long a way, one that uses it.

use super::{root, visit};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// Modules of a crate by their path in it (`lower`, `ops::matmul`), each with those that it uses. A folder's own file uses the
/// files in the folder, whose use of it is no circle: they are one thing. The crate's root is nobody's.
type Uses = BTreeMap<String, BTreeSet<String>>;

/// Circles that stand.
const STANDING: &[(&str, &[&str])] = &[
    // What is known of a device names the function by which plain code tells its scratch, op by op.
    ("crates/graph", &["caps", "host", "launch", "ops"]),
];

#[test]
fn modules_use_each_other_in_no_circle() {
    let mut wrong = Vec::new();
    let crates = std::fs::read_dir(root().join("crates")).unwrap().map(|entry| entry.unwrap().path());
    for folder in crates.chain([root()]) {
        let uses = uses(&folder.join("src"));
        let name = folder.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/");
        let standing = STANDING.iter().find(|(of, _)| *of == name).map_or(&[][..], |(_, modules)| modules);
        let circled: Vec<&String> =
            uses.keys().filter(|module| reached(&uses, module).contains(module.as_str())).collect();
        let new = circled.iter().filter(|module| !standing.iter().any(|known| is_in(module, known)));
        wrong.extend(new.map(|module| {
            let back = uses[*module].iter().filter(|used| reached(&uses, used).contains(module.as_str()));
            let back = back.cloned().collect::<Vec<_>>().join(", ");
            format!("{name}: {module} uses {back}, which uses it again")
        }));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn circles_are_seen() {
    let folder = tempfile::tempdir().unwrap();
    let put = |name: &str, text: &str| {
        let path = folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    };
    put("lib.rs", "mod a;\nmod b;\nmod c;\npub use c::Thing;\n");
    put("a.rs", "use crate::{\n    b::Deep,\n    c::{self, Thing as That},\n};\n");
    put("b/mod.rs", "mod d;\npub use d::Deep;\n");
    put("b/d.rs", "use super::super::c;\nuse super::Other;\n// use crate::a;\n");
    put("c.rs", "fn f() {}\n#[cfg(test)]\nmod tests { use crate::a; }\n");
    let found = uses(folder.path());
    assert_eq!(found["a"], ["b", "c"].map(String::from).into());
    assert_eq!(found["b"], ["b::d"].map(String::from).into());
    assert_eq!(found["b::d"], ["c"].map(String::from).into());
    assert!(found.keys().all(|module| !reached(&found, module).contains(module.as_str())));
    put("c.rs", "fn f(at: &crate::a::At) {}\n");
    let found = uses(folder.path());
    assert!(reached(&found, "a").contains("a") && reached(&found, "c").contains("c"));
    // By way of what the root shows of others.
    put("c.rs", "");
    put("b/d.rs", "use crate::Thing;\n");
    assert!(uses(folder.path())["b::d"].contains("c"));
}

/// All that a module uses, and what that uses.
fn reached<'a>(uses: &'a Uses, module: &'a str) -> BTreeSet<&'a str> {
    let (mut found, mut next) = (BTreeSet::new(), vec![module]);
    while let Some(module) = next.pop() {
        let used = uses.get(module).into_iter().flatten();
        next.extend(used.map(String::as_str).filter(|used| found.insert(*used)));
    }
    found
}

fn uses(source: &Path) -> Uses {
    let mut texts = BTreeMap::new();
    visit(source, &mut |path| {
        if path.extension().is_some_and(|e| e == "rs") {
            let name =
                path.strip_prefix(source).unwrap().with_extension("").to_string_lossy().replace('\\', "/");
            let name = name.trim_end_matches("/mod").replace('/', "::");
            let name = if ["lib", "main"].contains(&&*name) { String::new() } else { name };
            let text = std::fs::read_to_string(path).unwrap();
            // Tests may build what they test with whatever there is.
            let code = text.split("#[cfg(test)]").next().unwrap_or_default();
            texts.insert(
                name,
                code.lines()
                    .map(|line| line.split("//").next().unwrap_or_default())
                    .collect::<Vec<_>>()
                    .join("\n"),
            );
        }
    });
    let shown = texts.get("").map_or_else(Vec::new, |root| paths("", root, &|_| true));
    let shown: BTreeMap<String, String> = shown
        .into_iter()
        .filter_map(|path| {
            path.rsplit_once("::").map(|(module, name)| (name.to_string(), module.to_string()))
        })
        .collect();
    let module_of = |path: &str| -> Option<String> {
        let first = path.split("::").next().unwrap_or_default();
        let mut path = if texts.contains_key(first) { path } else { shown.get(first)?.as_str() };
        while !texts.contains_key(path) {
            path = path.rsplit_once("::")?.0;
        }
        Some(path.to_string())
    };
    let inward = |path: &str| ["crate", "super"].iter().any(|from| path.starts_with(from));
    let mut uses = Uses::new();
    for (name, text) in texts.iter().filter(|(name, _)| !name.is_empty() && !name.ends_with("tests")) {
        let used = paths(name, text, &inward);
        let used = used.iter().filter_map(|path| module_of(path));
        uses.entry(name.clone()).or_default().extend(used.filter(|to| !to.is_empty() && !is_in(name, to)));
        if let Some((folder, _)) = name.rsplit_once("::") {
            uses.entry(folder.into()).or_default().insert(name.clone());
        }
    }
    uses
}

/// Whether a module is another, or lies in its folder.
fn is_in(module: &str, folder: &str) -> bool {
    module.strip_prefix(folder).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The paths within the crate that a module's code names, from the crate's root: those that `wanted` takes as they stand.
fn paths(module: &str, code: &str, wanted: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    let mut rest = code;
    while let Some((before, after)) = rest.split_once("use ") {
        let end = after.find(';').unwrap_or(after.len());
        if before.ends_with(char::is_whitespace) || before.is_empty() {
            expand("", &after[..end], &mut found);
        }
        rest = &after[end..];
    }
    for from in ["crate::", "super::"] {
        for (at, _) in code.match_indices(from) {
            let path = &code[at..];
            let end = path.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(path.len());
            found.push(path[..end].trim_end_matches(':').to_string());
        }
    }
    found.retain(|path| wanted(path));
    found.into_iter().map(|path| from_root(module, &path)).collect()
}

/// `a::{b, c::d}` as `a::b` and `a::c::d`.
fn expand(before: &str, tree: &str, found: &mut Vec<String>) {
    let tree = tree.trim();
    match tree.split_once('{') {
        Some((path, inner)) if !path.contains(',') => {
            let inner = inner.trim_end().trim_end_matches('}');
            let (mut depth, mut start) = (0, 0);
            for (at, c) in inner.char_indices().chain([(inner.len(), ',')]) {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    ',' if depth == 0 => {
                        expand(&format!("{before}{}", path.trim()), &inner[start..at], found);
                        start = at + 1;
                    }
                    _ => {}
                }
            }
        }
        _ if tree.is_empty() => {}
        _ => found.push(format!("{before}{}", tree.split(" as ").next().unwrap_or(tree).trim())),
    }
}

fn from_root(module: &str, path: &str) -> String {
    let mut own: Vec<&str> = module.split("::").filter(|part| !part.is_empty()).collect();
    let mut parts: Vec<&str> = path.split("::").collect();
    if parts[0] == "crate" {
        own.clear();
        parts.remove(0);
    }
    while parts.first() == Some(&"super") {
        own.pop();
        parts.remove(0);
    }
    own.into_iter().chain(parts).collect::<Vec<_>>().join("::")
}
