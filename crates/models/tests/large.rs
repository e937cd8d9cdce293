//! A single file of full size, which takes no room on disk: it opens in its header's time, and is written again in the
//! memory of its largest tensor.
#![cfg(target_os = "linux")]

use calotype_models::Role;
use calotype_models::detect::{self, Family, Predicts};
use calotype_tensor::{Encoding, Tensors};
use calotype_weights::Checkpoint;
use calotype_weights::files::{Format, StoredAs, write};
use calotype_weights::schemes::FileParts;
use flate2::read::GzDecoder;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Write, sink};
use std::path::Path;
use std::rc::Rc;
use std::time::{Duration, Instant};

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens/layouts.txt.gz");

/// A published model's file with its names and shapes in f16, all zeros that are nowhere. Returns its bytes.
fn sparse(model: &str, path: &Path) -> u64 {
    let mut text = String::new();
    GzDecoder::new(File::open(GOLDEN).unwrap()).read_to_string(&mut text).unwrap();
    let lines = text.split("# ").find_map(|part| part.strip_prefix(model)?.strip_prefix('\n')).unwrap();
    let (mut header, mut end) = (Map::new(), 0u64);
    for line in lines.lines() {
        let (name, shape, _): (String, Vec<u64>, Value) = serde_json::from_str(line).unwrap();
        let start = end;
        end += 2 * shape.iter().product::<u64>();
        header.insert(name, json!({ "dtype": "F16", "shape": shape, "data_offsets": [start, end] }));
    }
    let header = Value::from(header).to_string();
    let mut file = File::create(path).unwrap();
    file.write_all(&(header.len() as u64).to_le_bytes()).unwrap();
    file.write_all(header.as_bytes()).unwrap();
    let size = 8 + header.len() as u64 + end;
    file.set_len(size).unwrap();
    size
}

/// The most memory that the process has had, and what it has now, in MiB.
fn memory() -> [u64; 2] {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    ["VmHWM:", "VmRSS:"].map(|key| {
        let line = status.lines().find_map(|line| line.strip_prefix(key)).unwrap();
        line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() >> 10
    })
}

// One test, for the memory is the process's.
#[test]
fn a_file_of_full_size_costs_its_header_to_open_and_a_tensor_to_write() {
    let folder = tempfile::tempdir().unwrap();
    let (xl, sd) = (folder.path().join("xl.safetensors"), folder.path().join("sd.safetensors"));
    let size = sparse("sdxl", &xl);
    assert!((6_900_000_000..7_000_000_000).contains(&size), "{size} bytes");
    let [_, before] = memory();
    let open = || {
        let start = Instant::now();
        let parts = FileParts::of(Rc::new(Checkpoint::open(&xl).unwrap())).unwrap();
        let unet = &parts.components["unet"];
        let (family, _) = Family::of(unet).unwrap();
        assert_eq!(family, Family::Sdxl);
        detect::config(Role::Denoiser, unet, family, Predicts::Epsilon).unwrap();
        start.elapsed()
    };
    // A machine that does other things too is slow now and then.
    let fastest = (0..10).map(|_| open()).min().unwrap();
    assert!(fastest < Duration::from_millis(200), "{fastest:?}");
    let [most, _] = memory();
    assert!(most < before + 64, "{before} MiB, and {most} with a file of {} MiB", size >> 20);

    let size = sparse("sd15", &sd) >> 20;
    let source = Checkpoint::open(&sd).unwrap();
    let same = |name: &str| StoredAs { name: name.into(), encoding: Encoding::F16 };
    let tensors: Vec<StoredAs> = source.names().into_iter().map(same).collect();
    let [_, before] = memory();
    write(Format::Gguf, &mut sink(), &source, &tensors, &BTreeMap::new(), &mut |_| true).unwrap();
    let [most, _] = memory();
    assert!(most < before + 256, "{before} MiB, and {most} with a file of {size} MiB");
}
