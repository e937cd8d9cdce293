//! A model's files as JavaScript lends them: from disk, from the browser's own store, or from a server.

use crate::fault::{Fault, Result};
use calotype_tensor::LocalFuture;
use calotype_weights::{Bytes, Error, Folder, within};
use js_sys::Uint8Array;
use std::borrow::Cow;
use std::io;
use std::ops::Range;
use std::rc::Rc;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = "
/** A model folder: paths are relative to it, as `unet/config.json`. */
export interface Files {
  /** The file's length in bytes, or nothing where there is no such file. */
  size(path: string): Promise<number | undefined>;
  /** Bytes `from` up to and without `to`. */
  read(path: string, from: number, to: number): Promise<Uint8Array>;
  /** Every file's path, or nothing where nobody tells: then files are asked for one by one. */
  paths(): string[] | undefined;
  /** CLIP's own merges, packed by gzip: what a single file of weights is read with. */
  vocabulary(): Promise<Uint8Array>;
}";

#[wasm_bindgen]
extern "C" {
    /// A JavaScript object with `size`, `read`, `paths` and `vocabulary`.
    #[wasm_bindgen(typescript_type = "Files")]
    pub type Files;

    #[wasm_bindgen(method, catch, js_name = size)]
    async fn js_size(this: &Files, path: &str) -> std::result::Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = read)]
    async fn js_read(this: &Files, path: &str, from: f64, to: f64) -> std::result::Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = vocabulary)]
    async fn js_vocabulary(this: &Files) -> std::result::Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = paths)]
    fn js_paths(this: &Files) -> std::result::Result<JsValue, JsValue>;
}

impl Files {
    /// The file's length in bytes; none where there is no such file.
    async fn size(&self, path: &str) -> Result<Option<u64>> {
        Ok(self.js_size(path).await.map_err(Fault::thrown)?.as_f64().map(|size| size as u64))
    }

    /// Some of a file's bytes.
    async fn read(&self, path: &str, from: u64, to: u64) -> Result<Vec<u8>> {
        let bytes = self.js_read(path, from as f64, to as f64).await.map_err(Fault::thrown)?;
        let bytes =
            bytes.dyn_into::<Uint8Array>().map_err(|_| Fault::model(format!("{path}: no bytes came")))?;
        let wanted = to - from;
        if u64::from(bytes.length()) != wanted {
            return Err(Fault::model(format!(
                "{path}: {} bytes came where {wanted} were asked for; open the model again",
                bytes.length()
            )));
        }
        Ok(bytes.to_vec())
    }

    /// CLIP's own merges, packed.
    pub async fn vocabulary(&self) -> Result<Vec<u8>> {
        let bytes = self.js_vocabulary().await.map_err(Fault::thrown)?;
        Ok(bytes.unchecked_into::<Uint8Array>().to_vec())
    }

    /// Every file's path, where JavaScript knows them.
    fn paths(&self) -> Option<Vec<String>> {
        let paths = self.js_paths().ok()?.dyn_into::<js_sys::Array>().ok()?;
        Some(paths.iter().filter_map(|path| path.as_string()).collect())
    }
}

/// What JavaScript lends, as a folder; without a name for files by themselves.
pub struct LentFolder {
    files: Rc<Files>,
    name: String,
}

/// One of its files, of which piece by piece is fetched: no model is ever whole in WebAssembly's memory.
struct LentFile {
    files: Rc<Files>,
    path: String,
    size: u64,
}

impl LentFolder {
    pub fn new(files: impl Into<Rc<Files>>, name: &str) -> Self {
        Self { files: files.into(), name: name.into() }
    }

    async fn find(&self, path: &str) -> calotype_weights::Result<Option<Rc<dyn Bytes>>> {
        let failed = |fault: Fault| Error::Io { path: self.place(path).into(), error: told(path, fault) };
        let Some(size) = self.files.size(path).await.map_err(failed)? else { return Ok(None) };
        Ok(Some(Rc::new(LentFile { files: self.files.clone(), path: path.into(), size })))
    }
}

impl Folder for LentFolder {
    fn place(&self, path: &str) -> String {
        if self.name.is_empty() { path.into() } else { format!("{}/{path}", self.name) }
    }

    fn open<'a>(&'a self, path: &'a str) -> LocalFuture<'a, calotype_weights::Result<Option<Rc<dyn Bytes>>>> {
        Box::pin(self.find(path))
    }

    fn list<'a>(&'a self, folder: &'a str) -> LocalFuture<'a, calotype_weights::Result<Option<Vec<String>>>> {
        let names = self.files.paths().map(|paths| within(folder, paths.iter().map(String::as_str)));
        let gone = names.as_ref().is_some_and(Vec::is_empty);
        let names = if gone { Err(Error::NoFolder(self.place(folder).into())) } else { Ok(names) };
        Box::pin(std::future::ready(names))
    }
}

impl Bytes for LentFile {
    fn size(&self) -> u64 {
        self.size
    }

    fn read(&self, range: Range<u64>) -> LocalFuture<'_, io::Result<Cow<'_, [u8]>>> {
        Box::pin(async move {
            let read = self.files.read(&self.path, range.start, range.end).await;
            read.map(Cow::Owned).map_err(|fault| told(&self.path, fault))
        })
    }
}

/// What went wrong with a file, without its name: whoever asked says which it is.
fn told(path: &str, fault: Fault) -> io::Error {
    io::Error::other(fault.without(&format!("{path}: ")))
}
