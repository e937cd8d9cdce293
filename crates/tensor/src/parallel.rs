//! Work that is shared out among threads. A tab has one: there the same words mean one piece after another, and the machinery
//! is no part of what it downloads.

#[cfg(not(target_arch = "wasm32"))]
pub use rayon::prelude;

/// What of rayon's is used, by the same names.
#[cfg(target_arch = "wasm32")]
pub mod prelude {
    use std::iter::FlatMap;
    use std::slice::{Chunks, ChunksMut, Iter};

    /// Of slices.
    pub trait Slices<T> {
        /// Each element.
        fn par_iter(&self) -> Iter<'_, T>;
        /// So many at a time.
        fn par_chunks(&self, size: usize) -> Chunks<'_, T>;
        /// The same, to be written.
        fn par_chunks_mut(&mut self, size: usize) -> ChunksMut<'_, T>;
    }

    impl<T> Slices<T> for [T] {
        fn par_iter(&self) -> Iter<'_, T> {
            self.iter()
        }

        fn par_chunks(&self, size: usize) -> Chunks<'_, T> {
            self.chunks(size)
        }

        fn par_chunks_mut(&mut self, size: usize) -> ChunksMut<'_, T> {
            self.chunks_mut(size)
        }
    }

    /// Of what is taken apart.
    pub trait Taken: IntoIterator + Sized {
        /// Each element.
        fn into_par_iter(self) -> Self::IntoIter {
            self.into_iter()
        }
    }

    impl<T> Taken for Vec<T> {}

    /// Of iterators.
    pub trait Flat: Iterator + Sized {
        /// What each element gives, one after another.
        fn flat_map_iter<U: IntoIterator, F: FnMut(Self::Item) -> U>(self, f: F) -> FlatMap<Self, U, F> {
            self.flat_map(f)
        }

        /// Each element, with what `init` makes once.
        fn for_each_init<S>(self, init: impl FnOnce() -> S, mut f: impl FnMut(&mut S, Self::Item)) {
            let mut made = init();
            self.for_each(|item| f(&mut made, item));
        }
    }

    impl<I: Iterator> Flat for I {}
}
