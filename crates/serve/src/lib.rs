//! Calotype over HTTP: the image APIs of AUTOMATIC1111's web UI (`/sdapi/v1`) and of OpenAI (`/v1`), as front ends speak them, before
//! one worker that draws.
//!
//! It answers on this machine alone if nothing is said, and wants a key on any other address. No address that a client names is
//! ever fetched, no name of a client's is ever joined to a path, and neither prompts nor bodies are logged.

mod body;
mod connections;
mod drawing;
mod guard;
mod openai;
mod pictures;
mod problem;
mod sdapi;

use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::get;
use calotype::Field;
use calotype_worker::Worker;
use pictures::Kept;
use serde_json::{Map, Value};
use std::borrow::Cow;
use std::io;
use std::net::{IpAddr, TcpListener};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tower_http::timeout::RequestBodyTimeoutLayer;

/// What is served, and to whom.
pub struct Config {
    /// Who must come with it, as a bearer's token, as the password of HTTP's Basic, or as `X-Api-Key`.
    pub key: Option<String>,
    /// Names besides this machine's own by which browsers may call the server.
    pub hosts: Vec<String>,
    /// Models that may be asked for. The first is open when the server starts.
    pub models: Vec<ModelEntry>,
    /// LoRAs that prompts may name.
    pub loras: Vec<LoraEntry>,
    /// Words with vectors of their own that prompts may name.
    pub embeddings: Vec<EmbeddingEntry>,
    /// What a request may ask for.
    pub limits: Limits,
}

/// A model by the name that clients have for it.
#[derive(Clone, Debug)]
pub struct ModelEntry {
    /// What it is called: what the worker opens it by.
    pub name: String,
    /// Its file or folder, where it has one, for lists.
    pub file: Option<PathBuf>,
}

/// A LoRA by the name that prompts have for it.
#[derive(Clone, Debug)]
pub struct LoraEntry {
    /// What it is called.
    pub name: String,
    /// Its file.
    pub file: PathBuf,
}

/// An embedding by the name that prompts have for it.
#[derive(Clone, Debug)]
pub struct EmbeddingEntry {
    /// What it is called.
    pub name: String,
    /// How many vectors it has.
    pub vectors: usize,
    /// How wide the first text encoder's are.
    pub width: usize,
    /// How many steps it was trained, where its file says.
    pub step: Option<u64>,
}

/// What a request may ask for; more is refused before anything is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Jobs that may wait.
    pub waiting: usize,
    /// Steps of a picture.
    pub steps: usize,
    /// Pixels of a side.
    pub side: usize,
    /// Pictures of a request.
    pub pictures: usize,
    /// Connections that may be open.
    pub connections: usize,
    /// How long a request may stand still while it comes.
    pub still: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting: 64,
            steps: 150,
            side: 4096,
            pictures: 64,
            connections: 512,
            still: Duration::from_secs(30),
        }
    }
}

/// Bytes of a body: pictures come in some.
const BODY: usize = 64 << 20;

/// How long what is being drawn may take when the server is to end.
const LAST: Duration = Duration::from_secs(30);

/// What all requests share.
struct Served {
    worker: Worker,
    config: Config,
    guard: guard::Guard,
    /// What clients have set, by A1111's names: kept, told again, and but for the model of no effect.
    options: Mutex<Map<String, Value>>,
    /// Pictures that answers name by an address.
    kept: Mutex<Kept>,
}

type Shared = Arc<Served>;

/// Answers on `listener` until the program is asked to end: then takes no more, and finishes what is being drawn. A second time ends
/// it at once.
pub fn serve(listener: TcpListener, worker: Worker, config: Config) -> io::Result<()> {
    let address = listener.local_addr()?;
    listener.set_nonblocking(true)?;
    let served = Arc::new(Served {
        worker,
        guard: guard::Guard::new(address, config.key.as_deref(), &config.hosts),
        config,
        options: Mutex::default(),
        kept: Mutex::default(),
    });
    // The work is the worker's; these wait.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let (limits, ending) = (served.config.limits, end(Arc::clone(&served)));
        connections::answer(listener, router(served), limits.connections, limits.still, ending).await;
        Ok(())
    })
}

/// Waits until the program is asked to end.
async fn end(served: Shared) {
    asked().await;
    log::info!("ending: what is being drawn is finished");
    served.guard.close();
    tokio::spawn(async move {
        tokio::select! {
            () = asked() => std::process::exit(130),
            () = tokio::time::sleep(LAST) => served.worker.interrupt(),
        }
        // Who holds a connection open holds nothing up.
        tokio::time::sleep(LAST).await;
        std::process::exit(1);
    });
}

/// Waits for Ctrl-C, or what a system sends to programs that are to end.
async fn asked() {
    let pressed = async { drop(tokio::signal::ctrl_c().await) };
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        match signal(SignalKind::terminate()) {
            Ok(mut terminated) => tokio::select! {
                () = pressed => {}
                _ = terminated.recv() => {}
            },
            Err(_) => pressed.await,
        }
    }
    #[cfg(not(unix))]
    pressed.await;
}

/// Whether an address is of this machine alone, so that nobody else can come.
pub fn is_own(address: IpAddr) -> bool {
    address.is_loopback()
}

fn router(served: Shared) -> Router {
    Router::new()
        .merge(sdapi::routes())
        .merge(openai::routes())
        .route("/healthz", get(async || "ok"))
        .fallback(async || problem::Problem::unknown())
        .layer(DefaultBodyLimit::max(BODY))
        .layer(RequestBodyTimeoutLayer::new(served.config.limits.still))
        .layer(from_fn_with_state(Arc::clone(&served), guard::stand))
        .with_state(served)
}

/// A field as clients spell it, which are A1111's in most.
pub fn spelled(field: Field) -> Cow<'static, str> {
    match field {
        Field::Prompts => "prompt",
        Field::NegativePrompts => "negative_prompt",
        Field::Sampler => "sampler_name",
        Field::Schedule => "scheduler",
        Field::Strength => "denoising_strength",
        other => other.name(),
    }
    .into()
}
