//! `serve`: a folder on localhost, for development. Any static host serves the page; it wants no special headers.

use anyhow::{Context, Result, ensure};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;
use std::path::{Component, Path, PathBuf};

/// Serves `web/dist` until it is stopped.
pub fn run(port: u16) -> Result<()> {
    let root = crate::web::root().join("web/dist");
    ensure!(root.join("index.html").is_file(), "web/dist is not there yet: cargo xtask web");
    let listener =
        TcpListener::bind(("127.0.0.1", port)).with_context(|| format!("port {port}: choose another"))?;
    println!("http://localhost:{}/ (Ctrl-C ends it)", listener.local_addr()?.port());
    for stream in listener.incoming() {
        let root = root.clone();
        std::thread::spawn(move || stream.and_then(|s| answer(s, &root)));
    }
    Ok(())
}

/// One request, one answer, and the connection is closed.
fn answer(mut stream: TcpStream, root: &Path) -> io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut asked = None;
    for line in lines {
        let line = line?;
        if line.is_empty() {
            break;
        }
        if let Some((name, value)) = line.split_once(':')
            && name.eq_ignore_ascii_case("range")
        {
            asked = Some(value.trim().to_string());
        }
    }
    let mut words = first.split(' ');
    let (method, target) = (words.next().unwrap_or(""), words.next().unwrap_or("/"));
    let head = |status: &str, rest: &str| format!("HTTP/1.1 {status}\r\nConnection: close\r\n{rest}\r\n");
    if !["GET", "HEAD"].contains(&method) {
        return stream.write_all(head("405 Method Not Allowed", "Content-Length: 0\r\n").as_bytes());
    }
    let Some((path, mut file)) = find(root, target) else {
        return stream.write_all(head("404 Not Found", "Content-Length: 0\r\n").as_bytes());
    };
    let size = file.metadata()?.len();
    let mut headers =
        format!("Content-Type: {}\r\nAccept-Ranges: bytes\r\nCache-Control: no-cache\r\n", kind(&path));
    let (status, bytes) = match asked.map(|text| range(&text, size)) {
        None => ("200 OK", 0..size),
        Some(Some(bytes)) => {
            headers += &format!("Content-Range: bytes {}-{}/{size}\r\n", bytes.start, bytes.end - 1);
            ("206 Partial Content", bytes)
        }
        Some(None) => {
            headers += &format!("Content-Range: bytes */{size}\r\n");
            ("416 Range Not Satisfiable", 0..0)
        }
    };
    headers += &format!("Content-Length: {}\r\n", bytes.end - bytes.start);
    stream.write_all(head(status, &headers).as_bytes())?;
    if method == "GET" {
        file.seek(SeekFrom::Start(bytes.start))?;
        io::copy(&mut file.take(bytes.end - bytes.start), &mut stream)?;
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

/// `bytes=FROM-TO`, `bytes=FROM-` or `bytes=-LAST` as a range of a file of `size` bytes.
fn range(text: &str, size: u64) -> Option<Range<u64>> {
    let (from, to) = text.strip_prefix("bytes=")?.split_once('-')?;
    let bytes = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) => from..to.saturating_add(1).min(size),
        (Ok(from), Err(_)) if to.is_empty() => from..size,
        (Err(_), Ok(last)) if from.is_empty() => size.saturating_sub(last)..size,
        _ => return None,
    };
    (bytes.start < bytes.end).then_some(bytes)
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
    fn ranges_are_read_as_browsers_write_them() {
        assert_eq!(range("bytes=0-3", 10), Some(0..4));
        assert_eq!(range("bytes=4-", 10), Some(4..10));
        assert_eq!(range("bytes=-3", 10), Some(7..10));
        assert_eq!(range("bytes=4-99", 10), Some(4..10));
        assert_eq!(range("bytes=10-", 10), None);
        assert_eq!(range("bytes=0-1,4-5", 10), None);
    }

    #[test]
    fn nothing_outside_the_folder_is_served() {
        assert!(find(Path::new("."), "/../Cargo.toml").is_none());
        assert!(find(Path::new(env!("CARGO_MANIFEST_DIR")), "/Cargo.toml?x").is_some());
    }
}
