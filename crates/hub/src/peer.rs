//! Against huggingface_hub itself: tests/goldens/hub.py asked it, and says how.

#![cfg_attr(
    not(unix),
    allow(unused_imports, dead_code, reason = "what has links is tried where all may make them")
)]

mod servers;

use crate::cache::Repository;
use crate::client::Client;
use crate::environment::Environment;
use crate::expand::on_windows;
use crate::{Error, Hub, is_name, names};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use servers::{Answer, Servers};
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsString;
use std::fs;
use std::net::TcpListener;
use std::path::Path;

const REPOSITORY: &str = "models--own--tiny";

#[derive(Deserialize)]
struct Golden {
    commit: String,
    body: String,
    token_files: BTreeMap<String, String>,
    needed: Vec<String>,
    optional: Vec<String>,
    environments: Vec<Value>,
    windows_paths: Vec<WindowsPath>,
    names: Vec<(String, bool)>,
    files: Vec<(String, bool, bool)>,
    caches: Vec<Cached>,
}

#[derive(Deserialize)]
struct WindowsPath {
    env: BTreeMap<String, String>,
    path: String,
    means: String,
}

#[derive(Deserialize)]
struct Cached {
    states: String,
    refs: BTreeMap<String, String>,
    revision: String,
    found: String,
}

fn golden<T: DeserializeOwned>(stem: &str, known: &[(&str, &str)]) -> T {
    let path = format!("{}/../../tests/goldens/{stem}.json", env!("CARGO_MANIFEST_DIR"));
    let mut text = fs::read_to_string(&path).expect(&path);
    for (name, value) in known {
        let value = Value::from(*value).to_string();
        text = text.replace(name, value.trim_matches('"'));
    }
    serde_json::from_str(&text).expect(&path)
}

fn peer() -> Golden {
    golden("hub", &[])
}

/// Fails with all that went wrong.
fn none_of(wrong: &[String], of: usize) {
    assert!(wrong.is_empty(), "{} of {of} differ:\n{}", wrong.len(), wrong.join("\n"));
}

fn write(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    match text.strip_prefix("-> ") {
        #[cfg(unix)]
        Some(target) => std::os::unix::fs::symlink(target, path).unwrap(),
        _ => fs::write(path, text).unwrap(),
    }
}

#[cfg(unix)]
#[test]
fn environments_mean_what_they_mean_to_huggingface_hub() {
    let golden = peer();
    let root = tempfile::tempdir().unwrap();
    let place = root.path().to_str().unwrap();
    for (name, text) in &golden.token_files {
        write(&root.path().join(name), text);
    }
    let mut wrong = Vec::new();
    for row in &golden.environments {
        let env = |name: &str| row["env"][name].as_str().map(|v| OsString::from(v.replace("{root}", place)));
        let peer = &row["error"];
        let ours = Environment::read(&env).and_then(|s| {
            // Relative folders are within the current one.
            let cache = root.path().join("cwd").join(&s.cache).components().collect::<std::path::PathBuf>();
            Ok(serde_json::json!({
                "cache": cache.to_str().unwrap().replace(place, "{root}"),
                "endpoint": s.endpoint, "token": s.token()?, "offline": s.offline, "links": s.links,
                "patience": s.patience.map(|set| set.map(|time| time.as_secs())), "env": row["env"],
            }))
        });
        match (ours, peer.is_null()) {
            (Ok(ours), true) if ours == *row => {}
            (Err(Error::NoHome { .. }), false) if peer == "RuntimeError" => {}
            (Err(Error::Seconds { .. }), false) if peer == "ValueError" => {}
            (ours, _) => wrong.push(format!("{row}\n  {ours:?}")),
        }
    }
    none_of(&wrong, golden.environments.len());
}

#[test]
fn paths_mean_on_windows_what_they_mean_to_python_there() {
    let golden = peer();
    let row = |WindowsPath { env, path, means }: &WindowsPath| {
        let found = on_windows(path.as_ref(), &|name: &str| env.get(name).map(Into::into));
        (found != means.as_str()).then(|| format!("{path} in {env:?}: {found:?}, not {means:?}"))
    };
    let wrong: Vec<String> = golden.windows_paths.iter().filter_map(row).collect();
    none_of(&wrong, golden.windows_paths.len());
}

#[test]
fn names_are_good_where_huggingface_hub_takes_them() {
    let golden = peer();
    let name = |(name, good): &(String, bool)| (is_name(name) != *good).then(|| format!("{name:?} {good}"));
    let mut wrong: Vec<String> = golden.names.iter().filter_map(name).collect();
    for (path, refused, reserved) in &golden.files {
        // What huggingface_hub refuses, what Windows reserves, and what only some systems can have.
        let odd = |part: &str| {
            part.contains(['\\', ':']) || part.ends_with(['.', ' ']) || part.chars().any(char::is_control)
        };
        let empty = path.split('/').any(|part| part.is_empty() || part == ".");
        let expected = *refused || *reserved || empty || path.split('/').any(odd);
        if names::fault(path).is_some() != expected {
            wrong.push(format!("{path:?} refused {refused} reserved {reserved}: {:?}", names::fault(path)));
        }
    }
    none_of(&wrong, golden.names.len() + golden.files.len());
}

#[cfg(unix)]
#[test]
fn a_cache_is_whole_where_huggingface_hub_finds_all_files() {
    let golden = peer();
    let all: Vec<&String> = golden.needed.iter().chain(&golden.optional).collect();
    let mut wrong = Vec::new();
    for row in &golden.caches {
        let cache = tempfile::tempdir().unwrap();
        let repository = cache.path().join(REPOSITORY);
        for (name, commit) in &row.refs {
            write(&repository.join("refs").join(name), commit);
        }
        let mut lost = Vec::new();
        for (i, (name, state)) in all.iter().zip(row.states.chars()).enumerate() {
            let up = "../".repeat(2 + name.matches('/').count());
            let file = repository.join("snapshots").join(&golden.commit).join(name);
            match state {
                'p' => write(&file, "{}"),
                'l' | 'd' => write(&file, &format!("-> {up}blobs/{i}")),
                _ => {}
            }
            if state == 'l' {
                write(&repository.join("blobs").join(i.to_string()), "{}");
            }
            // Of what need not be there, a link is a promise.
            let promised = i < golden.needed.len() || state == 'd';
            if promised && row.found.as_bytes()[i] == b'n' {
                lost.push(name.as_str());
            }
        }
        let ours = Repository::new(cache.path(), "own/tiny", true).whole("own/tiny", &row.revision, None);
        let snapshot = repository.join("snapshots").join(&golden.commit);
        let good = match &ours {
            Ok(folder) => lost.is_empty() && *folder == snapshot,
            Err(why) if row.found.contains('y') => {
                lost.iter().all(|name| {
                    // A checkpoint goes by its component, words by the folder.
                    let part =
                        if name.ends_with(".safetensors") { name.split('/').next().unwrap() } else { name };
                    why.contains(part)
                        || name.starts_with("tokenizer/") && why.contains("tokenizer/vocab.json and merges")
                }) && !lost.is_empty()
            }
            Err(why) => {
                why.contains("not there") || why.contains("no file is there") || why.contains("missing")
            }
        };
        if !good {
            wrong.push(format!("{} {} {:?}: {lost:?}\n  {ours:?}", row.states, row.revision, row.refs));
        }
    }
    none_of(&wrong, golden.caches.len());
}

#[derive(Deserialize)]
struct Download {
    prefix: String,
    file: String,
    revision: String,
    links: bool,
    etag: String,
    tags: Vec<String>,
    before: BTreeMap<String, String>,
    routes: HashMap<String, Answer>,
    error: Option<String>,
    #[serde(default)]
    tree: BTreeMap<String, String>,
    told: Vec<String>,
}

/// Files by path, links as "-> target".
fn tree(folder: &Path) -> BTreeMap<String, String> {
    fn walk(folder: &Path, prefix: &str, found: &mut BTreeMap<String, String>) {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            let (path, name) = (entry.path(), format!("{prefix}{}", entry.file_name().to_str().unwrap()));
            match fs::read_link(&path) {
                Ok(target) => drop(found.insert(name, format!("-> {}", target.display()))),
                Err(_) if path.is_dir() => walk(&path, &format!("{name}/"), found),
                Err(_) => drop(found.insert(name, fs::read_to_string(&path).unwrap())),
            }
        }
    }
    let mut found = BTreeMap::new();
    walk(folder, "", &mut found);
    found
}

/// What huggingface_hub refuses and need not be.
const MORE: [&str; 3] = ["no commit", "length of what is packed", "elsewhere without a word"];

#[cfg(unix)]
#[test]
fn servers_give_what_they_give_to_huggingface_hub() {
    let Golden { body, commit, .. } = peer();
    let sums = {
        use sha2::Digest;
        crate::cache::hex(&sha2::Sha256::digest(&body))
    };
    let other = "89abcdef0123456789abcdef0123456789abcdef";
    let known = [("{body}", &*body), ("{64}", &sums), ("{commit}", &commit), ("{other}", other)];
    #[derive(Deserialize)]
    struct File {
        downloads: Vec<Download>,
    }
    let File { downloads } = golden("hub_downloads", &known);
    let servers = Servers::new();
    let (mut wrong, mut more) = (Vec::new(), 0);
    for (i, row) in downloads.iter().enumerate() {
        let cache = tempfile::tempdir().unwrap();
        let repository = cache.path().join(REPOSITORY);
        row.before.iter().for_each(|(name, text)| write(&repository.join(name), text));
        *servers.state.lock().unwrap() = (row.routes.clone(), BTreeSet::new());
        let env = |name: &str| match name {
            "HF_ENDPOINT" => Some(OsString::from(format!("{}{}", servers.addresses[0].1, row.prefix))),
            "HF_HUB_CACHE" => Some(cache.path().into()),
            "HF_TOKEN" => Some("hf_secret".into()),
            "HF_HUB_DISABLE_SYMLINKS" => (!row.links).then(|| "1".into()),
            _ => None,
        };
        let hub = Hub { environment: Environment::read(&env).unwrap() };
        let fetch = || {
            let client = Client::new(&hub.environment, "own/tiny")?;
            let listing = client.list(&row.revision)?;
            let folder = hub.fetch(&client, &listing.sha, listing.files, &mut |_| ())?;
            hub.repository("own/tiny").refer(&row.revision, &listing.sha)?;
            Ok::<_, Error>(folder.join(&row.file))
        };
        let ours = fetch().map(|path| fs::read_to_string(path).unwrap());
        let mut found = tree(&repository);
        // An ETag with a slash is no file name; ours is a hash then.
        let mut theirs = row.tree.clone();
        if row.etag.contains('/') {
            for tree in [&mut found, &mut theirs] {
                tree.retain(|name, text| !name.starts_with("blobs/") && !text.starts_with("-> "));
            }
        }
        let told = servers.state.lock().unwrap().1.clone();
        let permitted =
            row.tags.iter().any(|tag| MORE.contains(&&**tag)) && !row.tags.contains(&"refused".into());
        let good = match (&ours, &row.error) {
            (Ok(text), None) => *text == body && found == theirs,
            // No worse than the peer: the right bytes, or a refusal.
            (Ok(text), Some(_)) if permitted => {
                more += 1;
                *text == body
            }
            (Err(error), Some(_)) => {
                let message = error.to_string();
                !message.contains('\n')
                    && (message.contains("http://127.0.0.1") || message.contains("own/tiny"))
            }
            _ => false,
        };
        if !good || told.contains("there") || row.told.iter().any(|host| host == "there") {
            let (tags, error) = (&row.tags, &row.error);
            wrong.push(format!(
                "{i}: {tags:?} {error:?} told {told:?}\n  {ours:?}\n  {found:?}\n  {theirs:?}"
            ));
        }
    }
    none_of(&wrong, downloads.len());
    assert!(more > 20, "only {more} of what the peer cannot do were tried");
}

/// A client of a server, by an environment of that address and what is given besides.
fn client(endpoint: &str, more: &[(&str, &str)]) -> crate::Result<Client> {
    let env = |name: &str| {
        let given = more.iter().find(|(known, _)| *known == name).map(|(_, value)| *value);
        let all = [("HF_ENDPOINT", endpoint), ("HF_HOME", "/nowhere")];
        given.or_else(|| all.iter().find(|(known, _)| *known == name).map(|(_, v)| *v)).map(OsString::from)
    };
    Client::new(&Environment::read(&env)?, "own/tiny")
}

#[test]
fn commits_that_are_no_names_are_refused() {
    let servers = Servers::new();
    for sha in ["../../x", "/x", "", "a\\b", "a/b", "..", "a\u{0}"] {
        let body = serde_json::json!({"sha": sha, "siblings": []}).to_string();
        let (headers, framing, gzip) = Default::default();
        let answer = Answer { status: 200, headers, body, framing, gzip };
        let routes = HashMap::from([("here /api/models/own/tiny/revision/main".into(), answer)]);
        servers.state.lock().unwrap().0 = routes;
        let message =
            client(&servers.addresses[0].1, &[]).unwrap().list("main").err().expect(sha).to_string();
        assert!(message.contains(&format!("commit {sha:?}")) && message.contains("http://"), "{message}");
    }
}

#[test]
fn what_the_environment_cannot_mean_is_told_by_its_name() {
    for endpoint in ["hf-mirror.com", "ftp://hf.co", "https://", "//host"] {
        let message = client(endpoint, &[]).err().expect(endpoint).to_string();
        let endpoint = endpoint.trim_end_matches('/');
        assert!(
            message.contains(&format!("HF_ENDPOINT={endpoint:?}")) && message.contains("https://host"),
            "{message}"
        );
    }
    for (name, value) in
        [("HF_TOKEN", "hf_\u{e4}"), ("HF_HUB_ETAG_TIMEOUT", "ten"), ("HF_HUB_DOWNLOAD_TIMEOUT", "-1")]
    {
        let message = client("https://hf.co", &[(name, value)]).err().expect(name).to_string();
        assert!(message.contains(name), "{message}");
    }
    let folder = tempfile::tempdir().unwrap();
    let place = folder.path().to_str().unwrap();
    let message = client("https://hf.co", &[("HF_TOKEN_PATH", place)]).err().expect("a folder").to_string();
    assert!(message.contains(place) && message.contains("HF_TOKEN_PATH"), "{message}");
}

/// A server that takes a connection and says nothing is given up after the seconds that the environment says.
#[test]
fn a_silent_server_is_waited_for_as_long_as_the_environment_says() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let client =
        client(&endpoint, &[("HF_HUB_DOWNLOAD_TIMEOUT", "1"), ("HF_HUB_ETAG_TIMEOUT", "1")]).unwrap();
    let start = std::time::Instant::now();
    for error in [client.list("main").err(), client.describe("x", "y").err()] {
        let message = error.expect("no answer").to_string();
        assert!(message.contains(&endpoint), "{message}");
    }
    assert!(start.elapsed().as_secs() < 20, "{:?}", start.elapsed());
}
