//! Who may ask: by the host that is named, by where a page comes from, by the key.

use crate::problem::Problem;
use crate::{Shared, is_own};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::Response;
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use sha2::{Digest, Sha256};
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};

pub struct Guard {
    address: SocketAddr,
    hosts: Vec<String>,
    /// Of the key, so that comparing takes as long whatever is sent.
    key: Option<[u8; 32]>,
    closed: AtomicBool,
}

/// Sees that a request may be answered, and puts what was wrong with it into its API's words.
pub async fn stand(State(served): State<Shared>, request: Request, next: Next) -> Response {
    let openai = request.uri().path().starts_with("/v1/");
    let said = |problem: &Problem| if openai { problem.as_openai() } else { problem.as_sdapi() };
    let headers = request.headers();
    // Whether it is alive anyone may ask who can reach it, and for a picture whoever knows what it is called.
    let path = request.uri().path();
    let is_open = path == "/healthz" || path.starts_with("/files/");
    let allowed = served.guard.host(headers).and_then(|()| served.guard.origin(request.method(), headers));
    let allowed = allowed.and_then(|()| if is_open { Ok(()) } else { served.guard.key(headers) });
    if let Err(problem) = allowed.and_then(|()| served.guard.open()) {
        return said(&problem);
    }
    let response = next.run(request).await;
    match response.extensions().get::<Problem>() {
        Some(problem) => said(problem),
        None => response,
    }
}

impl Guard {
    pub fn new(address: SocketAddr, key: Option<&str>, hosts: &[String]) -> Self {
        let hosts = hosts.iter().map(|host| host.to_ascii_lowercase()).collect();
        let key = key.map(|key| Sha256::digest(key).into());
        Self { address, hosts, key, closed: AtomicBool::new(false) }
    }

    /// Answers nothing more.
    pub fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }

    fn open(&self) -> Result<(), Problem> {
        let ending = || Problem::new(StatusCode::SERVICE_UNAVAILABLE, "the server is ending");
        if self.closed.load(Ordering::Relaxed) { Err(ending()) } else { Ok(()) }
    }

    /// A page elsewhere may have its own name lead to this machine (DNS rebinding): the name that a browser called must be one of
    /// ours. On other addresses than this machine's own the key stands for that.
    fn host(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let named = headers.get(header::HOST).and_then(|host| host.to_str().ok()).map(name_of);
        let known = |name: &str| {
            let own = ["localhost", "127.0.0.1", "::1"].contains(&name) || name.ends_with(".localhost");
            let bound =
                name.parse::<IpAddr>().is_ok_and(|ip| ip == self.address.ip() || !is_own(self.address.ip()));
            own || bound || self.hosts.iter().any(|host| host == name)
        };
        match named {
            Some(name) if known(&name) => Ok(()),
            _ => Err(Problem::new(
                StatusCode::FORBIDDEN,
                "the Host that was named is none of this server's: call it by its address, or start it with --allow-host",
            )),
        }
    }

    /// A page elsewhere may send a request, though it cannot read the answer (CSRF): what draws or changes must come from here.
    fn origin(&self, method: &Method, headers: &HeaderMap) -> Result<(), Problem> {
        if [Method::GET, Method::HEAD].contains(method) {
            return Ok(());
        }
        let text = |name: header::HeaderName| headers.get(name).and_then(|value| value.to_str().ok());
        let foreign = match (text(header::ORIGIN), text(header::HOST)) {
            (Some(origin), Some(host)) => {
                origin.split_once("://").is_none_or(|(_, from)| !from.eq_ignore_ascii_case(host))
            }
            (Some(_), None) => true,
            (None, _) => false,
        };
        let cross = headers.get("sec-fetch-site").is_some_and(|site| site == "cross-site");
        match foreign || cross {
            true => Err(Problem::new(StatusCode::FORBIDDEN, "a page from elsewhere cannot ask this server")),
            false => Ok(()),
        }
    }

    fn key(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let Some(key) = &self.key else { return Ok(()) };
        let said = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
        let authorization = said("authorization").and_then(|text| text.split_once(' '));
        let given = match authorization {
            Some((kind, token)) if kind.eq_ignore_ascii_case("bearer") => Some(token.trim().to_owned()),
            Some((kind, pair)) if kind.eq_ignore_ascii_case("basic") => password(pair),
            _ => said("x-api-key").map(String::from),
        };
        let same = |given: String| {
            let given: [u8; 32] = Sha256::digest(given).into();
            given.iter().zip(key).fold(0, |other, (a, b)| other | (a ^ b)) == 0
        };
        let wanted =
            "a key is needed: send it as a bearer's token, as the password of Basic, or as X-Api-Key";
        match given.is_some_and(same) {
            true => Ok(()),
            false => Err(Problem::new(StatusCode::UNAUTHORIZED, wanted)),
        }
    }
}

/// A host without its port, and an address without its brackets, in small letters.
fn name_of(host: &str) -> String {
    let host = host.to_ascii_lowercase();
    if let Some((address, _)) = host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        return address.to_owned();
    }
    host.rsplit_once(':').map_or(host.clone(), |(name, _)| name.to_owned())
}

fn password(pair: &str) -> Option<String> {
    let pair = String::from_utf8(BASE64_STANDARD.decode(pair.trim()).ok()?).ok()?;
    pair.split_once(':').map(|(_, password)| password.to_owned())
}
