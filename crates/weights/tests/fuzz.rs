//! What files may cost. A million damaged bytes of each format: no panic, no hang, no more memory than the file and a
//! constant. Files of many gigabytes: no more than what they say of themselves.

mod made;

use calotype_weights::{Checkpoint, Tensors};
use made::golden;
use pollster::block_on;
use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::time::{Duration, Instant};

/// Counts what this thread holds.
struct Counting;

thread_local! {
    /// Bytes now, and at most.
    static HELD: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

// SAFETY: the system's allocator does the work.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let _ = HELD.try_with(|held| {
            let (now, most) = held.get();
            held.set((now + layout.size(), most.max(now + layout.size())));
        });
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| {
            let (now, most) = held.get();
            held.set((now.saturating_sub(layout.size()), most));
        });
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(at, layout) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Bytes that go through each format; more where `CALOTYPE_FUZZ_BYTES` says so.
const BYTES: usize = 1_000_000;
/// Memory beside the file's own size, a few times of which numbers take as they are lent.
const CONSTANT: usize = 16 << 20;
const TIMES: usize = 16;
/// The longest that one file may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// xorshift64*: Vigna 2016, arXiv:1402.6246.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) as usize % limit.max(1)
    }
}

/// A file with up to eight faults: bits turned, numbers at their limits, parts moved or cut off.
fn damage(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(8) {
        // Headers are where faults hurt.
        let within = if random.below(3) > 0 { bytes.len().min(1024) } else { bytes.len() };
        let at = random.below(within);
        let rest = bytes.len() - at;
        match random.below(6) {
            0 => bytes[at] ^= 1 << random.below(8),
            1 => bytes[at] = random.below(256) as u8,
            2 => bytes[at..].iter_mut().take(8).for_each(|b| *b = 0xff),
            3 => bytes[at..].iter_mut().take(1 << random.below(4)).for_each(|b| *b = 0),
            4 => {
                let (from, len) = (random.below(bytes.len()), random.below(16).min(rest));
                let part: Vec<u8> = bytes.iter().skip(from).take(len).copied().collect();
                bytes[at..at + part.len()].copy_from_slice(&part);
            }
            _ if random.below(4) == 0 => bytes.truncate(at.max(1)),
            _ => bytes[at] = bytes[at].wrapping_add(1),
        }
    }
}

fn wanted() -> usize {
    std::env::var("CALOTYPE_FUZZ_BYTES").map_or(BYTES, |bytes| bytes.parse().unwrap())
}

/// Opens a file and reads all of it, some elements at a time; says whether it opened.
fn read(bytes: Vec<u8>) -> bool {
    let Ok(file) = Checkpoint::in_memory("a.file", bytes) else { return false };
    for name in file.names() {
        let Ok(info) = file.get(name) else { continue };
        let [block, _] = info.encoding.block();
        let (numel, step) = (info.numel(), 4096usize.next_multiple_of(block));
        for start in (0..numel).step_by(step).take(64) {
            let _ = block_on(file.read(name, start..numel.min(start + step)));
        }
    }
    true
}

fn fuzz(seed: u64, sound: &[Vec<u8>]) {
    let mut random = Random(seed);
    let (mut done, mut opened, mut refused) = (0, 0, 0);
    while done < wanted() {
        let mut bytes = sound[random.below(sound.len())].clone();
        damage(&mut bytes, &mut random);
        let (len, start) = (bytes.len(), Instant::now());
        let before = HELD.with(|held| {
            held.set((held.get().0, held.get().0));
            held.get().0
        });
        let state = random.0;
        if read(bytes) {
            opened += 1
        } else {
            refused += 1
        }
        let most = HELD.with(|held| held.get().1) - before;
        assert!(most <= CONSTANT + TIMES * len, "{most} bytes for a file of {len}, before state {state}");
        assert!(start.elapsed() < PATIENCE, "{:?}, before state {state}", start.elapsed());
        done += len;
    }
    // Else nothing was damaged, or nothing was read.
    assert!(opened > 0 && refused > 0, "{opened} opened, {refused} were refused");
}

fn goldens(names: &[&str]) -> Vec<Vec<u8>> {
    names.iter().map(|name| golden(name)).collect()
}

#[test]
fn zipped_pickles() {
    fuzz(1, &goldens(&["state.bin", "module.pt", "training.ckpt", "numbers.ckpt", "scripted.pt"]));
}

#[test]
fn legacy_pickles() {
    fuzz(2, &goldens(&["legacy.pth", "parameters.pt", "embedding.bin", "legacy-protocol-4.pt"]));
}

#[test]
fn tarred_pickles() {
    fuzz(3, &goldens(&["oldest.pt"]));
}

#[test]
fn gguf() {
    fuzz(4, &goldens(&["bare.gguf", "blocks.gguf"]));
}

#[test]
fn hdf5() {
    fuzz(5, &goldens(&["behind.h5", "pieces.h5", "pieces.h5", "latest.h5", "early.h5"]));
}

#[test]
fn safetensors() {
    let json = r#"{"__metadata__":{"a":"b"},"x":{"dtype":"F16","shape":[2,3],"data_offsets":[0,12]},"y":{"dtype":"F8_E4M3","shape":[4],"data_offsets":[12,16]}}"#;
    fuzz(6, &[made::safetensors(json, 16)]);
}

/// How much a file of SDXL has, in f16.
const LARGE: u64 = 6_940_000_000;
/// How long opening it may take.
const SOON: Duration = Duration::from_millis(200);
/// What it may take of memory.
const LITTLE: usize = 1 << 20;

/// Opens a file of `LARGE` bytes and more, most of them a hole: `head` and `tail` are what is in it.
fn open_large(head: &[u8], tail: &[u8], last: usize) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large");
    let mut file = File::create(&path).unwrap();
    file.write_all(head).unwrap();
    file.seek(SeekFrom::Start(LARGE)).unwrap();
    file.write_all(tail).unwrap();
    drop(file);

    let (start, before) = (Instant::now(), HELD.with(|held| held.get().0));
    HELD.with(|held| held.set((before, before)));
    let file = Checkpoint::open(&path).unwrap();
    let info = file.get("w").unwrap();
    let end = block_on(file.read("w", info.numel() - 1..info.numel())).unwrap().into_owned();
    let (took, most) = (start.elapsed(), HELD.with(|held| held.get().1) - before);
    assert_eq!((info.numel(), &end[..]), (last, &[0x00, 0x3c][..]));
    assert!(took < SOON, "{took:?}");
    assert!(most < LITTLE, "{most} bytes");
}

#[test]
fn large_files_cost_their_headers() {
    // The last two bytes of the hole's other side are an f16 one, where the tensor ends.
    let tail = [0x00, 0x3c];
    let json = |bytes: u64| {
        format!(r#"{{"w":{{"dtype":"F16","shape":[{}],"data_offsets":[0,{bytes}]}}}}"#, bytes / 2)
    };
    let bytes = LARGE + 2 - 8 - json(LARGE).len() as u64;
    let text = format!("{}{}", json(bytes), " ".repeat((bytes % 2) as usize));
    let bytes = bytes - bytes % 2;
    open_large(
        &made::safetensors(&text.replace(&(bytes + 1).to_string(), &bytes.to_string()), 0),
        &tail,
        (bytes / 2) as usize,
    );

    let elements = (LARGE + 2 - 64) / 2;
    let head = made::gguf(3, 1, 0, &made::gguf_tensor("w", &[elements], 1, 0));
    assert!(head.len() <= 64);
    open_large(&head, &tail, elements as usize);
    zipped_large(&tail);
}

/// The same by torch, whose archive has wide numbers then.
fn zipped_large(tail: &[u8]) {
    let name = "a/data/0";
    let start = 30 + name.len() as u64;
    let (size, elements) = (LARGE + 2 - start, (LARGE + 2 - start) / 2);
    let pickle = made::dict(&[("w", made::half_tensor("0", elements as i64))]);
    let pickle = [b"\x80\x02", &pickle[..], b"."].concat();
    let wide = u32::MAX.to_le_bytes();
    let head = [
        b"PK\x03\x04\x2d\0\0\0".to_vec(),
        vec![0; 10],
        [wide, wide].concat(),
        vec![name.len() as u8, 0, 0, 0],
        name.into(),
    ];
    let local = [
        &b"PK\x03\x04\x14\0\0\0"[..],
        &[0; 10],
        &(pickle.len() as u32).to_le_bytes(),
        &(pickle.len() as u32).to_le_bytes(),
        &[10, 0, 0, 0],
        b"a/data.pkl",
        &pickle,
    ]
    .concat();
    let member = |name: &str, narrow: u32, len: u64, at: u64| {
        let extra = [&[1, 0, 24, 0][..], &len.to_le_bytes(), &len.to_le_bytes(), &at.to_le_bytes()].concat();
        let sizes = [narrow.to_le_bytes(), narrow.to_le_bytes()].concat();
        let lens = [name.len() as u8, 0, extra.len() as u8, 0, 0, 0];
        [
            b"PK\x01\x02\x2d\0\x2d\0\0\0".to_vec(),
            vec![0; 10],
            sizes,
            lens.to_vec(),
            vec![0; 8],
            u32::MAX.to_le_bytes().to_vec(),
            name.into(),
            extra,
        ]
        .concat()
    };
    let members =
        [member(name, u32::MAX, size, 0), member("a/data.pkl", u32::MAX, pickle.len() as u64, LARGE + 2)]
            .concat();
    let directory = LARGE + 2 + local.len() as u64;
    let end = directory + members.len() as u64;
    let wide_end = [
        b"PK\x06\x06".to_vec(),
        44u64.to_le_bytes().to_vec(),
        vec![45, 0, 45, 0],
        vec![0; 8],
        2u64.to_le_bytes().to_vec(),
        2u64.to_le_bytes().to_vec(),
        (members.len() as u64).to_le_bytes().to_vec(),
        directory.to_le_bytes().to_vec(),
    ]
    .concat();
    let locator = [b"PK\x06\x07".to_vec(), vec![0; 4], end.to_le_bytes().to_vec(), vec![1, 0, 0, 0]].concat();
    let narrow_end = [b"PK\x05\x06\0\0\0\0".to_vec(), vec![0xff; 12], vec![0, 0]].concat();
    open_large(
        &head.concat(),
        &[tail, &local, &members, &wide_end, &locator, &narrow_end].concat(),
        elements as usize,
    );
}
