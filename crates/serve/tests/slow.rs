//! Requests that never end, and more connections than may be open: others are answered all the same.

use calotype::{Device, ModelPlace, Pipeline, Precision, Search};
use calotype_serve::{Config, Limits, ModelEntry};
use calotype_worker::{Open, Worker};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

const STILL: Duration = Duration::from_millis(300);

fn open() -> Open {
    Box::new(|place| {
        let place = ModelPlace::find(Some(place), &Search::default(), &mut |_| ())?;
        let model = place.open(Precision::F32)?;
        Ok(Pipeline::new(&Device::Cpu.open()?, model, Precision::F32))
    })
}

/// A server of few connections and little patience, for as long as the tests run.
fn serve() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let model = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens/sd1-tiny/model");
    let limits = Limits { connections: 2, still: STILL, ..Limits::default() };
    let models = vec![ModelEntry { name: "tiny".into(), file: None }];
    let config =
        Config { key: None, hosts: Vec::new(), models, loras: Vec::new(), embeddings: Vec::new(), limits };
    thread::spawn(move || calotype_serve::serve(listener, Worker::start(model, open).unwrap(), config));
    address
}

/// Sends a part of a request, and says how it is answered and after how long; nothing more is sent.
fn sent(address: SocketAddr, part: &str) -> (String, Duration) {
    let mut stream = TcpStream::connect(address).unwrap();
    let start = Instant::now();
    stream.write_all(part.as_bytes()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut answer = String::new();
    let _ = stream.read_to_string(&mut answer);
    (answer.lines().next().unwrap_or_default().to_owned(), start.elapsed())
}

#[test]
fn what_stands_still_is_not_waited_for() {
    let address = serve();
    let whole = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(sent(address, whole).0, "HTTP/1.1 200 OK");
    let json = "POST /sdapi/v1/interrupt HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    let draw = json.replace("interrupt", "txt2img");
    for (part, body) in [
        ("GET /healthz HTT".to_owned(), false),
        ("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX-".to_owned(), false),
        (format!("{draw}Content-Length: 100\r\n\r\n{{\"prompt\""), true),
        (format!("{draw}Transfer-Encoding: chunked\r\n\r\n5\r\n{{    "), true),
    ] {
        let (answer, after) = sent(address, &part);
        assert!(after >= STILL && after < Duration::from_secs(10), "{part:?}: {after:?}");
        // A body's request is answered before it is given up; of a head there is nothing to answer.
        assert_eq!(answer.starts_with("HTTP/1.1 4"), body, "{part:?}: {answer:?}");
    }
    // Those that hold every place are cut off, and who waits comes then.
    let held: Vec<TcpStream> = (0..2).map(|_| TcpStream::connect(address).unwrap()).collect();
    thread::sleep(Duration::from_millis(50));
    let (answer, after) = sent(address, whole);
    assert_eq!(answer, "HTTP/1.1 200 OK");
    assert!(after < Duration::from_secs(10), "{after:?}");
    drop(held);
}
