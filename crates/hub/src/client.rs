use crate::environment::Environment;
use crate::url::{self, WebOrigin};
use crate::{Error, Proxy, Result, names};
use serde::Deserialize;
use std::io::{BufReader, Read};
use std::time::Duration;
use ureq::http::{HeaderMap, Response, StatusCode};
use ureq::{Agent, Body};

/// How long to wait for a connection, and for an answer's head, unless the environment says.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one answer's body may take. Downloads go on with another request: a connection that stalls costs no more
/// than this.
const BODY: Duration = Duration::from_secs(120);

/// Redirections of one request.
const REDIRECTS: usize = 20;

/// Bytes of the list of a repository's files.
const LISTING: u64 = 1 << 26;

/// Where the hub's own word for a file stands that lies in storage.
const LINKED: &str = "x-linked-etag";

/// Hosts besides `HF_ENDPOINT`'s that may see a token (huggingface_hub: `_HUB_ORIGINS`).
pub const HUBS: [&str; 3] = ["https://huggingface.co", "https://hub-ci.huggingface.co", "https://hf.co"];

/// A repository's commit, and its files.
pub struct Listing {
    pub sha: String,
    pub files: Vec<String>,
}

/// What the hub says of a file.
#[derive(Clone, Debug)]
pub struct RemoteFile {
    /// Where it is.
    pub url: String,
    /// Its ETag: the SHA-256 of a large file, Git's hash of a small one, a mirror's own word.
    pub etag: String,
    /// The SHA-256 that it must have, where the hub says it.
    pub sha256: Option<String>,
    /// Its bytes, where the server says how many.
    pub size: Option<u64>,
}

/// Speaks with the hub about one repository.
pub struct Client {
    endpoint: String,
    pub name: String,
    token: Option<String>,
    /// Who may see the token.
    hubs: Vec<WebOrigin>,
    agent: Agent,
    patience: [Duration; 2],
}

impl Client {
    pub fn new(environment: &Environment, name: &str) -> Result<Self> {
        let endpoint = environment.endpoint.clone();
        let own = url::origin(&endpoint).ok_or_else(|| Error::Endpoint { endpoint: endpoint.clone() })?;
        // The one step to TLS that servers ask for on the same host.
        let safe = (own.0 == "http" && own.2 == 80).then(|| ("https".into(), own.1.clone(), 443));
        let hubs = HUBS.iter().filter_map(|hub| url::origin(hub)).chain(safe).chain([own]).collect();
        let agent = Agent::config_builder()
            .user_agent(concat!("calotype/", env!("CARGO_PKG_VERSION")))
            .http_status_as_error(false)
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_recv_body(Some(BODY))
            .build()
            .into();
        let patience = environment.patience.map(|set| set.unwrap_or(PATIENCE));
        Ok(Self { endpoint, name: name.into(), token: environment.token()?, hubs, agent, patience })
    }

    /// The files of a repository at a revision, and its commit.
    pub fn list(&self, revision: &str) -> Result<Listing> {
        #[derive(Deserialize)]
        struct Info {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let revision_ = url::quote(revision, false);
        let url = format!("{}/api/models/{}/revision/{revision_}", self.endpoint, self.name);
        let (url, answer) = self.ask(false, &url, None)?;
        if !answer.status().is_success() {
            return Err(self.refused(&answer, &url, Asked::Repository { revision }));
        }
        let mut text = Vec::new();
        self.body(answer, &url)?.take(LISTING).read_to_end(&mut text).map_err(|e| self.unreachable(&e))?;
        let info: Info = serde_json::from_slice(&text)
            .map_err(|e| self.answer(&url, format!("with what is no list of files: {e}")))?;
        if let Some(why) = names::part(&info.sha) {
            return Err(Error::UnsafeName { url, kind: "commit", name: info.sha, why });
        }
        Ok(Listing { sha: info.sha, files: info.siblings.into_iter().map(|file| file.rfilename).collect() })
    }

    /// What the hub says of a file at a commit.
    pub fn describe(&self, sha: &str, path: &str) -> Result<RemoteFile> {
        let path_ = url::quote(path, true);
        let source = format!("{}/{}/resolve/{}/{path_}", self.endpoint, self.name, url::quote(sha, false));
        let (url, answer) = self.ask(true, &source, None)?;
        if !answer.status().is_success() && moved(&url, &answer).is_none() {
            return Err(self.refused(&answer, &url, Asked::File));
        }
        let linked = answer.headers().contains_key(LINKED);
        let Some(etag) = etag(answer.headers()) else {
            return Err(self.answer(&url, format!("without an ETag for {path}: it is no hub")));
        };
        let number = |name| header(answer.headers(), name).and_then(|size| size.trim().parse().ok());
        // A redirection's length is its own, and a packed one is not the file's.
        let whole = answer.status().is_success() && encoding(answer.headers()).is_none();
        let size = number("x-linked-size").or_else(|| number("content-length").filter(|_| whole));
        let sum = |etag: &String| etag.len() == 64 && etag.bytes().all(|b| b.is_ascii_hexdigit());
        let sha256 = Some(etag.clone()).filter(|etag| linked && sum(etag));
        Ok(RemoteFile { url: source, etag, sha256, size })
    }

    /// A file's bytes, from `start` on where the server can.
    pub fn get(&self, file: &RemoteFile, start: u64) -> Result<Response<Body>> {
        let (url, answer) = self.ask(false, &file.url, (start > 0).then_some(start))?;
        match answer.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(answer),
            _ => Err(self.refused(&answer, &url, Asked::File)),
        }
    }

    /// An answer's body, unpacked where the server packed it all the same.
    pub fn body(&self, answer: Response<Body>, url: &str) -> Result<Box<dyn Read>> {
        let packed = encoding(answer.headers());
        let body = answer.into_body().into_reader();
        match packed.as_deref() {
            None => Ok(Box::new(body)),
            Some("gzip" | "x-gzip") => Ok(Box::new(flate2::read::MultiGzDecoder::new(BufReader::new(body)))),
            Some(other) => Err(self.answer(url, format!("in {other}, though it was asked for plain bytes"))),
        }
    }

    /// Sends a request and follows redirections, whose hosts see the token only if they are hubs. A HEAD goes no
    /// further than to the answer that leaves the hubs and says what is asked for: storage knows less.
    fn ask(&self, head: bool, url: &str, start: Option<u64>) -> Result<(String, Response<Body>)> {
        let (mut url, mut trusted) = (url.to_owned(), true);
        for _ in 0..=REDIRECTS {
            let answer = self.send(head, &url, start, trusted)?;
            let Some(target) = moved(&url, &answer) else { return Ok((url, answer)) };
            let Some(origin) = url::origin(&target) else {
                return Err(self.answer(&url, format!("with a redirection to {target}")));
            };
            let stays = self.hubs.contains(&origin) || url::origin(&url).as_ref() == Some(&origin);
            if head && !stays && etag(answer.headers()).is_some() {
                return Ok((url, answer));
            }
            trusted &= stays;
            url = target;
        }
        Err(self.answer(&url, "with one redirection after another".into()))
    }

    fn send(&self, head: bool, url: &str, start: Option<u64>, trusted: bool) -> Result<Response<Body>> {
        let patience = Some(self.patience[usize::from(!head)]);
        let request = if head { self.agent.head(url) } else { self.agent.get(url) };
        // Ranges count the file's own bytes.
        let mut request = request.header("Accept-Encoding", "identity");
        if let Some(token) = self.token.as_ref().filter(|_| trusted) {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(start) = start {
            request = request.header("Range", format!("bytes={start}-"));
        }
        let request = request.config().timeout_connect(patience).timeout_recv_response(patience).build();
        request.call().map_err(|e| self.unreachable(&e))
    }

    /// The network's fault, told with the way around it.
    pub fn unreachable(&self, why: &impl ToString) -> Error {
        let proxy = Proxy::to(&self.endpoint, &self.agent);
        Error::Network {
            name: self.name.clone(),
            endpoint: self.endpoint.clone(),
            proxy,
            why: why.to_string(),
        }
    }

    fn answer(&self, url: &str, answer: String) -> Error {
        let hint = match HUBS[0] == self.endpoint {
            true => "",
            false => ": HF_ENDPOINT must name a server that speaks as huggingface.co does",
        };
        Error::Answer { url: url.into(), answer, hint, lasting: true }
    }

    /// The hub's reasons are in headers of its own (huggingface_hub: `hf_raise_for_status`).
    fn refused(&self, answer: &Response<Body>, url: &str, asked: Asked) -> Error {
        let (name, endpoint) = (self.name.clone(), self.endpoint.clone());
        let header = |name| header(answer.headers(), name).unwrap_or_default();
        let why = header("x-error-message");
        match (answer.status().as_u16(), &*header("x-error-code"), asked) {
            (_, "GatedRepo", _) => Error::Gated { name, endpoint },
            (_, "RevisionNotFound", Asked::Repository { revision }) => {
                Error::NoRevision { name, revision: revision.into(), endpoint }
            }
            (401, ..) if why == "Invalid credentials in Authorization header" => Error::BadToken { endpoint },
            // To strangers the hub does not say which names there are.
            (_, "RepoNotFound", _) | (401, ..) | (404, _, Asked::Repository { .. }) => {
                Error::NoModel { name, endpoint }
            }
            (status, ..) => {
                let hint = match status {
                    403 => ": the token of HF_TOKEN or of `hf auth login` may not read this model",
                    404 => {
                        ": the server lists this file and does not have it; try again later or set HF_ENDPOINT to \
                            another"
                    }
                    429 => ": too many requests; wait some minutes",
                    500.. => ": try again later; what came is kept",
                    _ => "",
                };
                let answer = match &*why {
                    "" => answer.status().to_string(),
                    why => format!("{} ({})", answer.status(), why.escape_debug()),
                };
                let lasting = !matches!(status, 408 | 429 | 500..);
                Error::Answer { url: url.into(), answer, hint, lasting }
            }
        }
    }
}

/// What a request was about.
#[derive(Clone, Copy)]
enum Asked<'a> {
    Repository { revision: &'a str },
    File,
}

/// Where an answer sends us.
fn moved(url: &str, answer: &Response<Body>) -> Option<String> {
    let redirects = matches!(answer.status().as_u16(), 301 | 302 | 303 | 307 | 308);
    let location = answer.headers().get("location").filter(|_| redirects)?;
    Some(url::join(url, location.as_bytes()))
}

/// A header, each byte a character.
fn header(headers: &HeaderMap, name: &str) -> Option<String> {
    Some(headers.get(name)?.as_bytes().iter().map(|&b| char::from(b)).collect())
}

/// The ETag of a file, or of the one that stands for it, without marks as huggingface_hub takes them off
/// (`_normalize_etag`).
fn etag(headers: &HeaderMap) -> Option<String> {
    let text = header(headers, LINKED).or_else(|| header(headers, "etag"))?;
    let plain = text.trim_start_matches(['W', '/']).trim_matches('"');
    (!plain.is_empty()).then(|| plain.to_owned())
}

/// How a body is packed, where it is.
pub fn encoding(headers: &HeaderMap) -> Option<String> {
    let packed = header(headers, "content-encoding")?.trim().to_ascii_lowercase();
    (!packed.is_empty() && packed != "identity").then_some(packed)
}
