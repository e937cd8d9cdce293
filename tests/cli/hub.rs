//! Models by name: fetched, verified, kept in the hub's own cache, and used from there.

use crate::hub_server::{Asked, COMMIT, Server, gets, sha256};
use crate::support::{Folder, calotype, json_lines, settings, tiny};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

pub const UNET: &str = "unet/diffusion_pytorch_model.safetensors";

/// A server, an empty cache, and a folder whose commands know of both.
pub struct Setting {
    pub server: Server,
    pub folder: Folder,
    home: TempDir,
}

impl Setting {
    pub fn new() -> Self {
        let (server, home) = (Server::new(), TempDir::new().unwrap());
        let folder = Folder::new()
            .with("HF_ENDPOINT", server.endpoint())
            .with("HF_HOME", home.path().to_str().unwrap());
        Self { server, folder, home }
    }

    pub fn cache(&self) -> PathBuf {
        self.home.path().join("hub/models--owner--tiny")
    }

    /// What is among the blobs, by name.
    fn blobs(&self) -> Vec<String> {
        let entries = fs::read_dir(self.cache().join("blobs")).into_iter().flatten().map(Result::unwrap);
        entries.map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    }

    pub fn drawn(&self) -> Vec<u8> {
        self.folder.drawn(&["-m", "owner/tiny"])
    }

    fn fails(&self, parts: &[&str]) {
        self.folder.fails(1, &["generate", "a cat", "--backend", "cpu", "-m", "owner/tiny"], parts);
    }
}

#[test]
fn a_name_is_fetched_once_and_draws_as_the_folder_does() {
    let at = Setting::new();
    let expected = at.folder.drawn(&["-m", &tiny()]);
    let said = at.folder.draw(&["a cat", "-m", "owner/tiny", "--seed", "1", "-o", "named.png"]);
    assert!(said.err.contains("fetching") && said.err.contains("fetched"), "{}", said.err);
    assert_eq!(settings(&at.folder.read("named.png")).unwrap().get("Model"), Some("owner/tiny"));
    assert_eq!(at.drawn(), expected);

    // Each file once, and none that is of no use.
    let asked = at.server.asked();
    for file in ["model_index.json", "tokenizer/merges.txt", UNET] {
        assert_eq!(gets(&asked, file).len(), 1, "{file}");
    }
    assert_eq!(gets(&asked, "README.md").len(), 1, "its licence stands there");
    for other in ["ckpt", "safety_checker", ".bin"] {
        assert!(asked.iter().all(|a| !a.path.contains(other)), "{other} was fetched");
    }

    // The layout of the hub's cache, as other tools read it.
    assert_eq!(fs::read_to_string(at.cache().join("refs/main")).unwrap(), COMMIT);
    let file = at.cache().join("snapshots").join(COMMIT).join(UNET);
    let bytes = fs::read(Path::new(&tiny()).join(UNET)).unwrap();
    assert_eq!(fs::read(&file).unwrap(), bytes);
    // Where links take rights, the bytes are in the snapshot alone.
    if cfg!(unix) {
        assert!(at.blobs().contains(&sha256(&bytes)));
        let target = Path::new("../../../blobs").join(sha256(&bytes));
        assert_eq!(fs::read_link(&file).unwrap(), target);
    }

    // From now on nobody is asked.
    for more in [&["--offline"][..], &[]] {
        assert_eq!(at.folder.drawn(&[&["-m", "owner/tiny"], more].concat()), expected);
    }
    let folder = at.folder.with("HF_ENDPOINT", "http://127.0.0.1:1");
    for args in [["inspect", "owner/tiny", "--json"], ["plan", "--json", "-mowner/tiny"]] {
        let said = folder.run(&args);
        let told = json_lines(&said);
        assert!(said.out.contains("owner/tiny") && told.len() == 1, "{}", said.out);
    }
    folder.run(&["inspect", "owner/tiny", "--revision", COMMIT]);
    assert!(at.server.asked().is_empty());
}

#[test]
fn halves_are_preferred_unless_full_precision_is_asked_for() {
    let halves = "unet/diffusion_pytorch_model.fp16.safetensors";
    for (more, wanted, other) in [(&[][..], halves, UNET), (&["--dtype", "f32"], UNET, halves)] {
        let at = Setting::new();
        at.server.change(|state| drop(state.files.insert(halves.into(), state.files[UNET].clone())));
        at.folder.drawn(&[&["-m", "owner/tiny"], more].concat());
        let asked = at.server.asked();
        assert_eq!((gets(&asked, wanted).len(), gets(&asked, other).len()), (1, 0), "{more:?}");
    }
}

#[test]
fn a_dropped_connection_goes_on_where_it_stopped() {
    let at = Setting::new();
    at.server.change(|state| drop(state.drops.insert(UNET.into(), vec![100_000, 0, 50_000])));
    at.drawn();
    let asked = at.server.asked();
    let asked = gets(&asked, UNET);
    let ranges: Vec<Option<&str>> = asked.iter().map(|a| a.range.as_deref()).collect();
    assert_eq!(ranges, [None, Some("bytes=100000-"), Some("bytes=100000-"), Some("bytes=150000-")]);
    let size = fs::metadata(Path::new(&tiny()).join(UNET)).unwrap().len();
    assert_eq!(asked.iter().map(|a| a.sent as u64).sum::<u64>(), size, "no byte came twice");
}

#[test]
fn the_next_run_goes_on_with_what_a_broken_download_left() {
    let at = Setting::new();
    at.server.change(|state| drop(state.drops.insert(UNET.into(), vec![100_000, 0, 0, 0, 0, 0])));
    at.fails(&["cannot reach http://127.0.0.1", "owner/tiny", "what came is kept", "-m FOLDER"]);
    assert!(at.blobs().iter().any(|blob| blob.ends_with(".incomplete")), "{:?}", at.blobs());
    at.folder.fails(
        1,
        &["inspect", "owner/tiny", "--offline"],
        &["not to be had from the cache", "revision main is not there", "--offline"],
    );
    at.server.asked();
    at.server.change(|state| state.drops.clear());
    at.drawn();
    let asked = at.server.asked();
    let [last] = gets(&asked, UNET)[..] else { panic!("{asked:?}") };
    assert_eq!(last.range.as_deref(), Some("bytes=100000-"));
    assert!(gets(&asked, "model_index.json").is_empty(), "it was there already");
    assert!(at.blobs().iter().all(|blob| !blob.ends_with(".incomplete")), "{:?}", at.blobs());
}

#[test]
fn a_server_without_ranges_sends_the_file_again() {
    let at = Setting::new();
    at.server.change(|state| {
        state.whole_only = true;
        state.drops.insert(UNET.into(), vec![100_000]);
    });
    let expected = at.folder.drawn(&["-m", &tiny()]);
    assert_eq!(at.drawn(), expected);
}

/// The server refuses to go on with a file, and its connection drops before the end each time.
#[test]
fn a_file_that_is_begun_anew_each_time_is_given_up() {
    let at = Setting::new();
    at.server.change(|state| {
        state.no_ranges = Some("bytes */*".into());
        state.drops.insert(UNET.into(), vec![100_000; 50]);
    });
    at.fails(&["cannot reach http://127.0.0.1", "owner/tiny", "what came is kept"]);
    let asked = at.server.asked();
    let whole = gets(&asked, UNET).iter().filter(|asked| asked.range.is_none()).count();
    assert!((2..5).contains(&whole), "{whole} of {asked:?}");
}

#[test]
fn sizes_that_disagree_are_told_at_once() {
    /// What is fetched first.
    const TEXT: &str = "text_encoder/model.safetensors";
    let size = |file: &str| fs::metadata(Path::new(&tiny()).join(file)).unwrap().len();
    let fails = |at: &Setting, file: &str, described: u64, sent: u64, requests: usize| {
        let parts = [file, "sizes disagree", &format!("{described} bytes"), &format!("{sent} when")];
        at.fails(&parts);
        assert_eq!(gets(&at.server.asked(), file).len(), requests);
    };
    // By the length of the whole file, and by what is said where a part of it is asked for.
    let at = Setting::new();
    at.server.change(|state| state.excess = 100);
    fails(&at, TEXT, size(TEXT) + 100, size(TEXT), 1);
    let at = Setting::new();
    at.server.change(|state| {
        state.no_ranges = Some(format!("bytes */{}", size(UNET) - 100));
        state.drops.insert(UNET.into(), vec![100_000]);
    });
    fails(&at, UNET, size(UNET), size(UNET) - 100, 2);
    // Nothing is lost when it comes to its senses.
    at.server.change(|state| state.no_ranges = None);
    at.drawn();
    assert_eq!(gets(&at.server.asked(), UNET)[0].range.as_deref(), Some("bytes=100000-"));
}

#[test]
fn a_wrong_checksum_is_an_error_and_the_file_does_not_stay() {
    let at = Setting::new();
    at.server.change(|state| state.damaged.push(UNET.into()));
    let sum = sha256(&fs::read(Path::new(&tiny()).join(UNET)).unwrap());
    at.fails(&[&format!("owner/tiny/{UNET}"), "damaged", "SHA-256", &sum, "removed"]);
    assert!(at.blobs().iter().all(|blob| !blob.starts_with(&sum)), "{:?}", at.blobs());
    assert!(!at.cache().join("refs/main").exists());
    at.fails(&["SHA-256"]);
    at.server.change(|state| state.damaged.clear());
    at.drawn();
}

#[test]
fn what_the_hub_refuses_is_told_with_the_way_out() {
    let at = Setting::new();
    for (refuses, parts) in [
        ((401, "RepoNotFound"), &["no folder owner/tiny here", "no model of that name", "HF_TOKEN"][..]),
        ((404, "RepoNotFound"), &["owner/tiny", "no model of that name"]),
        ((401, "GatedRepo"), &["owner/tiny is gated", "accept its terms", "/owner/tiny", "HF_TOKEN"]),
        ((403, "GatedRepo"), &["is gated"]),
        ((404, "RevisionNotFound"), &["owner/tiny has no revision main"]),
        ((429, ""), &["429", "too many requests"]),
        ((503, ""), &["503", "try again later"]),
    ] {
        at.server.change(|state| state.refuses = Some(refuses));
        at.fails(parts);
    }
    at.server.change(|state| {
        state.refuses = None;
        state.files.remove("unet/config.json");
    });
    at.fails(&["owner/tiny", "no unet/config.json", "diffusers layout"]);
    at.server.change(|state| state.files.retain(|name, _| name.ends_with(".ckpt")));
    at.fails(&["no model_index.json"]);
    let folder = Folder::new().with("HF_ENDPOINT", "http://127.0.0.1:1");
    let args = ["generate", "a cat", "--backend", "cpu", "-m", "owner/tiny"];
    folder.fails(1, &args, &["cannot reach http://127.0.0.1:1", "model_index.json", "-m FOLDER"]);
    let folder = folder.with("HF_HUB_OFFLINE", "1");
    folder.fails(
        1,
        &args,
        &["owner/tiny is not to be had from the cache", "nothing of it", "HF_HUB_OFFLINE"],
    );
}

#[test]
fn a_proxy_that_does_not_answer_is_told_from_a_hub_that_does_not() {
    let at = Setting::new();
    let args = ["inspect", "owner/tiny"];
    let reach = format!("cannot reach {}", at.server.endpoint());
    let folder = at.folder.with("http_proxy", "http://me:secret@127.0.0.1:1");
    // Windows knows a variable in one spelling.
    let variable = if cfg!(windows) { "HTTP_PROXY" } else { "http_proxy" };
    let way = format!("{reach} through the proxy http://127.0.0.1:1 of {variable} (");
    folder.fails(1, &args, &[&way, "unset it", "NO_PROXY"]);
    assert!(at.server.asked().is_empty());
    // Where it does not lie on the way, it is not at fault.
    let folder = folder.with("NO_PROXY", "127.0.0.1,localhost");
    folder.run(&args);
    let folder = folder.with("HF_HOME", "elsewhere").with("HF_ENDPOINT", "http://127.0.0.1:1");
    folder.fails(1, &args, &["cannot reach http://127.0.0.1:1 ("]);
}

#[cfg(unix)]
#[test]
fn a_cache_that_can_be_none_is_told_with_its_variable() {
    for (variable, place) in [
        ("HF_HOME", "file"),
        ("HF_HOME", "file/below"),
        ("HF_HUB_CACHE", "file"),
        ("HUGGINGFACE_HUB_CACHE", "file"),
        ("HF_HUB_CACHE", "/dev/null/cache"),
    ] {
        let at = Setting::new();
        at.folder.write("file", "");
        let folder = at.folder.with(variable, place);
        let says = format!("is kept there, as {variable} says: set {variable} to a folder");
        folder.fails(1, &["inspect", "owner/tiny"], &[place, "Not a directory", &says]);
    }
}

#[test]
fn a_token_is_shown_to_the_hub_and_to_nobody_else() {
    let mut at = Setting::new();
    at.folder = at.folder.with("HF_TOKEN", "hf_secret");
    at.drawn();
    for asked in at.server.asked() {
        let expected = (!asked.path.starts_with("/elsewhere/")).then(|| "Bearer hf_secret".to_owned());
        assert_eq!(asked.token, expected, "{}", asked.path);
    }
}

#[test]
fn a_folder_of_the_same_name_wins() {
    let at = Setting::new();
    fs::create_dir_all(at.folder.path().join("owner/tiny")).unwrap();
    at.fails(&["owner/tiny: an empty folder", "model_index.json"]);
    assert!(at.server.asked().is_empty());
    calotype(at.folder.path()).args(["inspect", "owner/tiny"]).assert().code(1);
}

#[test]
fn a_mirror_that_sends_elsewhere_is_followed_without_the_token() {
    for status in [301, 302, 303, 307, 308] {
        let mut at = Setting::new();
        let mirror = Server::new();
        let there = at.server.endpoint();
        mirror.change(|state| state.elsewhere = Some((status, there)));
        at.folder = at.folder.with("HF_ENDPOINT", mirror.endpoint() + "/").with("HF_TOKEN", "hf_secret");
        at.folder.run(&["inspect", "owner/tiny"]);
        assert!(mirror.asked().iter().all(|asked| asked.token.is_some()), "{status}");
        let asked = at.server.asked();
        assert!(!asked.is_empty() && asked.iter().all(|asked| asked.token.is_none()), "{status}");
    }
}

#[test]
fn any_etag_names_a_blob() {
    for mark in ["-1", ":gzip", "/part==", " (2)"] {
        let at = Setting::new();
        at.server.change(|state| state.mark = mark);
        at.folder.run(&["inspect", "owner/tiny"]);
        at.folder.run(&["inspect", "owner/tiny", "--offline"]);
        let file = at.cache().join("snapshots").join(COMMIT).join(UNET);
        assert_eq!(fs::read(file).unwrap(), fs::read(Path::new(&tiny()).join(UNET)).unwrap(), "{mark}");
    }
}

/// Whatever a server lists, nothing is written outside of the cache, and the name is told.
#[test]
fn names_that_lead_out_of_the_cache_are_refused() {
    let lora = "pytorch_lora_weights.safetensors";
    for folder in [
        "../../../../../outside",
        "/outside",
        "a\\..\\..\\outside",
        "C:",
        "a/./b",
        "nul",
        "a//b",
        "x\u{0}y",
        "x.",
    ] {
        let at = Setting::new();
        let name = format!("{folder}/{lora}");
        at.server.change(|state| {
            state.files.insert("calotype.json".into(), b"{}".to_vec());
            state.listed.push(name.clone());
        });
        at.fails(&["http://127.0.0.1", &format!("{name:?}"), "nothing was fetched"]);
        assert!(!at.home.path().join("hub").exists(), "{name}");
        // What nobody takes may have any name.
        at.server.change(|state| state.listed = vec![format!("{folder}/picture.png")]);
        at.folder.run(&["inspect", "owner/tiny"]);
    }
}

#[test]
fn offline_says_which_files_are_missing_and_which_links_lead_nowhere() {
    let at = Setting::new();
    at.folder.run(&["inspect", "owner/tiny"]);
    let snapshot = at.cache().join("snapshots").join(COMMIT);
    let blob = fs::canonicalize(snapshot.join("tokenizer/merges.txt")).unwrap();
    fs::remove_file(blob).unwrap();
    fs::remove_file(snapshot.join("vae/config.json")).unwrap();
    fs::remove_file(snapshot.join(UNET)).unwrap();
    at.folder.fails(
        1,
        &["inspect", "owner/tiny", "--offline"],
        &[
            "vae/config.json is missing",
            "unet's checkpoint (.safetensors or .bin) is missing",
            "tokenizer/merges.txt is a link",
        ],
    );
    at.folder.fails(1, &["inspect", "owner/tiny", "--offline", "--revision", "v2"], &["revision v2", "main"]);
    at.folder.fails(1, &["inspect", "owner/tiny", "--revision", "../main"], &["--revision", "leads out of"]);
    at.server.asked();
    // Online the bytes that are gone are fetched, and the rest is linked again.
    at.folder.run(&["inspect", "owner/tiny"]);
    let asked = at.server.asked();
    let bytes: Vec<&Asked> =
        asked.iter().filter(|a| a.method == "GET" && a.path.contains("/bytes/")).collect();
    assert!(matches!(bytes[..], [one] if one.path.ends_with("tokenizer/merges.txt")), "{bytes:?}");
    at.folder.run(&["inspect", "owner/tiny", "--offline"]);
}

#[test]
fn a_file_that_is_listed_and_not_there_is_named() {
    let at = Setting::new();
    at.server.change(|state| state.listed.push("tokenizer/added_tokens.json".into()));
    at.fails(&["/resolve/", "tokenizer/added_tokens.json", "404", "lists this file"]);
}

#[test]
fn words_that_were_added_come_along() {
    let at = Setting::new();
    at.server.change(|state| {
        state.files.insert("tokenizer/added_tokens.json".into(), br#"{"<toy>": 1452}"#.to_vec());
    });
    let args = ["generate", "a <toy>", "--backend", "cpu", "-m", "owner/tiny"];
    at.folder.fails(1, &args, &["<toy>", "1452", "vocab_size"]);
}
