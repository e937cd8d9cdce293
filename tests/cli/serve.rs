//! `calotype serve`: what front ends send is answered as AUTOMATIC1111's web UI and OpenAI's API answer it, and who is not to
//! ask is refused.

use crate::support::{Folder, calotype, decode, goldens, tiny};
use serde_json::{Value as Json, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

/// A server that ends with its test.
struct Server {
    child: Child,
    port: u16,
}

/// What was answered.
struct Answer {
    status: u16,
    head: String,
    body: Vec<u8>,
}

impl Answer {
    fn json(&self) -> Json {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|e| panic!("{e}: {}", String::from_utf8_lossy(&self.body)))
    }
}

impl Server {
    fn start(folder: &Folder, more: &[&str]) -> Self {
        let mut command = std::process::Command::new(calotype(folder.path()).get_program());
        command.current_dir(folder.path()).env("CALOTYPE_CACHE_DIR", "").env("HF_HOME", folder.path());
        command.args(["serve", "--port", "0", "--backend", "cpu"]).args(more);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let port = line.strip_prefix("http://127.0.0.1:").and_then(|rest| rest.split(' ').next());
        let port = port.and_then(|port| port.parse().ok()).unwrap_or_else(|| panic!("{line:?}"));
        Self { child, port }
    }

    fn ask(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).unwrap();
        let own = format!("127.0.0.1:{}", self.port);
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n", body.len());
        if !headers.iter().any(|(name, _)| *name == "Host") {
            head += &format!("Host: {own}\r\n");
        }
        headers.iter().for_each(|(name, value)| head += &format!("{name}: {value}\r\n"));
        stream.write_all(&[head.as_bytes(), b"\r\n", body].concat()).unwrap();
        let mut all = Vec::new();
        // A body that is refused is not read to its end.
        let _ = stream.read_to_end(&mut all);
        let end = all.windows(4).position(|four| four == b"\r\n\r\n").expect("no answer");
        let head = String::from_utf8_lossy(&all[..end]).to_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        Answer { status, head, body: all[end + 4..].to_vec() }
    }

    fn get(&self, path: &str) -> Json {
        let answer = self.ask("GET", path, &[], &[]);
        assert_eq!(answer.status, 200, "{path}: {}", String::from_utf8_lossy(&answer.body));
        answer.json()
    }

    fn post(&self, path: &str, body: &Json) -> Answer {
        self.ask("POST", path, &[("Content-Type", "application/json")], body.to_string().as_bytes())
    }

    /// What is refused, and with which words.
    fn refused(&self, path: &str, body: &Json, status: u16, part: &str) {
        let answer = self.post(path, body);
        let said = answer.json();
        let words = said["detail"].as_str().or(said["error"]["message"].as_str()).unwrap_or_default();
        assert!(
            answer.status == status && words.contains(part),
            "{path} {body}: {} {words:?}",
            answer.status
        );
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn from_base64(text: &str) -> Vec<u8> {
    use base64::Engine;
    base64::prelude::BASE64_STANDARD.decode(text).unwrap()
}

/// A picture that takes no time.
fn small() -> Json {
    json!({"prompt": "a cat", "seed": 7, "steps": 3, "width": 64, "height": 64, "sampler_name": "Euler a"})
}

fn with(fields: Json) -> Json {
    let mut all = small();
    all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
    all
}

#[test]
fn the_web_uis_clients_are_answered_as_it_answers_them() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["-m", &tiny()]);
    // Clients send what they have, also what nobody knows here, and null for nothing.
    let asked = with(json!({
        "negative_prompt": "dog", "batch_size": 2, "n_iter": 2, "cfg_scale": 5, "scheduler": "Karras", "styles": [],
        "restore_faces": false, "enable_hr": false, "eta": null, "alwayson_scripts": {}, "save_images": true, "own": {"a": 1},
    }));
    let answer = server.post("/sdapi/v1/txt2img", &asked).json();
    let images = answer["images"].as_array().unwrap();
    assert_eq!(images.len(), 4);
    assert_eq!(answer["parameters"]["prompt"], "a cat");
    let info: Json = serde_json::from_str(answer["info"].as_str().unwrap()).unwrap();
    assert_eq!(info["all_seeds"], json!([7, 8, 9, 10]));
    assert_eq!(
        (&info["sampler_name"], &info["steps"], &info["width"]),
        (&json!("Euler a"), &json!(3), &json!(64))
    );
    // The same as the command line's, by the web UI's rules.
    let drawn = folder.drawn(&[
        "-n",
        "dog",
        "--seed",
        "9",
        "--steps",
        "3",
        "-W",
        "64",
        "-H",
        "64",
        "--cfg-scale",
        "5",
        "--sampler",
        "euler_a",
        "--scheduler",
        "karras",
        "--rng",
        "cuda",
        "--sampler-dialect",
        "k",
    ]);
    let third = from_base64(images[2].as_str().unwrap());
    assert_eq!(decode(&third).2, decode(&drawn).2);
    let told = crate::support::settings(&third).unwrap();
    assert_eq!((told.get("Seed"), told.get("Schedule type")), (Some("9"), Some("Karras")));

    // A sampler with its schedule behind it, as older clients have it.
    let older = server.post("/sdapi/v1/txt2img", &with(json!({"sampler_name": "DPM++ 2M Karras"}))).json();
    let told = crate::support::settings(&from_base64(older["images"][0].as_str().unwrap())).unwrap();
    assert_eq!((told.get("Sampler"), told.get("Schedule type")), (Some("DPM++ 2M"), Some("Karras")));

    let read = server.post("/sdapi/v1/png-info", &json!({"image": images[0]})).json();
    assert_eq!((&read["parameters"]["Seed"], &read["parameters"]["Prompt"]), (&json!("7"), &json!("a cat")));
    assert!(read["info"].as_str().unwrap().starts_with("a cat\nNegative prompt: dog\n"));
    assert!(read["items"]["parameters"].is_string());

    // From a picture, sent as an address of its own.
    let begins = with(
        json!({"init_images": [format!("data:image/png;base64,{}", images[0].as_str().unwrap())], "denoising_strength": 0.5}),
    );
    let from = server.post("/sdapi/v1/img2img", &begins).json();
    assert_ne!(from["images"][0], images[0]);
    assert!(from["parameters"]["init_images"].is_null());
    server.refused("/sdapi/v1/img2img", &small(), 404, "Init image not found");
}

#[test]
fn lists_are_those_that_clients_read() {
    let (folder, models) = (Folder::new(), goldens());
    let models = models.to_str().unwrap();
    let lora_dir = goldens().join("sd1-tiny/loras");
    let words = goldens().join("embeddings");
    let server = Server::start(
        &folder,
        &[
            "-m",
            &tiny(),
            "--lora-dir",
            lora_dir.to_str().unwrap(),
            "--embedding-dir",
            words.to_str().unwrap(),
            "--model-dir",
            &format!("{models}/sd2-tiny"),
        ],
    );
    let names = |path: &str, field: &str| -> Vec<String> {
        let list = server.get(path);
        list.as_array().unwrap().iter().map(|one| one[field].as_str().unwrap().to_owned()).collect()
    };
    assert!(names("/sdapi/v1/samplers", "name").contains(&"DPM++ 2M SDE".into()));
    assert_eq!(names("/sdapi/v1/schedulers", "name")[0], "automatic");
    assert_eq!(names("/sdapi/v1/upscalers", "name"), ["None"]);
    assert!(names("/sdapi/v1/loras", "name").contains(&"kohya".into()));
    assert_eq!(server.get("/sdapi/v1/embeddings")["loaded"]["sd1-web"]["vectors"], 3);
    for empty in ["latent-upscale-modes", "sd-vae", "prompt-styles", "extensions"] {
        assert_eq!(server.get(&format!("/sdapi/v1/{empty}")), json!([]));
    }
    let idle = server.get("/sdapi/v1/progress");
    assert_eq!((&idle["progress"], &idle["state"]["job_count"]), (&json!(0.0), &json!(0)));
    let options = server.get("/sdapi/v1/options");
    assert_eq!(options["sd_model_checkpoint"], "model");
    // All of them come back with one changed.
    let mut options = options;
    options["CLIP_stop_at_last_layers"] = json!(2);
    assert_eq!(server.post("/sdapi/v1/options", &options).status, 200);
    assert_eq!(server.get("/sdapi/v1/options")["CLIP_stop_at_last_layers"], 2);
    assert_eq!(server.post("/sdapi/v1/refresh-loras", &json!({})).status, 200);

    // LoRAs and words by name change the picture; one that is not there is named.
    let first = |fields: Json| {
        let answer = server.post("/sdapi/v1/txt2img", &with(fields));
        assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
        decode(&from_base64(answer.json()["images"][0].as_str().unwrap())).2
    };
    let plain = first(json!({}));
    assert_ne!(plain, first(json!({"prompt": "a cat <lora:kohya:0.8>"})));
    assert_eq!(plain, first(json!({})));
    assert_ne!(plain, first(json!({"prompt": "a sd1-web"})));
    server.refused(
        "/sdapi/v1/txt2img",
        &with(json!({"prompt": "<lora:../../etc/passwd:1>"})),
        400,
        "no such LoRA",
    );
    server.refused("/sdapi/v1/options", &json!({"sd_model_checkpoint": "/etc/passwd"}), 400, "no model");
}

#[test]
fn another_model_is_opened_where_it_is_asked_for() {
    let folder = Folder::new();
    std::fs::create_dir(folder.path().join("models")).unwrap();
    for (from, name) in [("sd1-tiny", "one"), ("sd2-tiny", "two")] {
        copy(&goldens().join(from).join("model"), &folder.path().join("models").join(name));
    }
    let server = Server::start(&folder, &["-m", "models/one", "--model-dir", "models"]);
    let list = server.get("/v1/models");
    let ids: Vec<&str> =
        list["data"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    assert_eq!(ids, ["one", "two"]);
    let draw = |fields: Json| server.post("/sdapi/v1/txt2img", &with(fields)).json()["images"][0].clone();
    let one = draw(json!({}));
    let two = draw(json!({"override_settings": {"sd_model_checkpoint": "two"}}));
    assert_ne!(one, two);
    assert_eq!(server.get("/sdapi/v1/options")["sd_model_checkpoint"], "two");
    assert_eq!(draw(json!({"override_settings": {"sd_model_checkpoint": "one"}})), one);
    assert_eq!(server.post("/sdapi/v1/options", &json!({"sd_model_checkpoint": "two"})).status, 200);
    assert_eq!(draw(json!({})), two);
}

fn copy(from: &std::path::Path, to: &std::path::Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().flatten() {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        match path.is_dir() {
            true => copy(&path, &to),
            false => assert!(std::fs::copy(path, to).is_ok()),
        }
    }
}

#[test]
fn openais_clients_are_answered_as_it_answers_them() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["-m", &tiny()]);
    let asked = json!({
        "model": "gpt-image-1", "prompt": "a cat", "n": 2, "size": "64x64", "steps": 3, "seed": 7, "quality": "high",
    });
    let answer = server.post("/v1/images/generations", &asked).json();
    assert!(answer["created"].as_u64().unwrap() > 1_700_000_000);
    let data = answer["data"].as_array().unwrap();
    let first = from_base64(data[0]["b64_json"].as_str().unwrap());
    assert_eq!((data.len(), decode(&first).0), (2, 64));
    // It draws as the command line does.
    let drawn = folder.drawn(&["--seed", "7", "--steps", "3", "-W", "64", "-H", "64"]);
    assert_eq!(decode(&first).2, decode(&drawn).2);
    let mut named = asked.clone();
    named
        .as_object_mut()
        .unwrap()
        .extend(json!({"response_format": "url", "output_format": "webp"}).as_object().unwrap().clone());
    let answer = server.post("/v1/images/generations", &named).json();
    let url = answer["data"][1]["url"].as_str().unwrap();
    let file = server.ask("GET", &url[url.find("/files").unwrap()..], &[], &[]);
    assert!(file.head.contains("image/webp") && file.body.starts_with(b"RIFF"), "{}", file.head);
    assert_eq!(server.ask("GET", "/files/99", &[], &[]).status, 404);
    let refused = |fields: Json, part: &str| {
        let mut all = asked.clone();
        all.as_object_mut().unwrap().extend(fields.as_object().unwrap().clone());
        server.refused("/v1/images/generations", &all, 400, part);
    };
    refused(json!({"n": 11}), "1 to 10");
    refused(json!({"size": "big"}), "512x512");
    refused(json!({"prompt": ""}), "prompt");
    refused(json!({"model": "another"}), "no model");
    refused(json!({"output_format": "gif"}), "png, jpeg or webp");
    let error = server.post("/v1/images/generations", &json!({"prompt": "a", "n": 0})).json();
    assert_eq!(
        (&error["error"]["type"], &error["error"]["param"]),
        (&json!("invalid_request_error"), &json!("n"))
    );
}

#[test]
fn what_cannot_be_is_refused_and_named() {
    let folder = Folder::new();
    let server = Server::start(&folder, &["-m", &tiny()]);
    let refused = |fields: Json, status: u16, part: &str| {
        server.refused("/sdapi/v1/txt2img", &with(fields), status, part);
    };
    refused(json!({"sampler_name": "none such"}), 400, "Sampler not found");
    refused(json!({"scheduler": "none such"}), 400, "Scheduler");
    refused(json!({"steps": 151}), 400, "at most 150");
    refused(json!({"width": 100000}), 400, "at most 4096");
    refused(json!({"width": 60}), 400, "width 60 is not a multiple of 8");
    refused(json!({"batch_size": 10, "n_iter": 10}), 400, "1 to 64");
    refused(json!({"batch_size": 0}), 400, "1 to 64");
    refused(json!({"cfg_scale": 1e39}), 400, "cfg_scale");
    refused(json!({"steps": "many"}), 422, "the body");
    refused(json!({"prompt": "x".repeat(70_000)}), 400, "longer");
    refused(json!({"enable_hr": true}), 400, "enable_hr");
    refused(
        json!({"alwayson_scripts": {"controlnet": {"args": []}}}),
        422,
        "always on script controlnet not found",
    );
    refused(json!({"script_name": "xyz"}), 422, "Script 'xyz' not found");
    let begin = |picture: &str| with(json!({"init_images": [picture]}));
    let from = |picture: &str, part: &str| server.refused("/sdapi/v1/img2img", &begin(picture), 400, part);
    from("http://127.0.0.1/secret.png", "not fetched");
    from("data:image/png,plain", "not fetched");
    from("%%%", "no base64");
    from("aGVsbG8=", "neither a PNG");
    // A hundred thousand pixels a side, of which only the header is there.
    let mut bomb = calotype::Picture::plain(2, 2, 0).png(None).unwrap();
    bomb[16..24].copy_from_slice(&[0, 1, 0x86, 0xa0, 0, 1, 0x86, 0xa0]);
    use base64::Engine;
    let bomb = server.post("/sdapi/v1/img2img", &begin(&base64::prelude::BASE64_STANDARD.encode(bomb)));
    assert_eq!(bomb.status, 400);
    let json = [("Content-Type", "application/json")];
    let path = "/sdapi/v1/txt2img";
    assert_eq!(server.ask("POST", path, &json, b"{").status, 422);
    assert_eq!(server.ask("POST", path, &json, "[".repeat(100_000).as_bytes()).status, 422);
    assert_eq!(server.ask("POST", path, &[("Content-Type", "text/plain")], b"{}").status, 415);
    assert_eq!(server.ask("POST", path, &json, &vec![b' '; (64 << 20) + 1]).status, 413);
    assert_eq!(server.ask("GET", "/sdapi/v1/none-such", &[], &[]).status, 404);
    assert_eq!(server.ask("GET", "/../../etc/passwd", &[], &[]).status, 404);
    // After all of it a picture is drawn.
    assert_eq!(server.post(path, &small()).status, 200);
}

#[test]
fn who_is_not_to_ask_is_refused() {
    let folder = Folder::new();
    let server =
        Server::start(&folder, &["-m", &tiny(), "--key", "secret", "--allow-host", "studio.example"]);
    let status = |headers: &[(&str, &str)]| server.ask("GET", "/sdapi/v1/options", headers, &[]).status;
    let bearer = ("Authorization", "Bearer secret");
    assert_eq!(status(&[]), 401);
    assert_eq!(status(&[("Authorization", "Bearer secre")]), 401);
    assert_eq!(status(&[bearer]), 200);
    // user:secret
    assert_eq!(status(&[("Authorization", "Basic dXNlcjpzZWNyZXQ=")]), 200);
    assert_eq!(status(&[("X-Api-Key", "secret")]), 200);
    let answer = server.ask("GET", "/sdapi/v1/options", &[], &[]);
    assert!(answer.head.contains("www-authenticate: basic"), "{}", answer.head);
    assert_eq!(server.ask("GET", "/v1/models", &[], &[]).json()["error"]["type"], "authentication_error");
    assert_eq!(server.ask("GET", "/healthz", &[], &[]).status, 200);
    // A page's name that leads here, and a page elsewhere.
    assert_eq!(status(&[bearer, ("Host", "evil.example")]), 403);
    assert_eq!(status(&[bearer, ("Host", "studio.example:7860")]), 200);
    assert_eq!(status(&[bearer, ("Host", "localhost")]), 200);
    let post = |headers: &[(&str, &str)]| {
        let all = [&[bearer, ("Content-Type", "application/json")], headers].concat();
        server.ask("POST", "/sdapi/v1/interrupt", &all, b"{}").status
    };
    let own = format!("http://127.0.0.1:{}", server.port);
    assert_eq!(post(&[("Origin", "http://evil.example")]), 403);
    assert_eq!(post(&[("Origin", "null")]), 403);
    assert_eq!(post(&[("Sec-Fetch-Site", "cross-site")]), 403);
    assert_eq!(post(&[("Origin", &own)]), 200);
    assert_eq!(post(&[]), 200);

    folder.fails(2, &["serve", "--host", "0.0.0.0"], &["--host 0.0.0.0", "--key"]);
    folder.fails(2, &["serve", "--key", ""], &["--key", "empty"]);
    let taken = server.port.to_string();
    folder.fails(1, &["serve", "-m", "none/such", "--port", &taken], &["--port"]);
}

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
