//! Ids against transformers': tests/goldens/tokens.py says how the golden was made.

use calotype_pipeline::tokenizer::{Tokenizer, TokenizerFiles};
use serde::Deserialize;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::Path;

const GOLDENS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens");

#[derive(Deserialize)]
struct Golden {
    prompts: Vec<String>,
    end: Ids,
    bang: Ids,
}

#[derive(Deserialize)]
struct Ids {
    pad: u32,
    ids: Vec<Vec<u32>>,
    uncut: Vec<usize>,
}

#[test]
fn awkward_prompts_have_transformers_ids() {
    let text = std::fs::read_to_string(format!("{GOLDENS}/tokens.json")).expect("tests/goldens/tokens.json");
    let golden: Golden = serde_json::from_str(&text).expect("a golden");
    let mut failures = Vec::new();
    for (pad, expected) in [("<|endoftext|>", &golden.end), ("!", &golden.bang)] {
        let tokenizer = Tokenizer::clip_padded_with(pad).expect("the embedded tokenizer");
        assert_eq!((tokenizer.bos(), tokenizer.eos(), tokenizer.pad()), (49406, 49407, expected.pad));
        for (i, prompt) in golden.prompts.iter().enumerate() {
            let mut ids = expected.ids[i].clone();
            let len = ids.len();
            ids.resize(77, expected.pad);
            let encoded = tokenizer.encode(prompt).expect("ids");
            if encoded.ids != ids || encoded.len != len {
                failures.push(format!("{prompt:?} padded with {pad}:\n {:?}\n {ids:?}", encoded.ids));
            }
            if encoded.dropped.is_some() != (expected.uncut[i] > 77) {
                failures.push(format!("{prompt:?}: dropped {:?} of {}", encoded.dropped, expected.uncut[i]));
            }
        }
    }
    assert!(failures.is_empty(), "{} differ:\n{}", failures.len(), failures.join("\n"));
}

#[test]
fn what_is_dropped_is_quoted_from_the_prompt() {
    let tokenizer = Tokenizer::clip().expect("the embedded tokenizer");
    let prompt = format!("{}and then,  some MORE: 🐱 CAFÉ ", "a ".repeat(75));
    let dropped = tokenizer.encode(&prompt).expect("ids").dropped;
    assert_eq!(dropped.as_deref(), Some("and then,  some MORE: 🐱 CAFÉ"));
}

fn files(folder: &Path) -> calotype_pipeline::Result<TokenizerFiles> {
    TokenizerFiles::read(&folder.to_string_lossy(), |name| std::fs::read(folder.join(name)).ok())
}

/// The tiny models' folders, as files and as bytes, and what a folder may lack.
#[test]
fn a_folder_gives_its_own_vocabulary() {
    for (model, pad_is_end) in [("sd1-tiny", true), ("sd2-tiny", false)] {
        let folder = std::path::PathBuf::from(format!("{GOLDENS}/{model}/model/tokenizer"));
        let tokenizer = Tokenizer::from_bytes(&files(&folder).expect("files")).expect("a tokenizer");
        let read = |name: &str| Some(std::fs::read(folder.join(name)).expect(name));
        let files = TokenizerFiles {
            vocab: read("vocab.json"),
            merges: read("merges.txt"),
            ..TokenizerFiles::default()
        };
        let bare = Tokenizer::from_bytes(&files).expect("a tokenizer");
        assert_eq!((tokenizer.pad() == tokenizer.eos(), bare.pad()), (pad_is_end, bare.eos()));
        assert_eq!(tokenizer.encode("a red house").unwrap().len, bare.encode("a red house").unwrap().len);
        assert_eq!(tokenizer.max_len(), 77);
        let golden = std::fs::read_to_string(format!("{GOLDENS}/{model}/prompts.json")).expect("a golden");
        let golden: serde_json::Value = serde_json::from_str(&golden).expect("a golden");
        for prompt in golden["prompts"].as_array().expect("prompts") {
            let ids = tokenizer.encode(prompt["text"].as_str().expect("text")).expect("ids").ids;
            assert_eq!(serde_json::json!(ids), prompt["ids"], "{model}: {}", prompt["text"]);
        }

        let cut = TokenizerFiles { merges: None, ..files.clone() };
        let message = Tokenizer::from_bytes(&cut).err().expect("an error").to_string();
        assert!(message.contains("merges.txt"), "{message}");
        let torn = TokenizerFiles { vocab: Some(b"{\"a\": 1".to_vec()), ..files };
        let message = Tokenizer::from_bytes(&torn).err().expect("an error").to_string();
        assert!(message.contains("vocab.json"), "{message}");
    }
    let message = files(Path::new("/nowhere/at/all")).expect_err("an error").to_string();
    assert!(message.contains("/nowhere/at/all"), "{message}");
}

/// A tokenizer.json of the crate's own making: merges as pairs, an added word, and the flags it states.
#[test]
fn a_tokenizer_json_goes_before_the_other_files() {
    let json = r#"{"model": {"type": "BPE", "merges": [["a", "b</w>"], "b c</w>"],
        "vocab": {"a": 0, "b": 1, "c</w>": 2, "b</w>": 3, "ab</w>": 4, "bc</w>": 5, "<s>": 6, "<e>": 7, "a</w>": 8}},
        "added_tokens": [{"id": 6, "content": "<s>", "special": true, "normalized": false},
                         {"id": 9, "content": "<cat>", "special": false, "normalized": true}]}"#;
    let config = r#"{"bos_token": "<s>", "eos_token": "<e>", "unk_token": "<e>", "pad_token": "<e>",
        "model_max_length": 8}"#;
    let files = TokenizerFiles {
        tokenizer: Some(json.into()),
        config: Some(config.into()),
        vocab: Some(b"not read".to_vec()),
        ..TokenizerFiles::default()
    };
    let tokenizer = Tokenizer::from_bytes(&files).expect("a tokenizer");
    let encoded = tokenizer.encode("AB bc <cat> a").expect("ids");
    assert_eq!(encoded.ids, [6, 4, 5, 9, 8, 7, 7, 7]);
    assert_eq!((encoded.len, encoded.dropped), (6, None));
    let encoded = tokenizer.encode("a a a a a a ab  bc").expect("ids");
    assert_eq!((encoded.len, encoded.dropped.as_deref()), (8, Some("ab  bc")));
}

/// A folder's tokenizer with other JSON files: tests/goldens/words.py says how the golden was made.
#[derive(Deserialize)]
struct Words {
    variants: Vec<Variant>,
}

#[derive(Deserialize)]
struct Variant {
    files: BTreeMap<String, Value>,
    pad: u32,
    /// Each with the ids between its padding, and how much of that there is on either side.
    prompts: Vec<(String, usize, Vec<u32>, usize)>,
}

#[test]
fn words_that_were_added_have_transformers_ids() {
    let read = |name: &str| std::fs::read_to_string(format!("{GOLDENS}/{name}")).expect(name);
    let words: Words = serde_json::from_str(&read("words.json")).expect("a golden");
    let vocab: Value = serde_json::from_str(&read("sd1-tiny/model/tokenizer/vocab.json")).expect("JSON");
    let merges = read("sd1-tiny/model/tokenizer/merges.txt");
    let pairs: Vec<&str> = merges.lines().filter(|l| !l.is_empty() && !l.starts_with("#version")).collect();
    let (mut failures, mut count) = (Vec::new(), 0);
    for variant in &words.variants {
        let file = |name: &str| variant.files.get(name).map(|json| json.to_string().into_bytes());
        let mut files = TokenizerFiles {
            config: file("tokenizer_config.json"),
            special_tokens_map: file("special_tokens_map.json"),
            added_tokens: file("added_tokens.json"),
            ..TokenizerFiles::default()
        };
        match variant.files.get("tokenizer.json") {
            Some(json) => {
                let mut json = json.clone();
                json["model"] = serde_json::json!({"vocab": &vocab, "merges": &pairs});
                files.tokenizer = Some(json.to_string().into_bytes());
            }
            None => {
                files.vocab = Some(vocab.to_string().into_bytes());
                files.merges = Some(merges.clone().into_bytes());
            }
        }
        let tokenizer = Tokenizer::from_bytes(&files).expect("a tokenizer");
        for (prompt, left, ids, right) in &variant.prompts {
            count += 1;
            let padded = [vec![variant.pad; *left], ids.clone(), vec![variant.pad; *right]].concat();
            let found = tokenizer.encode(prompt).expect("ids").ids;
            if found != padded {
                let files = serde_json::to_string(&variant.files).expect("JSON");
                failures.push(format!("{prompt:?} {files}:\n {found:?}\n {padded:?}"));
            }
        }
    }
    assert!(count >= 600, "{count} prompts");
    assert!(failures.is_empty(), "{} of {count} differ:\n{}", failures.len(), failures.join("\n"));
}

/// What makes no sense is told by file and field.
#[test]
fn tokens_that_are_none_are_named() {
    let folder = format!("{GOLDENS}/sd1-tiny/model/tokenizer");
    for (name, text, parts) in [
        ("added_tokens.json", r#"{"<toy>": "x"}"#, ["added_tokens.json", "<toy>"]),
        ("added_tokens.json", "[1]", ["added_tokens.json", "object"]),
        (
            "config",
            r#"{"added_tokens_decoder": {"x": {"content": "<toy>"}}}"#,
            ["tokenizer_config.json", "\"x\""],
        ),
        ("config", r#"{"added_tokens_decoder": {"7": 8}}"#, ["tokenizer_config.json", "7 = 8"]),
        ("config", r#"{"pad_token": [1]}"#, ["tokenizer_config.json", "pad_token"]),
        ("config", r#"{"extra_special_tokens": [1]}"#, ["tokenizer_config.json", "extra_special_tokens"]),
    ] {
        let mut files = self::files(folder.as_ref()).expect("files");
        match name {
            // A map would go before it.
            "config" => (files.config, files.special_tokens_map) = (Some(text.into()), None),
            _ => files.added_tokens = Some(text.into()),
        }
        let message = Tokenizer::from_bytes(&files).err().expect(text).to_string();
        assert!(parts.iter().all(|part| message.contains(part)) && !message.contains('\n'), "{message}");
    }
}
