//! `serve`: a folder on localhost, for development. Any static host serves the page; it wants no special headers.

use anyhow::{Context, Result, ensure};
use calotype_localhost::{self as localhost, HttpRequest, Reply};
use std::fmt::Display;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::net::TcpListener;
use std::path::{Component, Path, PathBuf};

/// Serves `web/dist` until it is stopped.
pub fn run(port: u16) -> Result<()> {
    let root = crate::web::root().join("web/dist");
    ensure!(root.join("index.html").is_file(), "web/dist is not there yet: cargo xtask web");
    let listener =
        TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port}: choose another"))?;
    println!("http://localhost:{}/ (Ctrl-C ends it)", listener.local_addr()?.port());
    localhost::serve(&listener, |request, reply| answer(request, reply, &root));
    Ok(())
}

fn answer(request: &HttpRequest, reply: &mut Reply, root: &Path) -> io::Result<()> {
    if !["GET", "HEAD"].contains(&&*request.method) {
        return reply.head("405 Method Not Allowed", &[("Content-Length", &0)]);
    }
    let Some((path, mut file)) = find(root, &request.path) else {
        return reply.head("404 Not Found", &[("Content-Length", &0)]);
    };
    let size = file.metadata()?.len();
    let asked = request.header("range").map(|text| localhost::range(text, size));
    let (status, bytes, part) = match asked {
        None => ("200 OK", 0..size, None),
        Some(Some(bytes)) => {
            let part = format!("bytes {}-{}/{size}", bytes.start, bytes.end - 1);
            ("206 Partial Content", bytes, Some(part))
        }
        Some(None) => ("416 Range Not Satisfiable", 0..0, Some(format!("bytes */{size}"))),
    };
    let (kind, length) = (kind(&path), bytes.end - bytes.start);
    let mut headers: Vec<(&str, &dyn Display)> =
        vec![("Content-Type", &kind), ("Accept-Ranges", &"bytes"), ("Cache-Control", &"no-cache")];
    headers.push(("Content-Length", &length));
    headers.extend(part.as_ref().map(|part| ("Content-Range", part as &dyn Display)));
    reply.head(status, &headers)?;
    if request.method == "GET" {
        file.seek(SeekFrom::Start(bytes.start))?;
        io::copy(&mut file.take(length), reply)?;
    }
    Ok(())
}

/// The file that a target names, which lies under `root`.
fn find(root: &Path, target: &str) -> Option<(PathBuf, File)> {
    let path = Path::new(target.split(['?', '#']).next()?.trim_start_matches('/'));
    if !path.components().all(|c| matches!(c, Component::Normal(_))) {
        return None;
    }
    let mut path = root.join(path);
    if path.is_dir() {
        path.push("index.html");
    }
    let file = File::open(&path).ok()?;
    Some((path, file))
}

fn kind(path: &Path) -> &'static str {
    match path.extension().and_then(|e| e.to_str()) {
        Some("html") => "text/html; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("json") => "application/json",
        Some("wasm") => "application/wasm",
        Some("png") => "image/png",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_outside_the_folder_is_served() {
        assert!(find(Path::new("."), "/../Cargo.toml").is_none());
        assert!(find(Path::new(env!("CARGO_MANIFEST_DIR")), "/Cargo.toml?x").is_some());
    }
}
