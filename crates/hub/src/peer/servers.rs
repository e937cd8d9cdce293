//! A server that answers from a table.

use flate2::{Compression, write::GzEncoder};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

/// What is answered to a request.
#[derive(Clone, Deserialize)]
pub struct Answer {
    pub status: u16,
    #[serde(default)]
    pub headers: HashMap<String, String>,
    #[serde(default)]
    pub body: String,
    #[serde(default)]
    pub framing: String,
    #[serde(default)]
    pub gzip: String,
}

/// The table, by `host path`, and who was shown a token.
type State = (HashMap<String, Answer>, BTreeSet<&'static str>);

/// Two servers that answer from one table, and write down who was shown a token.
pub struct Servers {
    pub addresses: [(&'static str, String); 2],
    pub state: Arc<Mutex<State>>,
}

impl Servers {
    pub fn new() -> Self {
        let listeners = ["here", "there"].map(|host| (host, TcpListener::bind("127.0.0.1:0").unwrap()));
        let addresses =
            listeners.each_ref().map(|(host, on)| (*host, format!("http://{}", on.local_addr().unwrap())));
        let state = Arc::default();
        for (host, listener) in listeners {
            let (state, addresses) = (Arc::clone(&state), addresses.clone());
            // They end with the test.
            std::thread::spawn(move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    respond(stream, host, &addresses, &state);
                }
            });
        }
        Self { addresses, state }
    }
}

fn respond(mut stream: TcpStream, host: &'static str, addresses: &[(&str, String)], state: &Mutex<State>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
    let Some(first) = lines.next() else { return };
    let mut words = first.split(' ');
    let (method, path) = (words.next().unwrap(), words.next().unwrap());
    let token = lines
        .take_while(|line| !line.is_empty())
        .any(|line| line.to_lowercase().starts_with("authorization:"));
    let mut state = state.lock().unwrap();
    if token {
        state.1.insert(host);
    }
    let none = Answer {
        status: 404,
        headers: HashMap::new(),
        body: String::new(),
        framing: String::new(),
        gzip: String::new(),
    };
    let answer = state.0.get(&format!("{host} {path}")).cloned().unwrap_or(none);
    let mut body = answer.body.into_bytes();
    let mut head = format!("HTTP/1.1 {} So\r\nConnection: close\r\n", answer.status);
    for (name, value) in &answer.headers {
        let value =
            addresses.iter().fold(value.clone(), |v, (host, at)| v.replace(&format!("{{{host}}}"), at));
        head += &format!("{name}: {value}\r\n");
    }
    if answer.gzip == "always" || answer.gzip == "get" && method == "GET" {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&body).unwrap();
        body = packed.finish().unwrap();
        head += "Content-Encoding: gzip\r\n";
    }
    match &*answer.framing {
        "chunked" => {
            head += "Transfer-Encoding: chunked\r\n";
            body = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        }
        "close" => {}
        _ => head += &format!("Content-Length: {}\r\n", body.len()),
    }
    let body = if method == "HEAD" { &[][..] } else { &body };
    let _ = stream.write_all(&[(head + "\r\n").as_bytes(), body].concat());
}
