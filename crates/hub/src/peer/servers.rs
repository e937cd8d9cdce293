//! A server that answers from a table.

use calotype_localhost::{HttpRequest, Reply};
use flate2::{Compression, write::GzEncoder};
use serde::Deserialize;
use std::collections::{BTreeSet, HashMap};
use std::fmt::Display;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, OnceLock};

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

/// Both servers' names and addresses.
type Addresses = [(&'static str, String); 2];

/// Two servers that answer from one table, and write down who was shown a token.
pub struct Servers {
    pub addresses: Addresses,
    pub state: Arc<Mutex<State>>,
}

impl Servers {
    pub fn new() -> Self {
        let state = Arc::<Mutex<State>>::default();
        let all: Arc<OnceLock<Addresses>> = Arc::default();
        let addresses = ["here", "there"].map(|host| {
            let (state, all) = (Arc::clone(&state), Arc::clone(&all));
            let port = calotype_localhost::spawn(move |request, reply| {
                respond(request, reply, host, all.wait(), &mut state.lock().unwrap())
            });
            (host, format!("http://127.0.0.1:{}", port.unwrap()))
        });
        all.set(addresses.clone()).unwrap();
        Self { addresses, state }
    }
}

fn respond(
    request: &HttpRequest,
    reply: &mut Reply,
    host: &'static str,
    addresses: &Addresses,
    state: &mut State,
) -> io::Result<()> {
    if request.header("authorization").is_some() {
        state.1.insert(host);
    }
    let none = Answer {
        status: 404,
        headers: HashMap::new(),
        body: String::new(),
        framing: String::new(),
        gzip: String::new(),
    };
    let answer = state.0.get(&format!("{host} {}", request.path)).cloned().unwrap_or(none);
    let mut body = answer.body.into_bytes();
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in &answer.headers {
        let value =
            addresses.iter().fold(value.clone(), |v, (host, at)| v.replace(&format!("{{{host}}}"), at));
        headers.push((name.clone(), value));
    }
    if answer.gzip == "always" || answer.gzip == "get" && request.method == "GET" {
        let mut packed = GzEncoder::new(Vec::new(), Compression::default());
        packed.write_all(&body)?;
        body = packed.finish()?;
        headers.push(("Content-Encoding".into(), "gzip".into()));
    }
    match &*answer.framing {
        "chunked" => {
            headers.push(("Transfer-Encoding".into(), "chunked".into()));
            body = [format!("{:x}\r\n", body.len()).as_bytes(), &body, b"\r\n0\r\n\r\n"].concat();
        }
        "close" => {}
        _ => headers.push(("Content-Length".into(), body.len().to_string())),
    }
    let headers: Vec<(&str, &dyn Display)> =
        headers.iter().map(|(name, value)| (&**name, value as &dyn Display)).collect();
    reply.head(&format!("{} So", answer.status), &headers)?;
    if request.method == "HEAD" { Ok(()) } else { reply.write_all(&body) }
}
