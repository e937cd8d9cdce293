//! Ids against transformers': tests/goldens/tokens.py says how the golden was made.

use calotype_pipeline::tokenizer::{Files, Tokenizer};
use serde::Deserialize;

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

/// The tiny models' folders, as files and as bytes, and what a folder may lack.
#[test]
fn a_folder_gives_its_own_vocabulary() {
    for (model, pad_is_end) in [("sd1-tiny", true), ("sd2-tiny", false)] {
        let folder = std::path::PathBuf::from(format!("{GOLDENS}/{model}/model/tokenizer"));
        let tokenizer = Tokenizer::from_folder(&folder).expect("a tokenizer");
        let read = |name: &str| Some(std::fs::read(folder.join(name)).expect(name));
        let files = Files { vocab: read("vocab.json"), merges: read("merges.txt"), ..Files::default() };
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

        let cut = Files { merges: None, ..files.clone() };
        let message = Tokenizer::from_bytes(&cut).err().expect("an error").to_string();
        assert!(message.contains("merges.txt"), "{message}");
        let torn = Files { vocab: Some(b"{\"a\": 1".to_vec()), ..files };
        let message = Tokenizer::from_bytes(&torn).err().expect("an error").to_string();
        assert!(message.contains("vocab.json"), "{message}");
    }
    let message = Tokenizer::from_folder("/nowhere/at/all").err().expect("an error").to_string();
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
    let files = Files {
        tokenizer: Some(json.into()),
        config: Some(config.into()),
        vocab: Some(b"not read".to_vec()),
        ..Files::default()
    };
    let tokenizer = Tokenizer::from_bytes(&files).expect("a tokenizer");
    let encoded = tokenizer.encode("AB bc <cat> a").expect("ids");
    assert_eq!(encoded.ids, [6, 4, 5, 9, 8, 7, 7, 7]);
    assert_eq!((encoded.len, encoded.dropped), (6, None));
    let encoded = tokenizer.encode("a a a a a a ab  bc").expect("ids");
    assert_eq!((encoded.len, encoded.dropped.as_deref()), (8, Some("ab  bc")));
}
