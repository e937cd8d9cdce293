use calotype_tensor::{DType, Shape};
use std::borrow::Cow;
use std::future::Future;
use std::pin::Pin;

/// A future that stays on its thread: what reading back from a GPU and fetching weights return. Native code
/// blocks on it, a browser awaits it.
pub type LocalFuture<'a, T> = Pin<Box<dyn Future<Output = T> + 'a>>;

/// Where weights come from.
pub trait WeightFetch {
    /// The element type and shape of a tensor.
    fn find(&self, name: &str) -> Option<(DType, Shape)>;
    /// The file a tensor is in, for messages.
    fn file(&self, name: &str) -> String;
    /// The message for a tensor that is missing under all of `names`.
    fn missing(&self, names: &[String]) -> String;
    /// A tensor's little-endian bytes.
    fn fetch<'a>(&'a self, name: &'a str) -> LocalFuture<'a, Result<Cow<'a, [u8]>, String>>;
}
