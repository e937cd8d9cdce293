//! `--embedding` and `--embedding-dir`: words of prompts, what pictures say of them, and what files are.

use crate::support::{Folder, goldens, json_lines, settings};
use sha2::{Digest, Sha256};
use std::fs;

fn file(name: &str) -> String {
    goldens().join("embeddings").join(name).to_str().unwrap().to_string()
}

/// The first figures of a file's SHA-256.
fn short(name: &str) -> String {
    let sum = Sha256::digest(fs::read(file(name)).unwrap());
    sum.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..12].to_string()
}

#[test]
fn a_word_of_a_prompt_is_an_embedding() {
    let folder = Folder::new();
    let words = file("");
    folder.draw(&["a sd1-web, red", "--seed", "1", "-o", "plain.png"]);
    folder.draw(&["a SD1-Web, red", "--seed", "1", "--embedding-dir", &words, "-o", "word.png"]);
    let of = |name: &str| settings(&folder.read(name)).unwrap();
    assert_eq!(of("plain.png").get("TI hashes"), None);
    assert_eq!(of("word.png").get("TI hashes"), Some(&*format!("sd1-web: {}", short("sd1-web.pt"))));
    // The same by its file, under a name of its own; one that no prompt names is not told.
    let (cat, other) = (format!("{}:my-cat", file("sd1-web.pt")), file("sd1-one.bin"));
    folder.draw(&[
        "a my-cat, red",
        "--seed",
        "1",
        "--embedding",
        &cat,
        "--embedding",
        &other,
        "-o",
        "cat.png",
    ]);
    assert_eq!(of("cat.png").get("TI hashes"), Some(&*format!("my-cat: {}", short("sd1-web.pt"))));
    let pixels = |name: &str| crate::support::decode(&folder.read(name)).2;
    assert_eq!(pixels("word.png"), pixels("cat.png"));
    // In a picture the word's own name goes with it, and in a folder the file's.
    folder.draw(&["a my-cat, red", "--seed", "1", "--embedding", &file("sd1-shown.png"), "-o", "shown.png"]);
    folder.draw(&["a sd1-hidden, red", "--seed", "1", "--embedding-dir", &words, "-o", "hidden.png"]);
    for (name, word, of_file) in
        [("shown.png", "my-cat", "sd1-shown.png"), ("hidden.png", "sd1-hidden", "sd1-hidden.png")]
    {
        assert_eq!(of(name).get("TI hashes"), Some(&*format!("{word}: {}", short(of_file))));
        assert_eq!(pixels(name), pixels("cat.png"), "{name}");
    }
    assert_ne!(pixels("word.png"), pixels("plain.png"));
    let negative = ["a cat", "--seed", "1", "-n", "sd1-web", "--embedding-dir", &words, "-o", "not.png"];
    folder.draw(&negative);
    assert!(of("not.png").get("TI hashes").is_some());

    // Drawn again it is the same, to the bit; without its file that is said.
    folder.draw(&["--from-png", "word.png", "--embedding-dir", &words, "-o", "again.png"]);
    assert_eq!(folder.read("again.png"), folder.read("word.png"));
    let said = folder.draw(&["--from-png", "word.png", "-o", "without.png"]);
    assert!(
        said.err.contains("the embedding sd1-web") && said.err.contains("--embedding-dir"),
        "{}",
        said.err
    );
}

#[test]
fn a_prompt_shows_what_is_understood_and_mistakes_are_named() {
    let folder = Folder::new();
    let draw = |code: i32, word: &str, parts: &[&str]| {
        let tiny = crate::support::tiny();
        folder.fails(
            code,
            &["generate", "a cat", "--backend", "cpu", "-m", &tiny, "--embedding", word],
            parts,
        );
    };
    draw(2, &file("sd2-web.pt"), &["--embedding", "sd2-web.pt", "48 wide", "takes 32"]);
    draw(2, &file("xl.safetensors"), &["xl.safetensors", "for SDXL"]);
    draw(1, "absent.pt", &["--embedding", "absent.pt"]);
    draw(1, &file("picture.png"), &["--embedding", "picture.png", "carries no embedding"]);
    folder.fails(2, &["generate", "a", "--embedding", ":"], &["--embedding", "behind a colon"]);
    let absent = ["generate", "a", "--embedding-dir", "absent"];
    folder.fails(2, &absent, &["--embedding-dir absent", "cannot be read"]);
    // Of a folder, one for another model is left out, and told.
    let said = folder.draw(&["a sd2-web", "--embedding-dir", &file(""), "-o", "a.png"]);
    assert!(said.err.contains("sd2-web.pt") && said.err.contains("left out"), "{}", said.err);
}

#[test]
fn inspect_tells_what_an_embedding_is() {
    let folder = Folder::new();
    let said = json_lines(&folder.run(&["inspect", &file("sd1-web.pt"), "--json"])).remove(0);
    let expected = serde_json::json!({
        "vectors": 3, "widths": [32], "family": null, "word": "my-cat", "steps": 1500, "trained_with": "tiny",
    });
    assert_eq!(said["embedding"], expected);
    let said = json_lines(&folder.run(&["inspect", &file("sd1-hidden.webp"), "--json"])).remove(0);
    assert_eq!(said["embedding"], expected);
    let said = folder.run(&["inspect", &file("sd1-shown.png")]);
    assert!(said.out.contains("carries an embedding") && said.out.contains("my-cat"), "{}", said.out);
    let said = folder.run(&["inspect", &file("xl.safetensors"), "--hashes"]);
    assert!(said.out.contains("3, 40 and 24 wide") && said.out.contains("SDXL"), "{}", said.out);
    assert!(said.out.contains("AutoV3"), "{}", said.out);
    let tiny = goldens().join("sd1-tiny/loras/peft.safetensors");
    let said = json_lines(&folder.run(&["inspect", tiny.to_str().unwrap(), "--json"])).remove(0);
    assert!(said["embedding"].is_null());
}

#[test]
fn a_lora_is_known_by_its_hash() {
    let folder = Folder::new();
    let lora = goldens().join("sd1-tiny/loras/kohya.safetensors");
    folder.draw(&["a cat", "--lora", lora.to_str().unwrap(), "-o", "a.png"]);
    let told = json_lines(&folder.run(&["inspect", lora.to_str().unwrap(), "--json", "--hashes"])).remove(0);
    let hash = told["hashes"]["AutoV3"].as_str().unwrap();
    let settings = settings(&folder.read("a.png")).unwrap();
    assert_eq!(settings.get("Lora hashes"), Some(&*format!("kohya: {hash}")));
}
