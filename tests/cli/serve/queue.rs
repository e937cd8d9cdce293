//! Jobs that wait, run, are stopped or given up.

use super::{Answer, Server, small, with};
use crate::support::{Folder, tiny};
use serde_json::{Value as Json, json};
use std::io::Write;
use std::net::TcpStream;
use std::time::{Duration, Instant};

/// A job that is drawn for a while, and that it has begun.
fn long(server: &Server) -> (Json, impl Fn()) {
    let asked = with(json!({"steps": 150, "width": 256, "height": 256, "n_iter": 8}));
    let begun = || {
        let start = Instant::now();
        while server.get("/sdapi/v1/progress")["state"]["sampling_step"].as_u64() == Some(0) {
            assert!(start.elapsed() < Duration::from_secs(60));
            std::thread::sleep(Duration::from_millis(5));
        }
    };
    (asked, begun)
}

#[test]
fn who_goes_away_wants_the_picture_no_more() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["-m", &tiny()]);
    let (asked, begun) = long(&server);
    let body = asked.to_string();
    let mut stream = TcpStream::connect(("127.0.0.1", server.port)).unwrap();
    let head = format!(
        "POST /sdapi/v1/txt2img HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
    begun();
    drop(stream);
    let start = Instant::now();
    while server.get("/sdapi/v1/progress")["state"]["job_count"] != 0 {
        assert!(start.elapsed() < Duration::from_secs(20), "it goes on");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[cfg(unix)]
#[test]
fn what_is_drawn_when_the_server_is_to_end_is_finished() {
    let folder = Folder::new();
    let mut server = Server::start(&folder, &["-m", &tiny()]);
    let asked = with(json!({"steps": 150, "width": 128, "height": 128}));
    std::thread::scope(|scope| {
        let (_, begun) = long(&server);
        let running = scope.spawn(|| server.post("/sdapi/v1/txt2img", &asked));
        begun();
        // SAFETY: the process is a child that has not been waited for.
        assert_eq!(unsafe { libc::kill(server.child.id() as i32, libc::SIGTERM) }, 0);
        let answer = running.join().unwrap();
        assert_eq!((answer.status, answer.json()["images"].as_array().unwrap().len()), (200, 1));
    });
    assert!(server.child.wait().unwrap().success());
}

#[test]
fn what_runs_is_told_and_can_be_stopped_and_a_full_queue_says_so() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["-m", &tiny()]);
    let (asked, _) = long(&server);
    std::thread::scope(|scope| {
        let running = scope.spawn(|| server.post("/sdapi/v1/txt2img", &asked));
        let start = Instant::now();
        let seen = loop {
            let progress = server.get("/sdapi/v1/progress");
            if progress["state"]["sampling_step"].as_u64() > Some(0) {
                break progress;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "{progress}");
        };
        assert_eq!((&seen["state"]["job_count"], &seen["state"]["sampling_steps"]), (&json!(8), &json!(150)));
        let share = seen["progress"].as_f64().unwrap();
        assert!(share > 0.01 && share < 1.0, "{seen}");
        // More than may wait ask at once.
        let asked: Vec<_> =
            (0..72).map(|_| scope.spawn(|| server.post("/sdapi/v1/txt2img", &small()))).collect();
        let full = |start: Instant| loop {
            let done = asked.iter().filter(|thread| thread.is_finished()).count();
            if done >= 8 || start.elapsed() > Duration::from_secs(60) {
                break done;
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        assert!(full(Instant::now()) >= 8);
        assert_eq!(server.post("/sdapi/v1/interrupt", &json!({})).status, 200);
        // What was stopped is answered with what is done of it.
        let stopped = running.join().unwrap();
        assert_eq!(stopped.status, 200);
        assert!(stopped.json()["images"].as_array().unwrap().len() < 8);
        let answers: Vec<Answer> = asked.into_iter().map(|thread| thread.join().unwrap()).collect();
        let count = |status: u16| answers.iter().filter(|answer| answer.status == status).count();
        assert_eq!((count(200), count(429)), (64, 8));
        let full = answers.iter().find(|answer| answer.status == 429).unwrap();
        assert!(full.head.contains("retry-after: 10"), "{}", full.head);
        // None was lost, and none is another's: all asked for the same.
        let pictures: Vec<Json> = answers
            .iter()
            .filter(|answer| answer.status == 200)
            .map(|answer| answer.json()["images"][0].clone())
            .collect();
        assert!(pictures.iter().all(|picture| picture.is_string() && *picture == pictures[0]));
    });
}
