use crate::device::{Buffer, Device};
use crate::program::{FLOPS_A_SUBMIT, GpuProgram, Launch};
use crate::signal::Signal;
use calotype_graph::{Clock, Error, Profile, Span};
use web_time::Instant;

/// How often a launch is repeated where there are no timestamps; fewer times if that would hold the GPU too long.
const REPEATS: u64 = 8;

/// A launch with its bindings.
type Bound<'a> = (&'a Launch, wgpu::BindGroup);

/// Passes that one query set holds: WebGPU allows 4096 queries, and each pass takes two.
const PASSES_A_SET: usize = wgpu::QUERY_SET_MAX_QUERIES as usize / 2;

/// Bytes of a timestamp.
const TICK: u64 = wgpu::QUERY_SIZE as u64;

impl GpuProgram {
    /// Runs every launch in a pass of its own and says how long each took.
    pub async fn profile(&self, device: &Device, row: usize) -> Result<Profile, Error> {
        if device.raw.features().contains(wgpu::Features::TIMESTAMP_QUERY) {
            self.by_timestamps(device, row).await
        } else {
            self.by_batches(device, row).await
        }
    }

    /// Seconds that all launches take together by the device's clock, as in a run: in one pass.
    #[cfg(not(target_arch = "wasm32"))]
    pub async fn seconds(&self, device: &Device) -> Result<f64, Error> {
        let ticks = timestamps(device, &[&self.bound(device)?], 0).await?;
        let ticks: u64 = ticks.iter().map(|[begin, end]| end.saturating_sub(*begin)).sum();
        Ok(ticks as f64 * f64::from(device.queue.get_timestamp_period()) * 1e-9)
    }

    async fn by_timestamps(&self, device: &Device, row: usize) -> Result<Profile, Error> {
        let mut ticks: Vec<[u64; 2]> = Vec::with_capacity(self.launches.len());
        let bound = self.bound(device)?;
        let passes: Vec<&[Bound<'_>]> = bound.chunks(1).collect();
        for passes in passes.chunks(PASSES_A_SET) {
            ticks.extend(timestamps(device, passes, row).await?);
        }
        let period = f64::from(device.queue.get_timestamp_period()) * 1e-9;
        let first = ticks.first().map_or(0, |t| t[0]);
        let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 * period;
        let span = |(launch, [begin, end]): (&Launch, [u64; 2])| Span {
            node: launch.node,
            kernel: launch.variant.label(),
            start: seconds(first, begin),
            seconds: seconds(begin, end),
        };
        let spans = self.launches.iter().zip(ticks).map(span).collect();
        Ok(Profile { clock: Clock::Timestamps, spans })
    }

    async fn by_batches(&self, device: &Device, row: usize) -> Result<Profile, Error> {
        let mut spans = Vec::with_capacity(self.launches.len());
        let mut start = 0.0;
        for (launch, binding) in &self.bound(device)? {
            let repeats = (FLOPS_A_SUBMIT / launch.flops.max(1)).clamp(1, REPEATS);
            timed(device, (launch, binding), row, 1).await?;
            let one = timed(device, (launch, binding), row, 1).await?;
            let more = timed(device, (launch, binding), row, 1 + repeats).await?;
            let seconds = (more - one).max(0.0) / repeats as f64;
            spans.push(Span { node: launch.node, kernel: launch.variant.label(), start, seconds });
            start += seconds;
        }
        Ok(Profile { clock: Clock::Batches, spans })
    }
}

/// Seconds from handing `times` repetitions of a launch to the device until it is done with them.
async fn timed(
    device: &Device,
    (launch, binding): (&Launch, &wgpu::BindGroup),
    row: usize,
    times: u64,
) -> Result<f64, Error> {
    let begin = Instant::now();
    let mut encoder = device.raw.create_command_encoder(&Default::default());
    {
        let mut pass = encoder.begin_compute_pass(&Default::default());
        (0..times).for_each(|_| launch.encode(&mut pass, binding, row));
    }
    device.queue.submit([encoder.finish()]);
    device.wait().await?;
    Ok(begin.elapsed().as_secs_f64())
}

/// The device's clock before and after each pass.
async fn timestamps(device: &Device, passes: &[&[Bound<'_>]], row: usize) -> Result<Vec<[u64; 2]>, Error> {
    let count = 2 * passes.len() as u32;
    let queries = device.raw.create_query_set(&wgpu::QuerySetDescriptor {
        label: Some("profile"),
        ty: wgpu::QueryType::Timestamp,
        count: count.max(2),
    });
    let bytes = u64::from(count) * TICK;
    use wgpu::BufferUsages as Usage;
    let resolved = device.buffer("timestamps", bytes, Usage::QUERY_RESOLVE | Usage::COPY_SRC)?;
    let read = device.buffer("timestamps, read back", bytes, Usage::MAP_READ | Usage::COPY_DST)?;
    let mut flops = 0;
    let mut encoder = device.raw.create_command_encoder(&Default::default());
    for (i, launches) in passes.iter().enumerate() {
        // As in a run, the GPU is never handed more than it does well before it is thought to hang.
        let own: u64 = launches.iter().map(|(launch, _)| launch.flops).sum();
        if flops > 0 && flops + own > FLOPS_A_SUBMIT {
            let next = device.raw.create_command_encoder(&Default::default());
            device.queue.submit([std::mem::replace(&mut encoder, next).finish()]);
            flops = 0;
        }
        flops += own;
        let query = 2 * i as u32;
        let writes = wgpu::ComputePassTimestampWrites {
            query_set: &queries,
            beginning_of_pass_write_index: Some(query),
            end_of_pass_write_index: Some(query + 1),
        };
        let mut pass = encoder.begin_compute_pass(&wgpu::ComputePassDescriptor {
            label: Some("profiled"),
            timestamp_writes: Some(writes),
        });
        launches.iter().for_each(|(launch, binding)| launch.encode(&mut pass, binding, row));
    }
    if count > 0 {
        encoder.resolve_query_set(&queries, 0..count, &resolved.raw, 0);
        encoder.copy_buffer_to_buffer(&resolved.raw, 0, &read.raw, 0, bytes);
    }
    device.queue.submit([encoder.finish()]);
    let words = map(device, &read).await?;
    let tick = |at: usize| words[at..at + 8].try_into().map(u64::from_le_bytes).unwrap_or(0);
    Ok((0..passes.len()).map(|i| [tick(16 * i), tick(16 * i + 8)]).collect())
}

/// A buffer's bytes, when the device is done with it.
async fn map(device: &Device, buffer: &Buffer) -> Result<Vec<u8>, Error> {
    let failed = |e: &dyn std::fmt::Display| Error::Device(format!("timestamps could not be read: {e}"));
    let signal = Signal::new();
    let done = signal.clone();
    buffer.raw.slice(..).map_async(wgpu::MapMode::Read, move |r| done.send(r));
    device.wait().await?;
    signal.await.map_err(|e| failed(&e))?;
    let bytes = buffer.raw.slice(..).get_mapped_range().map_err(|e| failed(&e))?.to_vec();
    buffer.raw.unmap();
    Ok(bytes)
}
