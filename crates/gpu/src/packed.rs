//! Weights as a device reads them, kept on disk: what one start has packed the next one uploads.
//!
//! A file has what a graph's weights are made of (see [`key`]), then each weight's length, sum and bytes. It is written under
//! another name and takes its own when it is whole. Where nothing fits, or something is damaged, weights are packed as ever.

use crate::adapter::Choice;
use crate::store::{cache_folder, sum};
use calotype_graph::lower::by_columns;
use calotype_graph::{Caps, Graph, WeightId};
use calotype_tensor::{Shape, Tensors};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

/// How weights lie in such files: another number with every change of how they are packed.
const FORM: &[u8; 8] = b"weights1";

/// Where such files lie, and how many bytes they may take together.
pub(crate) struct PackedFiles {
    folder: PathBuf,
    most: u64,
}

/// What becomes of some weights' file while they are loaded.
pub(crate) enum PackedCopy {
    /// There is none, and will be none.
    None,
    /// They come from it.
    Read(BufReader<File>, PathBuf),
    /// They go into it.
    Write(New),
}

/// A file in the making; gone if it is not finished.
pub(crate) struct New {
    out: Option<BufWriter<File>>,
    named: PathBuf,
    to: PathBuf,
}

impl PackedFiles {
    /// Where they are asked for, and there is a folder for them.
    pub fn chosen(choice: &Choice) -> Option<Self> {
        let most = choice.cache_weights?;
        let folder = choice.cache_dir.clone().or_else(cache_folder);
        if folder.is_none() {
            log::warn!("packed weights are not kept: there is no cache folder");
        }
        Some(Self { folder: folder?.join("weights"), most })
    }

    /// The file of a graph's weights.
    pub fn of(
        &self,
        caps: &Caps,
        graph: &Graph,
        wanted: &[(WeightId, Shape)],
        source: &dyn Tensors,
    ) -> PackedCopy {
        let Some(key) = (!wanted.is_empty()).then(|| key(caps, graph, wanted, source)).flatten() else {
            return PackedCopy::None;
        };
        let bytes =
            wanted.iter().map(|(id, shape)| 16 + graph.weights()[id.index()].stored.bytes(shape.numel()));
        self.open(&key, bytes.sum::<u64>() + 16 + key.len() as u64)
    }

    fn open(&self, key: &str, bytes: u64) -> PackedCopy {
        let path = self.folder.join(format!("{:016x}.weights", sum(key.as_bytes())));
        match known(&path, key) {
            Ok(file) => {
                // The oldest are those that were not asked for longest.
                let _ = file.get_ref().set_modified(SystemTime::now());
                return PackedCopy::Read(file, path);
            }
            Err(error) => log::debug!("{}: {error}", path.display()),
        }
        if bytes > self.most {
            log::info!("{bytes} bytes of packed weights are not kept: {} may be", self.most);
            return PackedCopy::None;
        }
        match self.make_room(bytes, &path).and_then(|()| New::begin(path, key)) {
            Ok(new) => PackedCopy::Write(new),
            Err(error) => not_kept(&self.folder, &error),
        }
    }

    /// Removes files, oldest first, until there is room for so many bytes; `path`, which they are for, in any case.
    fn make_room(&self, bytes: u64, path: &Path) -> io::Result<()> {
        fs::create_dir_all(&self.folder)?;
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            let (at, told) = (entry.path(), entry.metadata()?);
            let is_ours = at.extension().is_some_and(|ending| ending == "weights" || ending == "new");
            if told.is_file() && is_ours {
                files.push((at != path, told.modified().unwrap_or(UNIX_EPOCH), told.len(), at));
            }
        }
        files.sort();
        let mut all: u64 = files.iter().map(|(_, _, bytes, _)| bytes).sum();
        for (is_other, _, own, at) in files {
            if is_other && all + bytes <= self.most {
                break;
            }
            fs::remove_file(&at)?;
            all -= own;
        }
        Ok(())
    }
}

impl PackedCopy {
    /// The next weights, of so many bytes each; none where they are to be packed.
    pub fn take(&mut self, sizes: &[u64]) -> Option<Vec<Vec<u8>>> {
        let Self::Read(file, path) = self else { return None };
        match sizes.iter().map(|bytes| one(file, *bytes)).collect::<io::Result<Vec<_>>>() {
            Ok(all) => Some(all),
            Err(error) => {
                log::info!("{}: {error}: weights are packed anew", path.display());
                let _ = fs::remove_file(path);
                *self = Self::None;
                None
            }
        }
    }

    /// Keeps the next weight.
    pub fn put(&mut self, bytes: &[u8]) {
        let Self::Write(New { out: Some(out), to, .. }) = self else { return };
        let head = [bytes.len() as u64, sum(bytes)].map(u64::to_le_bytes).concat();
        if let Err(error) = out.write_all(&head).and_then(|()| out.write_all(bytes)) {
            *self = not_kept(&to.clone(), &error);
        }
    }

    /// All are there.
    pub fn finish(self) {
        if let Self::Write(new) = self {
            let to = new.to.clone();
            new.finish().unwrap_or_else(|error| _ = not_kept(&to, &error));
        }
    }
}

/// A copy is worth no error.
fn not_kept(place: &Path, error: &io::Error) -> PackedCopy {
    log::warn!("{}: packed weights are not kept: {error}", place.display());
    PackedCopy::None
}

impl New {
    fn begin(to: PathBuf, key: &str) -> io::Result<Self> {
        let named = to.with_extension(format!("{}.new", std::process::id()));
        let mut out = BufWriter::new(File::create(&named)?);
        out.write_all(FORM)?;
        out.write_all(&(key.len() as u64).to_le_bytes())?;
        out.write_all(key.as_bytes())?;
        Ok(Self { out: Some(out), named, to })
    }

    fn finish(mut self) -> io::Result<()> {
        if let Some(mut out) = self.out.take() {
            out.flush()?;
        }
        fs::rename(&self.named, &self.to)
    }
}

impl Drop for New {
    fn drop(&mut self) {
        self.out = None;
        let _ = fs::remove_file(&self.named);
    }
}

/// A file that is of these weights, behind what it says of them.
fn known(path: &Path, key: &str) -> io::Result<BufReader<File>> {
    let mut file = BufReader::with_capacity(1 << 20, File::options().read(true).write(true).open(path)?);
    let other = || io::Error::new(io::ErrorKind::InvalidData, "of other weights");
    let mut form = [0; FORM.len()];
    file.read_exact(&mut form)?;
    let length = number(&mut file)?;
    if form != *FORM || length != key.len() as u64 {
        return Err(other());
    }
    let mut own = vec![0; key.len()];
    file.read_exact(&mut own)?;
    if own == key.as_bytes() { Ok(file) } else { Err(other()) }
}

fn number(file: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    file.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

/// A weight of so many bytes.
fn one(file: &mut impl Read, bytes: u64) -> io::Result<Vec<u8>> {
    let damaged = || io::Error::new(io::ErrorKind::InvalidData, "damaged");
    let (length, told) = (number(file)?, number(file)?);
    if length != bytes {
        return Err(damaged());
    }
    let mut own = vec![0; bytes as usize];
    file.read_exact(&mut own)?;
    if sum(&own) == told { Ok(own) } else { Err(damaged()) }
}

/// What packed weights hang on: what each is made of, in which file, of which size and time, and how the device takes it. None
/// where something comes from no file: synthetic numbers, what LoRAs make of a tensor, what is in memory.
fn key(caps: &Caps, graph: &Graph, wanted: &[(WeightId, Shape)], source: &dyn Tensors) -> Option<String> {
    let mut key = format!("{} {}\n", env!("CARGO_PKG_VERSION"), caps.software);
    let mut files: HashMap<String, String> = HashMap::new();
    for (id, shape) in wanted {
        let weight = &graph.weights()[id.index()];
        let columns = by_columns(weight, *shape, caps);
        writeln!(key, "{shape} {:?} {} {} {columns}", weight.layout, weight.gated, weight.stored).ok()?;
        if let Some(constant) = &weight.constant {
            writeln!(key, "{:016x}", sum(constant.bytes())).ok()?;
            continue;
        }
        for tensor in &weight.tensors {
            let place = source.describe(&tensor.names[0]);
            let file = match files.get(&place) {
                Some(known) => known,
                None => files.entry(place.clone()).or_insert(stamp(Path::new(&place))?),
            };
            writeln!(key, "{} {} {file}", tensor.names[0], tensor.shape).ok()?;
        }
    }
    Some(key)
}

/// What tells a file from what it was before, and from others.
fn stamp(file: &Path) -> Option<String> {
    let told = fs::metadata(file).ok().filter(fs::Metadata::is_file)?;
    let changed = told.modified().ok()?.duration_since(UNIX_EPOCH).ok()?.as_nanos();
    Some(format!("{} {} {changed}", file.canonicalize().ok()?.display(), told.len()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folder(name: &str) -> PathBuf {
        let folder = std::env::temp_dir().join(format!("calotype-packed-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        folder
    }

    fn keep(files: &PackedFiles, key: &str, bytes: &[u8]) -> bool {
        let mut copy = files.open(key, bytes.len() as u64);
        let is_new = matches!(copy, PackedCopy::Write(_));
        copy.put(bytes);
        copy.finish();
        is_new
    }

    fn taken(files: &PackedFiles, key: &str, bytes: usize) -> Option<Vec<Vec<u8>>> {
        files.open(key, 1 << 40).take(&[bytes as u64])
    }

    #[test]
    fn what_was_kept_is_taken_whole_or_not_at_all() {
        let files = PackedFiles { folder: folder("whole"), most: 1 << 20 };
        assert!(keep(&files, "one", &[7; 100]));
        assert!(!keep(&files, "one", &[7; 100]), "it is there");
        assert_eq!(taken(&files, "one", 100), Some(vec![vec![7; 100]]));
        assert_eq!(taken(&files, "two", 100), None);
        // What was not finished leaves nothing.
        drop(files.open("three", 100));
        assert_eq!(fs::read_dir(&files.folder).unwrap().count(), 1);
        // A byte that is another, an end that is missing: packed anew, and no longer there.
        let path = files.folder.join(format!("{:016x}.weights", sum(b"one")));
        let whole = fs::read(&path).unwrap();
        for damaged in [whole[..whole.len() - 1].to_vec(), [&whole[..60], &[9], &whole[61..]].concat()] {
            fs::write(&path, damaged).unwrap();
            assert_eq!(taken(&files, "one", 100), None);
            assert!(!path.exists());
        }
        // Of another key by the same name.
        fs::write(&path, &whole).unwrap();
        fs::rename(&path, files.folder.join(format!("{:016x}.weights", sum(b"two")))).unwrap();
        assert_eq!(taken(&files, "two", 100), None);
        fs::remove_dir_all(&files.folder).unwrap();
    }

    #[test]
    fn the_oldest_make_room() {
        let files = PackedFiles { folder: folder("room"), most: 1000 };
        for key in ["one", "two", "three"] {
            keep(&files, key, &[1; 250]);
            std::thread::sleep(std::time::Duration::from_millis(20));
        }
        let left = |key: &str| files.folder.join(format!("{:016x}.weights", sum(key.as_bytes()))).exists();
        // What was asked for last stays.
        assert!(taken(&files, "one", 250).is_some());
        assert!(keep(&files, "four", &[1; 250]));
        assert_eq!(["one", "two", "three", "four"].map(left), [true, false, true, true]);
        assert!(!keep(&files, "large", &[1; 1001]));
        assert_eq!(["one", "two", "three", "four"].map(left), [true, false, true, true]);
        fs::remove_dir_all(&files.folder).unwrap();
    }
}
