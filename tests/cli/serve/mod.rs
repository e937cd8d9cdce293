//! `calotype serve`: what front ends send is answered as AUTOMATIC1111's web UI and OpenAI's API answer it, and who is not to
//! ask is refused.

mod answers;
mod queue;
mod refusals;

use crate::support::Folder;
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};

/// A server that ends with its test.
pub struct Server {
    pub child: Child,
    pub port: u16,
}

/// What was answered.
pub struct Answer {
    pub status: u16,
    pub head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn json(&self) -> Json {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Server {
    pub fn start(folder: &Folder, more: &[&str]) -> Self {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_calotype"));
        command.current_dir(folder.path()).env("CALOTYPE_CACHE_DIR", "").env("HF_HOME", folder.path());
        command.args(["serve", "--port", "0", "--backend", "cpu"]).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = line.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.split(' ').next());
        let port = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
        Self { child, port }
    }

    pub fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let own = format!("127.0.0.1:{}", self.port);
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {own}\r\n");
        }
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        stream.write_all(&[head.as_bytes(), b"\r\n", body].concat()).unwrap();
        let mut all = Vec::new();
        // A body that is refused is not read to its end.
        let _ = stream.read_to_end(&mut all);
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("no answer");
        let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: all[end + 4..].to_vec() }
    }

    pub fn get(&self, path: &str) -> Json {
        let answer = self.ask("GET", path, &[], &[]);
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    pub fn post(&self, path: &str, body: &Json) -> Answer {
        self.ask("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    /// What is refused, and with which words.
    pub fn refused(&self, path: &str, body: &Json, status: u16, part: &str) {
        let answer = self.post(path, body);
        let said = answer.json();
        let words = said["detail"].as_str().or(said["error"]["message"].as_str()).unwrap_or_default();
        assert!(
            answer.status == status && words.contains(part),
            "{path} {body}: {} {words:?}",
            answer.status
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn to_base64(bytes: &[u8]) -> String {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.encode(bytes)
}

pub fn from_base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.decode(text).unwrap()
}

/// A picture that takes no time.
pub fn small() -> Json {
    json!({"prompt": "a cat", "seed": 7, "steps": 3, "width": 64, "height": 64, "sampler_name": "Euler a"})
}

pub fn with(fields: Json) -> Json {
    let mut all = small();
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    all
}
