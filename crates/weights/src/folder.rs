use crate::{Bytes, Error, Result};
use calotype_tensor::LocalFuture;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io;
use std::rc::Rc;

/// The largest file that is read whole: longer than any vocabulary or configuration.
const MOST: u64 = 64 << 20;

/// Files by path, wherever they lie: on disk, in memory, or in a browser. Paths are relative and have `/` between their
/// parts.
pub trait Folder {
    /// What a file or a folder in it is called in messages.
    fn place(&self, path: &str) -> String;

    /// A file, where there is one of that path.
    fn open<'a>(&'a self, path: &'a str) -> LocalFuture<'a, Result<Option<Rc<dyn Bytes>>>>;

    /// The names in one of its folders, sorted, of files at least; none where nobody tells. Fails where there is no such folder.
    fn list<'a>(&'a self, folder: &'a str) -> LocalFuture<'a, Result<Option<Vec<String>>>>;

    /// All of a small file, where there is one.
    fn read<'a>(&'a self, path: &'a str) -> LocalFuture<'a, Result<Option<Vec<u8>>>> {
        Box::pin(async move {
            let Some(file) = self.open(path).await? else { return Ok(None) };
            let failed = |error| Error::Io { path: self.place(path).into(), error };
            let size = file.size();
            if size > MOST {
                let why = format!("{size} bytes are too many for a file of settings");
                return Err(failed(io::Error::other(why)));
            }
            file.read(0..size).await.map(|bytes| Some(bytes.into_owned())).map_err(failed)
        })
    }
}

/// Files that are in memory: embedded in the program, or made by it.
pub struct MemoryFolder {
    name: String,
    files: BTreeMap<String, Rc<Cow<'static, [u8]>>>,
}

impl MemoryFolder {
    /// Files by their paths; `name` is what the folder is called in messages.
    pub fn new<P: Into<String>, B: Into<Cow<'static, [u8]>>>(
        name: &str,
        files: impl IntoIterator<Item = (P, B)>,
    ) -> Self {
        let files = files.into_iter().map(|(path, bytes)| (path.into(), Rc::new(bytes.into()))).collect();
        Self { name: name.into(), files }
    }
}

impl Folder for MemoryFolder {
    fn place(&self, path: &str) -> String {
        format!("{}/{path}", self.name)
    }

    fn open<'a>(&'a self, path: &'a str) -> LocalFuture<'a, Result<Option<Rc<dyn Bytes>>>> {
        let file = self.files.get(path).map(|file| Rc::clone(file) as Rc<dyn Bytes>);
        Box::pin(std::future::ready(Ok(file)))
    }

    fn list<'a>(&'a self, folder: &'a str) -> LocalFuture<'a, Result<Option<Vec<String>>>> {
        let names = within(folder, self.files.keys().map(String::as_str));
        let names =
            if names.is_empty() { Err(Error::NoFolder(self.place(folder).into())) } else { Ok(names) };
        Box::pin(std::future::ready(names.map(Some)))
    }
}

/// The names of those of the files, told by their paths, that lie in a folder.
pub fn within<'a>(folder: &str, paths: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let names = paths.into_iter().filter_map(|path| path.strip_prefix(folder)?.strip_prefix('/'));
    names.filter(|name| !name.contains('/')).map(String::from).collect()
}

#[cfg(not(target_arch = "wasm32"))]
pub use disk::DiskFolder;

#[cfg(not(target_arch = "wasm32"))]
mod disk {
    use super::{Bytes, Error, Folder, LocalFuture, Rc, Result};
    use crate::Mapped;
    use std::io::ErrorKind;
    use std::path::PathBuf;

    /// A folder on disk, its files mapped when they are opened.
    pub struct DiskFolder(PathBuf);

    impl DiskFolder {
        /// A folder, which need not be there.
        pub fn new(path: impl Into<PathBuf>) -> Self {
            Self(path.into())
        }

        /// A path in the folder, with the separators of the system.
        fn at(&self, path: &str) -> PathBuf {
            path.split('/').fold(self.0.clone(), |folder, name| folder.join(name))
        }

        fn find(&self, path: &str) -> Result<Option<Rc<dyn Bytes>>> {
            match Mapped::open(self.at(path)) {
                Ok(file) => Ok(Some(Rc::new(file))),
                Err(Error::Io { error, .. }) if error.kind() == ErrorKind::NotFound => Ok(None),
                Err(error) => Err(error),
            }
        }

        pub(crate) fn names(&self, folder: &str) -> Result<Vec<String>> {
            let folder = self.at(folder);
            let io = |error| Error::Io { path: folder.clone(), error };
            if !folder.is_dir() {
                return Err(Error::NoFolder(folder));
            }
            let mut names = Vec::new();
            for entry in std::fs::read_dir(&folder).map_err(io)? {
                names.push(entry.map_err(io)?.file_name().to_string_lossy().into_owned());
            }
            names.sort();
            Ok(names)
        }
    }

    impl Folder for DiskFolder {
        fn place(&self, path: &str) -> String {
            self.at(path).display().to_string()
        }

        fn open<'a>(&'a self, path: &'a str) -> LocalFuture<'a, Result<Option<Rc<dyn Bytes>>>> {
            Box::pin(std::future::ready(self.find(path)))
        }

        fn list<'a>(&'a self, folder: &'a str) -> LocalFuture<'a, Result<Option<Vec<String>>>> {
            Box::pin(std::future::ready(self.names(folder).map(Some)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pollster::block_on;

    #[test]
    fn folders_are_alike_on_disk_and_in_memory() {
        let home = tempfile::tempdir().unwrap();
        std::fs::create_dir(home.path().join("unet")).unwrap();
        for file in ["index.json", "unet/b", "unet/a"] {
            std::fs::write(home.path().join(file), file).unwrap();
        }
        let disk = DiskFolder::new(home.path());
        let memory = MemoryFolder::new("m", ["index.json", "unet/b", "unet/a"].map(|f| (f, f.as_bytes())));
        for folder in [&disk as &dyn Folder, &memory] {
            assert_eq!(block_on(folder.list("unet")).unwrap().unwrap(), ["a", "b"]);
            assert_eq!(block_on(folder.read("unet/a")).unwrap().unwrap(), b"unet/a");
            assert!(block_on(folder.open("unet/c")).unwrap().is_none());
            let error = block_on(folder.list("vae")).unwrap_err().to_string();
            assert!(error.contains("vae: no such folder") && !error.contains('\n'), "{error}");
        }
        // As the system writes paths.
        assert_eq!(disk.place("unet/a"), home.path().join("unet").join("a").display().to_string());
        assert_eq!(memory.place("unet/a"), "m/unet/a");
    }
}
