//! Calotype for JavaScript: what a browser's Worker needs of the pipeline, and nothing else.
//!
//! `js/calotype.js` is the API that a page sees, with its types in `js/calotype.d.ts`; `js/worker.js` calls the
//! `Engine` here. Plain data crosses the border as JSON in the words of the command line.
#![cfg(target_arch = "wasm32")]

mod engine;
mod fault;
mod files;
mod notes;
mod opened;
mod request;
mod settings;
mod sorted;

pub use engine::Engine;
pub use files::Files;
pub use settings::{Sha256, samplers, schedules, settings};

use wasm_bindgen::prelude::wasm_bindgen;

/// Bytes of WebAssembly memory, which never shrinks: what it is now is the most it was.
#[wasm_bindgen(js_name = heapBytes)]
pub fn heap_bytes() -> f64 {
    core::arch::wasm32::memory_size(0) as f64 * 65536.0
}

/// What a bug of ours said before WebAssembly trapped; nothing where it trapped for another reason, which as a rule is
/// that its memory cannot grow.
#[wasm_bindgen(js_name = lastPanic)]
pub fn last_panic() -> Option<String> {
    notes::panic()
}

#[wasm_bindgen(start)]
fn start() {
    calotype_pipeline::Field::spell_with(fault::spelt);
    notes::collect();
}
