//! Prompts by A1111's and ComfyUI's rules: the values that those programs gave for worked examples, and what an
//! implementation in Python of its own makes of some thousand drawn ones (tests/goldens/prompt_styles.py).

use calotype_pipeline::words::*;
use serde_json::Value;

type Texts = &'static [(usize, &'static str)];

fn weighted(pieces: &[(&str, f64)]) -> Vec<Weighted> {
    pieces.iter().map(|(text, weight)| Weighted::new(*text, *weight)).collect()
}

/// Weights as near as the documents give them.
fn check(prompt: &str, got: &[Weighted], want: &[Weighted]) {
    let near = |(a, b): (&Weighted, &Weighted)| a.text == b.text && (a.weight - b.weight).abs() < 1e-6;
    assert!(got.len() == want.len() && got.iter().zip(want).all(near), "{prompt:?}: {got:?}, not {want:?}");
}

fn golden(kind: &str) -> Vec<Value> {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens/prompt_styles.json");
    let mut json: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    serde_json::from_value(json[kind].take()).unwrap()
}

fn pieces(value: &Value) -> Vec<Weighted> {
    let piece = |piece: &Value| Weighted::new(piece[0].as_str().unwrap(), piece[1].as_f64().unwrap());
    value.as_array().unwrap().iter().map(piece).collect()
}

#[test]
fn a1111_gives_these_weights() {
    const BREAK: (&str, f64) = ("BREAK", -1.0);
    let cases: &[(&str, &[(&str, f64)])] = &[
        ("a (red) fox", &[("a ", 1.0), ("red", 1.1), (" fox", 1.0)]),
        ("a ((red)) fox", &[("a ", 1.0), ("red", 1.21), (" fox", 1.0)]),
        ("(red:1.3)", &[("red", 1.3)]),
        ("a ([red]:1.3) fox", &[("a ", 1.0), ("red", 1.1818182), (" fox", 1.0)]),
        ("[a [b] c]", &[("a ", 0.9090909), ("b", 0.8264463), (" c", 0.9090909)]),
        ("(a:1.2 b)", &[("a:1.2 b", 1.1)]),
        ("(a (b:0.5) c:2)", &[("a ", 2.0), ("b", 1.0), (" c", 2.0)]),
        ("a \\(red\\) fox", &[("a (red) fox", 1.0)]),
        ("(a\\))", &[("a)", 1.1)]),
        ("a) b", &[("a) b", 1.0)]),
        ("a: b", &[("a: b", 1.0)]),
        ("(a:1.2", &[("a:1.2", 1.1)]),
        ("(a:-0.5)", &[("a", -0.5)]),
        ("(a:.5)", &[("a", 0.5)]),
        ("(a:+1.1)", &[("a", 1.1)]),
        ("((a:1.2):1.5)", &[("a", 1.8)]),
        ("[a:1.5]", &[("a:1.5", 0.9090909)]),
        ("(a, b:1.1), [c]", &[("a, b", 1.1), (", ", 1.0), ("c", 0.9090909)]),
        ("\\\\(x)", &[("\\", 1.0), ("x", 1.1)]),
        ("a\\b", &[("ab", 1.0)]),
        ("a BREAK b", &[("a", 1.0), BREAK, ("b", 1.0)]),
        ("a BREAKb", &[("a BREAKb", 1.0)]),
        ("(a BREAK b:1.2)", &[("a", 1.2), ("BREAK", -1.2), ("b", 1.2)]),
        ("(a:1.1)(b:1.1)", &[("ab", 1.1)]),
        ("()", &[("", 1.0)]),
        ("(:1.5)", &[("", 1.0)]),
        ("(a : 1.4 )", &[("a ", 1.4)]),
        ("a (b:1,2) c", &[("a ", 1.0), ("b:1,2", 1.1), (" c", 1.0)]),
        ("(a:1.2)BREAK (b:1.2)", &[("a", 1.2), ("", 1.0), BREAK, ("", 1.0), ("b", 1.2)]),
        ("", &[("", 1.0)]),
        // The web UI stops at such a number.
        ("(a:1.2.3) b", &[("a:1.2.3", 1.1), (" b", 1.0)]),
    ];
    for (prompt, want) in cases {
        check(prompt, &attention(prompt), &weighted(want));
    }
    assert!(!attention("(a BREAK b:1.2)").iter().any(Weighted::is_break));
    assert!(attention("a BREAK b")[1].is_break());
    for case in golden("attention") {
        let prompt = case[0].as_str().unwrap();
        check(prompt, &attention(prompt), &pieces(&case[1]));
    }
}

#[test]
fn a1111_changes_prompts_on_the_way() {
    let of = |steps| Timeline::of(steps);
    let (old, second) = (Timeline { old: true, ..of(10) }, Timeline { before: Some(20), ..of(10) });
    let cases: &[(&str, Timeline, Texts)] = &[
        ("a [cat:dog:4] b", of(10), &[(4, "a cat b"), (10, "a dog b")]),
        ("a [cat:dog:0.4] b", of(10), &[(4, "a cat b"), (10, "a dog b")]),
        ("[cat:dog:1.0]", of(10), &[(10, "cat")]),
        ("[cat:dog:1]", of(10), &[(1, "cat"), (10, "dog")]),
        ("[cat:dog:0]", of(10), &[(10, "dog")]),
        ("[x:5]", of(10), &[(5, ""), (10, "x")]),
        ("[x::5]", of(10), &[(5, "x"), (10, "")]),
        ("[:x:5]", of(10), &[(5, ""), (10, "x")]),
        ("[a|b|c] d", of(4), &[(1, "a d"), (2, "b d"), (3, "c d"), (4, "a d")]),
        ("[a [x:y:2]|b]", of(4), &[(1, "a x"), (2, "b"), (3, "a y"), (4, "b")]),
        ("[(a:1.2):b:3]", of(10), &[(3, "(a:1.2)"), (10, "b")]),
        ("([a:b:3]:1.2)", of(10), &[(3, "(a:1.2)"), (10, "(b:1.2)")]),
        ("[a:b:25]", of(10), &[(10, "a")]),
        ("[a:b:-2]", of(10), &[(10, "b")]),
        ("[a: b :3 ]", of(10), &[(3, "a"), (10, " b ")]),
        ("[a:b:0.05]", of(10), &[(10, "b")]),
        ("[[a:b:2]:c:4]", of(10), &[(2, "a"), (4, "b"), (10, "c")]),
        ("[a:b:.35]", of(20), &[(7, "a"), (20, "b")]),
        ("[a:b:1e1]", of(20), &[(10, "a"), (20, "b")]),
        ("x [a:1.2] y", of(10), &[(10, "x  y")]),
        ("a [b] c", of(10), &[(10, "a [b] c")]),
        ("[a:b]", of(10), &[(10, "[a:b]")]),
        ("\\[a:b:3]", of(10), &[(10, "\\[a:b:3]")]),
        ("[a:b:c:3]", of(10), &[(10, "[a:b:c:3]")]),
        ("[a|b:2]", of(10), &[(10, "[a|b:2]")]),
        ("[a:b:1.0]", old, &[(1, "a"), (10, "b")]),
        ("[a:b:2.5]", old, &[(2, "a"), (10, "b")]),
        ("[cat:dog:0.5]", second, &[(10, "dog")]),
        ("[cat:dog:15]", second, &[(10, "dog")]),
        ("[cat:dog:1.5]", second, &[(5, "cat"), (10, "dog")]),
        ("[cat:dog:25]", second, &[(5, "cat"), (10, "dog")]),
    ];
    for (prompt, passing, want) in cases {
        let want: Vec<(usize, String)> = want.iter().map(|(end, text)| (*end, (*text).into())).collect();
        assert_eq!(timeline(prompt, *passing), want, "{prompt:?}");
    }
    for case in golden("timeline") {
        let (prompt, how) = (case[0].as_str().unwrap(), &case[1]);
        let passing = Timeline {
            steps: how[0].as_u64().unwrap() as usize,
            before: how[1].as_u64().map(|n| n as usize),
            old: how[2].as_bool().unwrap(),
        };
        let want: Vec<(usize, String)> = serde_json::from_value(case[2].clone()).unwrap();
        assert_eq!(timeline(prompt, passing), want, "{prompt:?} {passing:?}");
    }
}

#[test]
fn brackets_without_end_are_read_soon() {
    for text in ["[", "(", "[a|", "[a:", "[(a:", "\\[["] {
        let prompt = text.repeat(5_000);
        assert_eq!(timeline(&prompt, Timeline::of(10)).len(), 1);
        attention(&prompt);
        comfy_weights(&prompt);
    }
    let deep = format!("{}a{}", "(".repeat(5_000), ")".repeat(20_000));
    attention(&deep);
    comfy_weights(&deep);
    assert_eq!(timeline(&deep, Timeline::of(10)), [(10, deep)]);
}

#[test]
fn and_makes_several_prompts() {
    let cases: &[(&str, &[(&str, f64)])] = &[
        ("cat :1.2 AND dog:-0.5 AND bird", &[("cat", 1.2), (" dog", -0.5), (" bird", 1.0)]),
        ("a cat: 0.3 ", &[("a cat", 0.3)]),
        ("AND cat", &[("", 1.0), (" cat", 1.0)]),
        ("SAND AND LAND", &[("SAND", 1.0), (" LAND", 1.0)]),
        ("(cat:1.2) AND dog", &[("(cat:1.2)", 1.0), (" dog", 1.0)]),
    ];
    for (prompt, want) in cases {
        check(prompt, &parts(prompt), &weighted(want));
    }
    for case in golden("parts") {
        let prompt = case[0].as_str().unwrap();
        check(prompt, &parts(prompt), &pieces(&case[1]));
    }
}

#[test]
fn comfyui_gives_these_weights() {
    let cases: &[(&str, &[(&str, f64)])] = &[
        ("((a:1.2):1.5)", &[("a", 1.2)]),
        ("((a) b:1.5)", &[("a", 1.65), (" b", 1.5)]),
        ("(a (b:0.5) c:2)", &[("a ", 2.0), ("b", 0.5), (" c", 2.0)]),
        ("(a b:1.2:0.9)", &[("a b:1.2", 0.9)]),
        ("[a] BREAK [b:c:3]", &[("[a] BREAK [b:c:3]", 1.0)]),
        ("(a", &[("(a", 1.0)]),
        ("(:1.5)", &[(":1.5", 1.1)]),
        ("()", &[]),
        ("\\(a\\) (b\\))", &[("(a) ", 1.0), ("b)", 1.1)]),
    ];
    for (prompt, want) in cases {
        check(prompt, &comfy_weights(prompt), &weighted(want));
    }
    for case in golden("comfy") {
        let prompt = case[0].as_str().unwrap();
        check(prompt, &comfy_weights(prompt), &pieces(&case[1]));
    }
}

/// A word a token; commas are 0.
fn tokens(text: &str) -> Result<Vec<u32>, ()> {
    let words = text.replace(',', " , ");
    Ok(words.split_whitespace().map(|word| u32::from(word != ",")).collect())
}

fn lengths(prompt: &str, rules: ChunkRules) -> Vec<usize> {
    by_tokens(&attention(prompt), rules, &(), tokens).unwrap().iter().map(Vec::len).collect()
}

#[test]
fn chunks_end_as_a1111s_do() {
    let rules = ChunkRules::new(75, Some(0));
    let words = |before: usize, after: usize| format!("{},{}", "cat ".repeat(before), " dog".repeat(after));
    let cases: &[(String, &[usize])] = &[
        (words(70, 10), &[71, 10]),
        (words(54, 21), &[75, 1]),
        (words(55, 20), &[56, 20]),
        (words(74, 1), &[75, 1]),
        (words(75, 1), &[75, 2]),
        ("cat ".repeat(75), &[75]),
        ("cat ".repeat(76), &[75, 1]),
        ("cat BREAK dog".into(), &[1, 1]),
        ("a BREAK BREAK b".into(), &[1, 0, 1]),
        ("cat BREAK".into(), &[1]),
        ("".into(), &[0]),
    ];
    for (prompt, want) in cases {
        assert_eq!(lengths(prompt, rules), *want, "{prompt:?}");
    }
    assert_eq!(lengths(&words(70, 10), ChunkRules { backtrack: 0, ..rules }), [75, 6]);
    for case in golden("chunks") {
        let number = |i: usize| case[i].as_u64().unwrap() as usize;
        let rules = ChunkRules { size: number(1), backtrack: number(2), comma: Some(0) };
        let want: Vec<usize> = serde_json::from_value(case[3].clone()).unwrap();
        assert_eq!(lengths(case[0].as_str().unwrap(), rules), want, "{case}");
    }
}

/// The word 7 8 has three vectors.
struct Three;

impl Added for Three {
    fn at(&self, ids: &[u32]) -> Option<(Vec<u32>, usize)> {
        ids.starts_with(&[7, 8]).then(|| (vec![100, 101, 102], 2))
    }

    fn named(&self, name: &str) -> Option<Vec<u32>> {
        (name == "cat").then(|| vec![100, 101, 102])
    }
}

#[test]
fn vectors_of_a_word_stay_together() {
    let numbers = |text: &str| Ok::<_, ()>(text.split_whitespace().map(|n| n.parse().unwrap()).collect());
    let chunks = |prompt: &str, size: usize| {
        let chunks = by_tokens(&attention(prompt), ChunkRules::new(size, None), &Three, numbers).unwrap();
        chunks.iter().map(|chunk| chunk.iter().map(|token| token.id).collect()).collect::<Vec<Vec<u32>>>()
    };
    assert_eq!(chunks("1 7 8 2", 6), [vec![1, 100, 101, 102, 2]]);
    assert_eq!(chunks("1 1 7 8 2", 4), [vec![1, 1], vec![100, 101, 102, 2]]);
    assert_eq!(chunks("7 1 8", 4), [vec![7, 1, 8]]);
}

#[test]
fn comfyui_keeps_short_words_whole() {
    let letters = |text: &str| Ok::<_, ()>(vec![1; text.len()]);
    let chunks = |prompt: &str| {
        let chunks = by_pieces(&comfy_weights(prompt), 10, &(), letters).unwrap();
        chunks.iter().map(Vec::len).collect::<Vec<_>>()
    };
    assert_eq!(chunks("abcdefg hijk"), [7, 4]);
    assert_eq!(chunks("abcdefg hijklmnop"), [10, 6]);
    assert_eq!(chunks("abc (def:1.2) ghij"), [10]);
    assert_eq!(chunks(""), [0]);
}

#[test]
fn comfyui_calls_words_with_vectors_by_name() {
    let letters = |text: &str| Ok::<_, ()>(text.bytes().map(u32::from).collect());
    let ids = |prompt: &str| -> Vec<Vec<u32>> {
        let chunks = by_pieces(&comfy_weights(prompt), 6, &Three, letters).unwrap();
        chunks.iter().map(|chunk| chunk.iter().map(|token| token.id).collect()).collect()
    };
    assert_eq!(ids("a embedding:cat, b"), [vec![97, 100, 101, 102, 44, 98]]);
    assert_eq!(ids("abcd embedding:cat"), [vec![97, 98, 99, 100], vec![100, 101, 102]]);
    // What no file is called is text, as is a name without its mark.
    assert_eq!(ids("cat"), [vec![99, 97, 116]]);
    assert_eq!(ids("embedding:dog").concat(), "embedding:dog".bytes().map(u32::from).collect::<Vec<_>>());
}

#[test]
fn files_are_asked_for_in_prompts() {
    let (text, found) =
        networks("a <lora:ink:0.8> cat <lora:Two Words:.5:1> <b> <lyco:x:te=0.2:unet=0.4> <:y> 1<2");
    assert_eq!(text, "a  cat  <b>  <:y> 1<2");
    let found: Vec<_> = found.iter().map(|n| (&*n.kind, n.name(), n.scales())).collect();
    assert_eq!(
        found,
        [
            ("lora", "ink", Some([0.8, 0.8])),
            ("lora", "Two Words", Some([0.5, 1.0])),
            ("lyco", "x", Some([0.2, 0.4]))
        ]
    );
    assert_eq!(networks("<lora:a>").1[0].scales(), Some([1.0, 1.0]));
    assert_eq!(networks("<lora:a:much>").1[0].scales(), None);
}
