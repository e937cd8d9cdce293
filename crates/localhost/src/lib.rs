//! HTTP on this machine, for the page's development and for tests: one request, one answer, and the connection is closed
//! (RFC 9110 and 9112, as much as that takes). Nothing here is fit for a network.

use std::collections::HashMap;
use std::fmt::Display;
use std::io::{self, BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::ops::Range;

/// A request, as it came, without a body.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// `GET`, `HEAD`, …
    pub method: String,
    /// The target: the path, with a query where there is one.
    pub path: String,
    /// By their names in small letters.
    headers: HashMap<String, String>,
}

impl HttpRequest {
    fn read(stream: &TcpStream) -> io::Result<Self> {
        let mut lines = BufReader::new(stream).lines();
        let first = lines.next().transpose()?.unwrap_or_default();
        let mut words = first.split(' ').map(String::from);
        let (Some(method), Some(path)) = (words.next(), words.next()) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no request"));
        };
        let mut headers = HashMap::new();
        for line in lines {
            let line = line?;
            if line.is_empty() {
                break;
            }
            if let Some((name, value)) = line.split_once(':') {
                headers.insert(name.to_lowercase(), value.trim().to_string());
            }
        }
        Ok(Self { method, path, headers })
    }

    /// A header by its name in small letters.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(String::as_str)
    }
}

/// Where an answer goes: [`Reply::head`] first, then its body by [`Write`].
pub struct Reply(TcpStream);

impl Reply {
    /// The port that was asked.
    pub fn port(&self) -> io::Result<u16> {
        Ok(self.0.local_addr()?.port())
    }

    /// The status line and the headers; `status` is `200 OK` or the like.
    pub fn head(&mut self, status: &str, headers: &[(&str, &dyn Display)]) -> io::Result<()> {
        let mut text = format!("HTTP/1.1 {status}\r\nConnection: close\r\n");
        headers.iter().for_each(|(name, value)| text += &format!("{name}: {value}\r\n"));
        self.0.write_all((text + "\r\n").as_bytes())
    }
}

impl Write for Reply {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Answers each request on a thread of its own until the listener fails. A connection that breaks concerns nobody else.
pub fn serve(listener: &TcpListener, answer: impl Fn(&HttpRequest, &mut Reply) -> io::Result<()> + Sync) {
    std::thread::scope(|scope| {
        for stream in listener.incoming().map_while(Result::ok) {
            let answer = &answer;
            scope.spawn(move || answer(&HttpRequest::read(&stream)?, &mut Reply(stream)));
        }
    });
}

/// Serves at a free port of this machine, which is returned, until the process ends.
pub fn spawn(
    answer: impl Fn(&HttpRequest, &mut Reply) -> io::Result<()> + Send + Sync + 'static,
) -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    std::thread::spawn(move || serve(&listener, answer));
    Ok(port)
}

/// What a `Range` header (`bytes=FROM-TO`, `bytes=FROM-` or `bytes=-LAST`; RFC 9110 §14.1.2) names of `size` bytes:
/// `None` where it is none of these or lies outside.
pub fn range(header: &str, size: u64) -> Option<Range<u64>> {
    let (from, to) = header.strip_prefix("bytes=")?.split_once('-')?;
    let bytes = match (from.parse::<u64>(), to.parse::<u64>()) {
        (Ok(from), Ok(to)) => from..to.saturating_add(1).min(size),
        (Ok(from), Err(_)) if to.is_empty() => from..size,
        (Err(_), Ok(last)) if from.is_empty() => size.saturating_sub(last)..size,
        _ => return None,
    };
    (bytes.start < bytes.end).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

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
    fn a_request_is_answered() {
        let port = spawn(|request, reply| {
            let said = format!("{} {} {:?}", request.method, request.path, request.header("range"));
            reply.head("200 OK", &[("Content-Length", &said.len())])?;
            reply.write_all(said.as_bytes())
        });
        let mut stream = TcpStream::connect(("127.0.0.1", port.unwrap())).unwrap();
        stream.write_all(b"GET /a?b HTTP/1.1\r\nRANGE:  bytes=1- \r\n\r\n").unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let expected =
            "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 25\r\n\r\nGET /a?b Some(\"bytes=1-\")";
        assert_eq!(answer, expected);
    }
}
