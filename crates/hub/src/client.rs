use crate::{Error, Result};
use hf_hub::Repo;
use serde::Deserialize;
use std::time::Duration;
use ureq::config::RedirectAuthHeaders;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

/// How long to wait for a connection, and for an answer's head.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long one answer's body may take. Downloads go on with another request: a connection that stalls costs no more
/// than this.
const BODY: Duration = Duration::from_secs(120);

/// A repository's commit, and its files.
pub struct Listing {
    pub sha: String,
    pub files: Vec<String>,
}

/// What the hub says of a file.
#[derive(Clone, Debug)]
pub struct Remote {
    /// Where it is.
    pub url: String,
    /// Its name among the cache's blobs: the SHA-256 of a large file, Git's hash of a small one.
    pub etag: String,
    /// Its bytes.
    pub size: u64,
}

impl Remote {
    /// The SHA-256 that it must have, where the hub says it.
    pub fn sha256(&self) -> Option<&str> {
        Some(&*self.etag).filter(|etag| etag.len() == 64 && etag.bytes().all(|b| b.is_ascii_hexdigit()))
    }
}

/// Speaks with the hub about one repository.
pub struct Client {
    endpoint: String,
    pub name: String,
    token: Option<String>,
    /// Follows redirections, to whom it does not tell the token.
    agent: Agent,
    /// Follows none: what the hub says of a large file is in the head of a redirection.
    direct: Agent,
}

impl Client {
    pub fn new(endpoint: &str, name: &str, token: Option<&str>) -> Self {
        let config = || {
            Agent::config_builder()
                .user_agent(concat!("calotype/", env!("CARGO_PKG_VERSION")))
                .http_status_as_error(false)
                .redirect_auth_headers(RedirectAuthHeaders::SameHost)
                .timeout_connect(Some(PATIENCE))
                .timeout_recv_response(Some(PATIENCE))
                .timeout_recv_body(Some(BODY))
        };
        Self {
            endpoint: endpoint.into(),
            name: name.into(),
            token: token.map(String::from),
            agent: config().build().into(),
            direct: config().max_redirects(0).max_redirects_will_error(false).build().into(),
        }
    }

    /// The files of a repository at a revision, and its commit.
    pub fn list(&self, repo: &Repo) -> Result<Listing> {
        #[derive(Deserialize)]
        struct Info {
            sha: String,
            siblings: Vec<Sibling>,
        }
        #[derive(Deserialize)]
        struct Sibling {
            rfilename: String,
        }
        let url = format!("{}/api/{}", self.endpoint, repo.api_url());
        let mut answer = self.send(&self.agent, &url, None, false)?;
        if !answer.status().is_success() {
            return Err(self.refused(&answer, &url, repo.revision()));
        }
        let text = answer.body_mut().read_to_string().map_err(|e| self.unreachable(&e))?;
        let info: Info = serde_json::from_str(&text)
            .map_err(|e| self.answer(&url, format!("with what is no list of files: {e}")))?;
        Ok(Listing { sha: info.sha, files: info.siblings.into_iter().map(|file| file.rfilename).collect() })
    }

    /// What the hub says of a file at a commit.
    pub fn describe(&self, repo: &Repo, sha: &str, path: &str) -> Result<Remote> {
        let source = format!("{}/{}/resolve/{sha}/{path}", self.endpoint, repo.url());
        let mut url = source.clone();
        // A repository that was renamed answers with a path on the same server, a large file with another server.
        for _ in 0..5 {
            let answer = self.send(&self.direct, &url, None, true)?;
            let header = |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok());
            let moved = header("location").filter(|_| answer.status().is_redirection());
            if let Some(path) = moved.filter(|location| location.starts_with('/')) {
                url = format!("{}{path}", self.endpoint);
                continue;
            }
            if !answer.status().is_success() && moved.is_none() {
                return Err(self.refused(&answer, &url, sha));
            }
            let own = |name: &str| header(name).filter(|_| moved.is_none());
            let etag = header("x-linked-etag").or(own("etag"));
            let etag = etag.map(|etag| etag.trim_start_matches("W/").trim_matches('"').to_owned());
            let size = header("x-linked-size").or(own("content-length")).and_then(|size| size.parse().ok());
            let plain = |etag: &String| !etag.is_empty() && etag.bytes().all(|b| b.is_ascii_alphanumeric());
            return match (etag.filter(plain), size) {
                (Some(etag), Some(size)) => Ok(Remote { url: source, etag, size }),
                _ => Err(self.answer(&url, "without the file's ETag and size".into())),
            };
        }
        Err(self.answer(&url, "with one redirection after another".into()))
    }

    /// A file's bytes, from `start` on where the server can.
    pub fn get(&self, file: &Remote, start: u64) -> Result<Response<Body>> {
        let answer = self.send(&self.agent, &file.url, (start > 0).then_some(start), false)?;
        match answer.status() {
            StatusCode::OK | StatusCode::PARTIAL_CONTENT | StatusCode::RANGE_NOT_SATISFIABLE => Ok(answer),
            _ => Err(self.refused(&answer, &file.url, "")),
        }
    }

    fn send(&self, agent: &Agent, url: &str, start: Option<u64>, head: bool) -> Result<Response<Body>> {
        let mut request = if head { agent.head(url) } else { agent.get(url) };
        // Ranges count the file's own bytes.
        request = request.header("Accept-Encoding", "identity");
        if let Some(token) = &self.token {
            request = request.header("Authorization", format!("Bearer {token}"));
        }
        if let Some(start) = start {
            request = request.header("Range", format!("bytes={start}-"));
        }
        request.call().map_err(|e| self.unreachable(&e))
    }

    /// The network's fault, told with the way around it.
    pub fn unreachable(&self, why: &impl ToString) -> Error {
        Error::Network { name: self.name.clone(), endpoint: self.endpoint.clone(), why: why.to_string() }
    }

    fn answer(&self, url: &str, answer: String) -> Error {
        Error::Answer { url: url.into(), answer, hint: "" }
    }

    /// The hub's reasons are in headers of its own (huggingface_hub: `hf_raise_for_status`).
    fn refused(&self, answer: &Response<Body>, url: &str, revision: &str) -> Error {
        let (name, endpoint) = (self.name.clone(), self.endpoint.clone());
        let header =
            |name: &str| answer.headers().get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        match (answer.status().as_u16(), header("x-error-code")) {
            (_, "GatedRepo") => Error::Gated { name, endpoint },
            (_, "RevisionNotFound") => Error::NoRevision { name, revision: revision.into(), endpoint },
            (401, _) if header("x-error-message") == "Invalid credentials in Authorization header" => {
                Error::BadToken { endpoint }
            }
            // To strangers the hub does not say which names there are.
            (_, "RepoNotFound") | (401 | 404, _) => Error::NoModel { name, endpoint },
            (status, _) => {
                let hint = match status {
                    403 => ": HF_TOKEN may not read this model",
                    429 => ": too many requests; wait some minutes",
                    500.. => ": try again later; what came is kept",
                    _ => "",
                };
                let why = header("x-error-message");
                let answer = if why.is_empty() { status.to_string() } else { format!("{status} ({why})") };
                Error::Answer { url: url.into(), answer, hint }
            }
        }
    }
}
