//! What front ends read of what they are answered.

use super::{Server, from_base64, small, to_base64, with};
use crate::support::{Folder, decode, goldens, tiny};
use serde_json::{Value as Json, json};

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

    // A part of it: the left half is kept, to the bit.
    let half: Vec<u8> = (0..64 * 64).flat_map(|i| [if i % 64 < 32 { 0 } else { 255 }; 3]).collect();
    let half = calotype::Picture::new(64, 64, 3, half).unwrap().png(None).unwrap();
    let masked = with(json!({
        "init_images": [images[0]], "mask": to_base64(&half), "mask_blur": 0, "inpaint_full_res": false, "inpainting_fill": 1,
        "denoising_strength": 0.9,
    }));
    let answer = server.post("/sdapi/v1/img2img", &masked);
    assert_eq!(answer.status, 200, "{}", String::from_utf8_lossy(&answer.body));
    let answer = answer.json();
    assert!(answer["parameters"]["mask"].is_null());
    let of = |image: &Json| decode(&from_base64(image.as_str().unwrap())).2;
    let (before, after) = (of(&images[0]), of(&answer["images"][0]));
    let left =
        |pixels: &[u8]| pixels.chunks(3 * 64).flat_map(|row| row[..3 * 32].to_vec()).collect::<Vec<u8>>();
    assert_eq!(left(&before), left(&after));
    assert_ne!(before, after);
    // If nothing is said the masked part alone is drawn, and put back.
    let mut part = masked.clone();
    for field in ["inpaint_full_res", "inpainting_fill"] {
        part.as_object_mut().unwrap().remove(field);
    }
    let alone = of(&server.post("/sdapi/v1/img2img", &part).json()["images"][0]);
    assert_eq!(left(&before), left(&alone));
    assert_ne!(after, alone);
    let small_mask = calotype::Picture::plain(8, 8, 255).png(None).unwrap();
    let wrong = with(json!({"init_images": [images[0]], "mask": to_base64(&small_mask)}));
    server.refused("/sdapi/v1/img2img", &wrong, 400, "mask is 8x8");
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
