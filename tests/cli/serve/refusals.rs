//! What cannot be, and who is not to ask.

use super::{Server, small, with};
use crate::support::{Folder, tiny};
use base64::Engine;
use serde_json::{Value as Json, json};

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
