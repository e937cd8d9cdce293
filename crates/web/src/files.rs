//! A model's files as JavaScript lends them: from disk, from the browser's own store, or from a server.

use crate::fault::{Fault, Result};
use js_sys::Uint8Array;
use wasm_bindgen::prelude::*;

#[wasm_bindgen(typescript_custom_section)]
const TYPES: &str = "
/** A model folder: paths are relative to it, as `unet/config.json`. */
export interface Files {
  /** The file's length in bytes, or nothing where there is no such file. */
  size(path: string): Promise<number | undefined>;
  /** Bytes `from` up to and without `to`. */
  read(path: string, from: number, to: number): Promise<Uint8Array>;
}";

#[wasm_bindgen]
extern "C" {
    /// A JavaScript object with `size` and `read`.
    #[wasm_bindgen(typescript_type = "Files")]
    pub type Files;

    #[wasm_bindgen(method, catch, js_name = size)]
    async fn js_size(this: &Files, path: &str) -> std::result::Result<JsValue, JsValue>;

    #[wasm_bindgen(method, catch, js_name = read)]
    async fn js_read(this: &Files, path: &str, from: f64, to: f64) -> std::result::Result<JsValue, JsValue>;
}

impl Files {
    /// The file's length in bytes; none where there is no such file.
    pub async fn size(&self, path: &str) -> Result<Option<u64>> {
        Ok(self.js_size(path).await.map_err(Fault::thrown)?.as_f64().map(|size| size as u64))
    }

    /// Some of a file's bytes.
    pub async fn read(&self, path: &str, from: u64, to: u64) -> Result<Vec<u8>> {
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

    /// A small file; none where there is none.
    pub async fn whole(&self, path: &str) -> Result<Option<Vec<u8>>> {
        /// Longer than any vocabulary or configuration.
        const MOST: u64 = 64 << 20;
        match self.size(path).await? {
            None => Ok(None),
            Some(size) if size > MOST => {
                Err(Fault::model(format!("{path}: {size} bytes are too many for a file of settings")))
            }
            Some(size) => self.read(path, 0, size).await.map(Some),
        }
    }
}
