//! Words that were added to a model: text states as diffusers has them, whichever file names the words.

use crate::support::{Device, Golden};
use calotype::{DType, HostTensor, Model, Precision};
use calotype_testkit::error;
use safetensors::tensor::{Dtype, SafeTensors, TensorView, serialize_to_file};
use serde_json::{Value as Json, json};
use std::fs;
use std::path::Path;

const EMBEDDING: &str = "text_model.embeddings.token_embedding.weight";
const PROMPT: &str = "a <toy> here, and <toy>";

/// Of the golden's largest magnitude.
const BOUND: f64 = 1e-4;

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        match entry.path().is_dir() {
            true => copy(&entry.path(), &to.join(entry.file_name())),
            false => drop(fs::copy(entry.path(), to.join(entry.file_name())).unwrap()),
        }
    }
}

fn change(file: &Path, change: impl FnOnce(&mut Json)) {
    let mut json = serde_json::from_slice(&fs::read(file).unwrap()).unwrap();
    change(&mut json);
    fs::write(file, json.to_string()).unwrap();
}

/// The tiny model with rows behind its embedding, as transformers' `resize_token_embeddings` leaves it.
fn grown(folder: &Path, rows: &[u8], count: usize) {
    copy(&Golden::open("sd1-tiny", "stages").folder.join("model"), folder);
    let file = folder.join("text_encoder/model.safetensors");
    let bytes = fs::read(&file).unwrap();
    let tensors = SafeTensors::deserialize(&bytes).unwrap();
    let old = tensors.tensor(EMBEDDING).unwrap();
    let (shape, data) = (old.shape(), [old.data(), rows].concat());
    let new = TensorView::new(Dtype::F16, vec![shape[0] + count, shape[1]], &data).unwrap();
    let all = tensors.tensors().into_iter();
    let all: Vec<_> =
        all.map(|(name, view)| if name == EMBEDDING { (name, new.clone()) } else { (name, view) }).collect();
    serialize_to_file(all, None, &file).unwrap();
    let words = shape[0] + count;
    change(&folder.join("text_encoder/config.json"), |json| json["vocab_size"] = words.into());
}

#[test]
fn added_words_give_diffusers_text_states() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/goldens");
    let golden = fs::read(goldens.join("words.safetensors")).unwrap();
    let golden = SafeTensors::deserialize(&golden).unwrap();
    let states = golden.tensor("states").unwrap();
    let states = HostTensor::from_bytes(states.shape(), DType::F32, states.data().to_vec());
    let rows = golden.tensor("rows").unwrap();
    let words: Vec<(&str, u32)> = ["<toy>", "<toy>_1", "<toy>_2"].into_iter().zip(1452..).collect();
    for form in ["added_tokens.json", "tokenizer_config.json"] {
        let folder = tempfile::tempdir().unwrap();
        grown(folder.path(), rows.data(), words.len());
        let place = folder.path().join("tokenizer");
        if form == "added_tokens.json" {
            let ids: serde_json::Map<_, _> =
                words.iter().map(|(word, id)| (word.to_string(), json!(id))).collect();
            fs::write(place.join(form), Json::from(ids).to_string()).unwrap();
        } else {
            let token =
                |(word, id): &(&str, u32)| (id.to_string(), json!({"content": word, "normalized": true}));
            let list: serde_json::Map<_, _> = words.iter().map(token).collect();
            change(&place.join(form), |json| json["added_tokens_decoder"] = list.into());
        }
        let model = Model::at_path(folder.path(), None).unwrap();
        let found = Device::cpu().pipeline(model, Precision::F32).encode_text(PROMPT).unwrap();
        let off = error(&found.states, &states);
        assert!(off <= BOUND, "{form}: {off:.1e}");
        println!("{form}: {off:.1e}");
    }
}

/// Rows that the words would need are not there: an error that names the word, when it is asked for.
#[test]
fn a_word_without_a_row_is_named() {
    let folder = tempfile::tempdir().unwrap();
    grown(folder.path(), &[], 0);
    fs::write(folder.path().join("tokenizer/added_tokens.json"), r#"{"<toy>": 1452}"#).unwrap();
    let model = Model::at_path(folder.path(), None).unwrap();
    let mut pipeline = Device::cpu().pipeline(model, Precision::F32);
    pipeline.encode_text("a red house").unwrap();
    let message = pipeline.encode_text("a <toy> house").expect_err("an error").to_string();
    for part in ["<toy>", "1452", "vocab_size", "text_encoder"] {
        assert!(message.contains(part), "{message}");
    }
}
