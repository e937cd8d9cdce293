use crate::adapter::{AdapterReport, Backend, Choice, choose, enumerate};
use crate::offer::{Offer, offer};
use crate::packed::PackedFiles;
use crate::signal::Signal;
use crate::store::folder;
use calotype_field::Field;
use calotype_graph::lower::at_once;
use calotype_graph::{Caps, Error, MemoryUse};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::{Arc, Mutex};

/// An open device, its queue, and the account of its memory.
pub(crate) struct Device {
    pub raw: wgpu::Device,
    pub queue: wgpu::Queue,
    pub report: AdapterReport,
    pub caps: Caps,
    /// Whether wgpu keeps accesses inside of what is bound.
    pub checked: bool,
    /// Whether kernels count those that it had to keep inside, too.
    pub watched: bool,
    pub offer: Offer,
    /// Where what is learned of it is kept, if anywhere.
    pub folder: Option<PathBuf>,
    /// Where packed weights are kept, if they are.
    pub packed: Option<PackedFiles>,
    ledger: Rc<Ledger>,
    failure: Arc<Mutex<Failure>>,
    unfinished: RefCell<VecDeque<Signal<()>>>,
}

/// What went wrong outside an error scope.
#[derive(Default)]
struct Failure {
    /// That the device is gone, which explains all else.
    lost: Option<String>,
    /// That memory ran out, where no call could tell.
    full: bool,
    /// The first thing that was reported; everything after it is noise.
    reported: Option<String>,
}

#[derive(Default)]
struct Ledger {
    bytes: Cell<u64>,
    peak: Cell<u64>,
    allocations: Cell<u64>,
}

/// A buffer that is on the account until it is dropped.
pub(crate) struct Buffer {
    pub raw: wgpu::Buffer,
    ledger: Rc<Ledger>,
}

/// Metal tells no vendor.
const APPLE: u32 = 0x106b;

impl Buffer {
    /// What a buffer of so many bytes takes.
    pub fn size_for(bytes: u64) -> u64 {
        bytes.next_multiple_of(16).max(16)
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        // A browser frees a buffer that nobody holds when its garbage collector finds out, which may be much later.
        if cfg!(target_arch = "wasm32") {
            self.raw.destroy();
        }
        self.ledger.bytes.set(self.ledger.bytes.get() - self.raw.size());
    }
}

impl Device {
    pub async fn open(choice: &Choice) -> Result<Self, crate::Error> {
        let (adapter, report) = choose(choice).await?;
        let offer = offer(&adapter, choice);
        let mut features = offer.features;
        if !choice.plain {
            features |=
                adapter.features() & (wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::PIPELINE_CACHE);
        }
        let limits = limits(&adapter, choice);
        let checked = choice.checked || choice.plain;
        let wanted = wgpu::DeviceDescriptor {
            label: Some("calotype"),
            required_features: features,
            required_limits: limits.clone(),
            experimental_features: offer.experimental(),
            ..Default::default()
        };
        let trusted = (!checked).then(|| unchecked(&adapter, &wanted)).flatten();
        let (raw, queue) = match trusted {
            Some(opened) => opened,
            None => adapter
                .request_device(&wanted)
                .await
                .map_err(|e| crate::Error::Device { adapter: report.name.clone(), reason: e.to_string() })?,
        };
        let failure = Arc::new(Mutex::new(Failure::default()));
        let slot = failure.clone();
        raw.on_uncaptured_error(Arc::new(move |e: wgpu::Error| {
            if matches!(e, wgpu::Error::OutOfMemory { .. }) {
                slot.lock().unwrap_or_else(|e| e.into_inner()).full = true;
                return;
            }
            // wgpu tells of causes in lines of their own.
            let words: Vec<String> = e.to_string().split_whitespace().map(str::to_string).collect();
            let text = format!("the GPU reported: {}", words.join(" "));
            log::debug!("{text}");
            slot.lock().unwrap_or_else(|e| e.into_inner()).reported.get_or_insert(text);
        }));
        let (slot, name) = (failure.clone(), report.name.clone());
        raw.set_device_lost_callback(move |reason, why| {
            let text = if reason == wgpu::DeviceLostReason::Destroyed {
                format!("the GPU {name} was lost: it was given back while in use")
            } else {
                let why = if why.is_empty() { "no reason given".into() } else { why };
                let text = format!(
                    "the GPU {name} was lost ({why}): its driver was reset, or a step took longer than the system \
                     allows; run again, with a smaller {} and {} if it happens again",
                    Field::Width,
                    Field::Height
                );
                log::error!("{text}");
                text
            };
            slot.lock().unwrap_or_else(|e| e.into_inner()).lost.get_or_insert(text);
        });
        let caps = plain(&adapter, choice, &limits);
        Ok(Self {
            raw,
            queue,
            report,
            caps,
            checked,
            watched: choice.checked && !choice.plain,
            offer,
            folder: choice.cache_dir.clone().or_else(folder),
            packed: PackedFiles::chosen(choice),
            ledger: Rc::default(),
            failure,
            unfinished: RefCell::default(),
        })
    }

    /// Allocates; zero-filled, a multiple of 16 bytes, at least 16.
    pub fn buffer(&self, what: &str, bytes: u64, usage: wgpu::BufferUsages) -> Result<Buffer, Error> {
        let size = Buffer::size_for(bytes);
        if size > self.caps.max_buffer {
            return Err(Error::BufferLimit { node: what.into(), needed: size, limit: self.caps.max_buffer });
        }
        // A browser tells of lost memory later, through the uncaptured-error handler.
        let scope = cfg!(not(target_arch = "wasm32"))
            .then(|| self.raw.push_error_scope(wgpu::ErrorFilter::OutOfMemory));
        let raw = self.raw.create_buffer(&wgpu::BufferDescriptor {
            label: Some(what),
            size,
            usage,
            mapped_at_creation: false,
        });
        if matches!(scope.map(|s| now(s.pop())), Some(Some(Some(_)))) {
            return Err(Error::OutOfMemory { what: what.into(), bytes: size });
        }
        let l = &self.ledger;
        l.bytes.set(l.bytes.get() + size);
        l.peak.set(l.peak.get().max(l.bytes.get()));
        l.allocations.set(l.allocations.get() + 1);
        Ok(Buffer { raw, ledger: l.clone() })
    }

    pub fn memory(&self) -> MemoryUse {
        let l = &self.ledger;
        MemoryUse { bytes: l.bytes.get(), peak: l.peak.get(), allocations: l.allocations.get() }
    }

    /// What a buffer holds.
    pub async fn fetch(&self, from: &wgpu::Buffer) -> Result<Vec<u8>, Error> {
        let size = from.size();
        let usage = wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST;
        let staging = self.buffer("readback", size, usage)?;
        let mut encoder = self.raw.create_command_encoder(&Default::default());
        encoder.copy_buffer_to_buffer(from, 0, &staging.raw, 0, size);
        self.queue.submit([encoder.finish()]);
        let signal = Signal::new();
        let done = signal.clone();
        staging.raw.slice(..).map_async(wgpu::MapMode::Read, move |r| done.send(r));
        self.wait().await?;
        let unread = |e: String| Error::Device(format!("the GPU's memory could not be read: {e}"));
        signal.await.map_err(|e| unread(e.to_string()))?;
        let bytes = staging.raw.slice(..).get_mapped_range().map_err(|e| unread(e.to_string()))?.to_vec();
        staging.raw.unmap();
        Ok(bytes)
    }

    /// Forgets what was tried so far: memory that was held, and what was reported.
    pub fn begin(&self) {
        self.ledger.peak.set(self.ledger.bytes.get());
        self.ledger.allocations.set(0);
        self.forgive();
    }

    /// Forgets what was reported, but not that the device was lost.
    pub fn forgive(&self) {
        let mut failure = self.failure.lock().unwrap_or_else(|e| e.into_inner());
        *failure = Failure { lost: failure.lost.take(), ..Failure::default() };
    }

    /// Fails where something went wrong that no call could report.
    pub fn check(&self) -> Result<(), Error> {
        let failure = || self.failure.lock().unwrap_or_else(|e| e.into_inner());
        if failure().lost.is_none() && failure().reported.is_some() {
            // That the device is gone is told only when it is polled.
            let _ = self.raw.poll(wgpu::PollType::Poll);
        }
        let Failure { lost, full, reported } = &*failure();
        match (lost, full, reported) {
            (Some(text), ..) | (None, false, Some(text)) => Err(Error::Device(text.clone())),
            (None, true, _) => Err(Error::OutOfMemory { what: "buffers".into(), bytes: self.memory().bytes }),
            (None, false, None) => Ok(()),
        }
    }

    /// Remembers that a run ends with what was just submitted.
    pub fn mark_run(&self) {
        let signal = Signal::new();
        let done = signal.clone();
        self.queue.on_submitted_work_done(move || done.send(()));
        self.unfinished.borrow_mut().push_back(signal);
    }

    /// Waits until at most `ahead` runs are unfinished.
    pub async fn pace(&self, ahead: usize) -> Result<(), Error> {
        loop {
            let next = {
                let mut runs = self.unfinished.borrow_mut();
                if runs.len() <= ahead {
                    break;
                }
                runs.pop_front()
            };
            if let Some(mut signal) = next {
                // A native queue calls back only while it is polled.
                while cfg!(not(target_arch = "wasm32")) && now(&mut signal).is_none() {
                    self.poll_some()?;
                    self.check()?;
                    if now(&mut signal).is_some() {
                        break;
                    }
                    std::thread::sleep(std::time::Duration::from_micros(200));
                }
                if cfg!(target_arch = "wasm32") {
                    signal.await;
                }
            }
        }
        self.check()
    }

    fn poll_some(&self) -> Result<(), Error> {
        self.raw
            .poll(wgpu::PollType::Poll)
            .map(drop)
            .map_err(|e| Error::Device(format!("the GPU does not answer: {e}")))
    }

    /// Waits for all that was submitted.
    pub async fn wait(&self) -> Result<(), Error> {
        if cfg!(not(target_arch = "wasm32")) {
            self.unfinished.borrow_mut().clear();
            let waited = self.raw.poll(wgpu::PollType::wait_indefinitely());
            self.check()?;
            waited.map_err(|e| Error::Device(format!("the GPU does not answer: {e}")))?;
            return Ok(());
        }
        self.mark_run();
        self.pace(0).await
    }
}

/// A device that kernels are trusted on, where its API knows the difference.
#[cfg(not(target_arch = "wasm32"))]
use crate::vulkan::open as unchecked;

#[cfg(target_arch = "wasm32")]
fn unchecked(_: &wgpu::Adapter, _: &wgpu::DeviceDescriptor<'_>) -> Option<(wgpu::Device, wgpu::Queue)> {
    None
}

/// What is asked of an adapter.
fn limits(adapter: &wgpu::Adapter, choice: &Choice) -> wgpu::Limits {
    let mut limits = wgpu::Limits::default();
    if !choice.plain {
        limits = limits.using_resolution(adapter.limits());
        limits.max_buffer_size = adapter.limits().max_buffer_size;
        limits.max_compute_workgroup_storage_size = adapter.limits().max_compute_workgroup_storage_size;
        limits.max_storage_buffer_binding_size = adapter.limits().max_storage_buffer_binding_size;
        if choice.checked {
            // One more than any kernel has of its own.
            limits.max_storage_buffers_per_shader_stage += 1;
        }
    }
    limits
}

/// What a device has under these limits. What is more than plain is yet to be proven.
fn plain(adapter: &wgpu::Adapter, choice: &Choice, limits: &wgpu::Limits) -> Caps {
    let info = adapter.get_info();
    let cpu = info.device_type == wgpu::DeviceType::Cpu;
    Caps {
        workgroup_bytes: limits.max_compute_workgroup_storage_size,
        max_buffer: limits.max_buffer_size,
        // WGSL indexes with 32 bits, and some drivers count bytes in them.
        max_binding: limits.max_storage_buffer_binding_size.min(1 << 31),
        alignment: u64::from(limits.min_storage_buffer_offset_alignment.max(256)),
        max_groups: limits.max_compute_workgroups_per_dimension,
        // The tiles for processors are made for the renderers there are natively. Chromium's decodes three times as fast
        // with those for GPUs, which are what people's browsers run.
        software: cpu && cfg!(not(target_arch = "wasm32")) && !choice.plain && !choice.as_gpu,
        // A browser is not waited for while a program runs.
        streams: cfg!(not(target_arch = "wasm32")),
        at_once: match info.backend {
            _ if cpu => std::thread::available_parallelism().map_or(1, usize::from),
            wgpu::Backend::Metal => at_once(APPLE, false),
            _ => at_once(info.vendor, info.device_type != wgpu::DeviceType::IntegratedGpu),
        },
        ..Caps::default()
    }
}

/// Every adapter that can compute, with what kernels would be chosen by if each of its tiers held. None is opened.
pub async fn prospects(backend: Backend) -> Vec<(AdapterReport, Caps)> {
    let choice = Choice { backend, ..Choice::default() };
    let prospect = |(index, adapter): (usize, &wgpu::Adapter)| {
        let (offer, limits) = (offer(adapter, &choice), limits(adapter, &choice));
        let caps = Caps {
            f16: offer.has(wgpu::Features::SHADER_F16),
            subgroups: offer.has(wgpu::Features::SUBGROUP),
            matrices: offer.matrices.first().copied(),
            ..plain(adapter, &choice, &limits)
        };
        (AdapterReport::new(index, adapter), caps)
    };
    enumerate(&choice).await.iter().enumerate().map(prospect).collect()
}

/// What a future that is ready already holds.
fn now<F: Future>(future: F) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    match future.as_mut().poll(&mut cx) {
        std::task::Poll::Ready(value) => Some(value),
        std::task::Poll::Pending => None,
    }
}
