//! A server on this machine that speaks as much of the Hugging Face hub's protocol as a download takes: the list of a
//! repository's files; small files behind a redirection to a path, large ones behind one to another host; ranges.

use crate::support::tiny;
use calotype_localhost::{self as localhost, Reply};
use sha2::{Digest, Sha256};
use std::collections::{BTreeMap, HashMap};
use std::fmt::Display;
use std::io::{self, Write};
use std::path::Path;
use std::sync::{Arc, Mutex};

/// The repository's commit.
pub const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

/// A request, as it came.
#[derive(Clone, Debug)]
pub struct Asked {
    pub method: String,
    pub path: String,
    pub range: Option<String>,
    pub token: Option<String>,
    /// Bytes of the body that were sent.
    pub sent: usize,
}

/// What the server has, and how it misbehaves.
#[derive(Default)]
pub struct State {
    pub files: BTreeMap<String, Vec<u8>>,
    pub asked: Vec<Asked>,
    /// For requests of a file's bytes, in order: after how many the connection drops.
    pub drops: HashMap<String, Vec<usize>>,
    /// Files whose bytes are not those that were announced.
    pub damaged: Vec<String>,
    /// Whether ranges are passed over.
    pub whole_only: bool,
    /// How many bytes more than they have large files are said to have.
    pub excess: usize,
    /// Whether ranges are refused, and with which `Content-Range`.
    pub no_ranges: Option<String>,
    /// An error in place of everything: status, and the hub's word for it.
    pub refuses: Option<(u16, &'static str)>,
    /// A redirection in place of everything: status, and the server that has it.
    pub elsewhere: Option<(u16, String)>,
    /// Names that are listed besides.
    pub listed: Vec<String>,
    /// What ETags end in.
    pub mark: &'static str,
}

pub struct Server {
    port: u16,
    state: Arc<Mutex<State>>,
}

impl Server {
    /// Serves the tiny model as `owner/tiny`.
    pub fn new() -> Self {
        let mut state = State::default();
        read(Path::new(&tiny()), "", &mut state.files);
        // What repositories hold besides.
        for name in
            ["README.md", "v1.ckpt", "safety_checker/model.safetensors", "unet/diffusion_pytorch_model.bin"]
        {
            state.files.insert(name.into(), b"nothing to see here".to_vec());
        }
        let card = "---\nlicense: creativeml-openrail-m\ntags:\n- text-to-image\n---\n# Tiny\n";
        state.files.insert("README.md".into(), card.into());
        let state = Arc::new(Mutex::new(state));
        let shared = Arc::clone(&state);
        let port = localhost::spawn(move |request, reply| {
            let mut asked = Asked {
                method: request.method.clone(),
                path: request.path.clone(),
                range: request.header("range").map(String::from),
                token: request.header("authorization").map(String::from),
                sent: 0,
            };
            let mut state = shared.lock().unwrap();
            // A client may have gone in the middle.
            let _ = respond(reply, &mut state, &mut asked);
            state.asked.push(asked);
            Ok(())
        });
        Self { port: port.unwrap(), state }
    }

    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub fn change(&self, change: impl FnOnce(&mut State)) {
        change(&mut self.state.lock().unwrap());
    }

    /// What was asked since the last look.
    pub fn asked(&self) -> Vec<Asked> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }
}

/// Requests for a file's bytes.
pub fn gets<'a>(asked: &'a [Asked], file: &str) -> Vec<&'a Asked> {
    let end = format!("/bytes/{file}");
    asked.iter().filter(|a| a.method == "GET" && a.path.ends_with(&end)).collect()
}

pub fn sha256(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|b| format!("{b:02x}")).collect()
}

fn read(folder: &Path, prefix: &str, files: &mut BTreeMap<String, Vec<u8>>) {
    for entry in std::fs::read_dir(folder).unwrap().map(Result::unwrap) {
        let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
        match entry.path().is_dir() {
            true => read(&entry.path(), &format!("{name}/"), files),
            false => drop(files.insert(name, std::fs::read(entry.path()).unwrap())),
        }
    }
}

fn respond(reply: &mut Reply, state: &mut State, asked: &mut Asked) -> io::Result<()> {
    let port = reply.port()?;
    let mut head = |status: &str, headers: &[(&str, String)]| {
        let commit = ("X-Repo-Commit", &COMMIT as &dyn Display);
        let headers = headers.iter().map(|(name, value)| (*name, value as &dyn Display));
        reply.head(status, &headers.chain([commit]).collect::<Vec<_>>())
    };
    let length = |n: usize| ("Content-Length", n.to_string());
    if let Some((status, code)) = state.refuses {
        return head(&format!("{status} No"), &[("X-Error-Code", code.into()), length(0)]);
    }
    if let Some((status, server)) = &state.elsewhere {
        return head(
            &format!("{status} Moved"),
            &[("Location", format!("{server}{}", asked.path)), length(0)],
        );
    }
    if asked.path.starts_with("/api/models/owner/tiny/revision/") {
        let names = state.files.keys().chain(&state.listed);
        let siblings: Vec<_> = names.map(|name| serde_json::json!({ "rfilename": name })).collect();
        let list = serde_json::json!({ "sha": COMMIT, "siblings": siblings }).to_string();
        head("200 OK", &[length(list.len())])?;
        return reply.write_all(list.as_bytes());
    }
    let resolve = format!("/owner/tiny/resolve/{COMMIT}/");
    if let Some(file) = asked.path.strip_prefix(&resolve) {
        let Some(bytes) = state.files.get(file) else {
            return head("404 No", &[("X-Error-Code", "EntryNotFound".into()), length(0)]);
        };
        let size = (bytes.len() + state.excess).to_string();
        let sum = format!("\"{}{}\"", sha256(bytes), state.mark);
        return match file.ends_with(".safetensors") {
            // Large files are elsewhere.
            true => head(
                "302 Found",
                &[
                    ("Location", format!("http://localhost:{port}/elsewhere/bytes/{file}")),
                    ("X-Linked-Etag", sum),
                    ("X-Linked-Size", size),
                    ("ETag", "\"that of a pointer\"".into()),
                    length(0),
                ],
            ),
            false => head(
                "307 Temporary Redirect",
                &[("Location", format!("/api/resolve-cache/{COMMIT}/bytes/{file}")), length(0)],
            ),
        };
    }
    let Some((_, file)) = asked.path.split_once("/bytes/") else { return head("404 No", &[length(0)]) };
    let mut bytes = state.files[file].clone();
    // Git's hash of a small file: not one that a download is checked with.
    let etag = ("ETag", format!("W/\"{}{}\"", &sha256(&bytes)[..40], state.mark));
    if state.damaged.iter().any(|damaged| damaged == file) {
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
    }
    if asked.method == "HEAD" {
        return head("200 OK", &[length(bytes.len()), etag]);
    }
    if let Some(range) = state.no_ranges.as_ref().filter(|_| asked.range.is_some()) {
        return head("416 No", &[("Content-Range", range.clone()), length(0)]);
    }
    let start = asked.range.as_ref().filter(|_| !state.whole_only);
    let part = start.map(|asked| localhost::range(asked, bytes.len() as u64).expect("a range in the file"));
    let from = part.as_ref().map_or(0, |part| part.start as usize);
    let body = &bytes[from..part.as_ref().map_or(bytes.len(), |part| part.end as usize)];
    match part {
        Some(part) => {
            let range = format!("bytes {}-{}/{}", part.start, part.end - 1, bytes.len());
            head("206 Partial Content", &[("Content-Range", range), length(body.len()), etag])?;
        }
        None => head("200 OK", &[length(body.len()), etag])?,
    }
    let drop = state.drops.get_mut(file).filter(|drops| !drops.is_empty()).map(|drops| drops.remove(0));
    let body = &body[..drop.unwrap_or(body.len()).min(body.len())];
    asked.sent = body.len();
    reply.write_all(body)
}
