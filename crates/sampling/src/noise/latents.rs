use super::{BatchSeeds, Generator, Path, Philox, RandomState, Rng, Variation, slerp};
use crate::program::Draw;

/// Where a run's noise comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Origin {
    /// Whose numbers.
    pub rng: Rng,
    /// One generator an image, or one for all.
    pub batch_seeds: BatchSeeds,
    /// The seed.
    pub seed: u64,
    /// Another seed that the noise is turned towards.
    pub variation: Option<Variation>,
    /// The latents' height and width at which the seed is drawn, to be laid into the middle of the picture's.
    pub resized_from: Option<[usize; 2]>,
}

impl Origin {
    /// The seed of image `i`, which its generator starts from. Where a picture is varied all start from the same. After the
    /// largest comes 0.
    pub fn seed_of(&self, i: usize) -> u64 {
        let own = self.batch_seeds == BatchSeeds::Each && self.variation.is_none();
        self.seed.wrapping_add(if own { i as u64 } else { 0 })
    }

    /// The other seed that image `i` is turned towards.
    pub fn variation_of(&self, i: usize) -> Option<Variation> {
        let own = if self.batch_seeds == BatchSeeds::Each { i as u64 } else { 0 };
        self.variation.map(|variation| Variation { seed: variation.seed.wrapping_add(own), ..variation })
    }
}

/// A generator of any kind.
#[derive(Clone, Debug)]
enum Source {
    Torch(Box<Generator>),
    Philox(Philox),
    Numpy(Box<RandomState>),
}

impl Source {
    fn new(rng: Rng, seed: u64) -> Source {
        match rng {
            Rng::Cpu => Source::Torch(Box::new(Generator::new(seed))),
            Rng::Cuda => Source::Philox(Philox::new(seed)),
            Rng::Numpy => Source::Numpy(Box::new(RandomState::new(seed))),
        }
    }

    fn randn(&mut self, out: &mut [f32]) {
        match self {
            Source::Torch(generator) => generator.randn(out),
            Source::Philox(generator) => generator.randn(out),
            Source::Numpy(generator) => generator.randn(out),
        }
    }
}

/// The noises of a run, in the order in which programs draw them: the starting latents first, then what the sampler asks
/// for.
#[derive(Debug)]
pub struct Latents {
    origin: Origin,
    batch: usize,
    shape: [usize; 3],
    sources: Vec<Source>,
    /// The Brownian paths, once asked for, one a generator.
    paths: Vec<Path>,
}

impl Latents {
    /// For `batch` images of latents `[channels, height, width]`.
    pub fn new(origin: Origin, batch: usize, shape: [usize; 3]) -> Latents {
        let mut latents = Latents { origin, batch, shape, sources: Vec::new(), paths: Vec::new() };
        latents.sources = latents.seeds().into_iter().map(|seed| Source::new(origin.rng, seed)).collect();
        latents
    }

    /// A seed for each generator.
    fn seeds(&self) -> Vec<u64> {
        (0..self.generators()).map(|i| self.origin.seed_of(i)).collect()
    }

    fn generators(&self) -> usize {
        if self.origin.batch_seeds == BatchSeeds::Each { self.batch } else { 1.min(self.batch) }
    }

    /// Images that one generator draws at a time.
    fn images(&self) -> usize {
        if self.origin.batch_seeds == BatchSeeds::Each { 1 } else { self.batch }
    }

    /// The starting noise, `[batch, channels, height, width]` in torch's order (NCHW).
    pub fn first(&mut self) -> Vec<f32> {
        let [channels, height, width] = self.shape;
        let small = self.origin.resized_from.filter(|size| *size != [height, width]);
        let [h, w] = small.unwrap_or([height, width]);
        let (rng, count) = (self.origin.rng, self.images() * channels * h * w);
        let drawn = |seed: u64| {
            let mut values = vec![0.0; count];
            Source::new(rng, seed).randn(&mut values);
            values
        };
        let mut noise = match small {
            None => self.fresh(),
            Some(_) => self.seeds().into_iter().flat_map(drawn).collect(),
        };
        let image = channels * h * w;
        if let Some(variation) = self.origin.variation.filter(|_| image > 0) {
            let other = (0..self.generators()).flat_map(|i| drawn(variation.seed.wrapping_add(i as u64)));
            let other: Vec<f32> = other.collect();
            for (low, high) in noise.chunks_exact_mut(image).zip(other.chunks_exact(image)) {
                low.copy_from_slice(&slerp(variation.strength, low, high, [channels, h, w]));
            }
        }
        if small.is_some() {
            let mut around = self.fresh();
            let images = around.chunks_exact_mut((channels * height * width).max(1));
            images.zip(noise.chunks_exact(image.max(1))).for_each(|(around, inner)| {
                lay(around, [height, width], inner, [h, w]);
            });
            return around;
        }
        noise
    }

    /// Has one generator that serves all images go on for so many of them.
    pub fn go_on_for(&mut self, images: usize) {
        debug_assert!(self.origin.batch_seeds == BatchSeeds::One, "an image's own generator begins with it");
        self.batch = images;
    }

    /// The generators' next noise, shaped so.
    pub fn fresh(&mut self) -> Vec<f32> {
        let draw = self.images() * self.shape.iter().product::<usize>();
        let mut noise = vec![0.0; self.sources.len() * draw];
        if draw > 0 {
            for (source, out) in self.sources.iter_mut().zip(noise.chunks_exact_mut(draw)) {
                source.randn(out);
            }
        }
        noise
    }

    /// A noise of a program that runs between the sigmas of `span`.
    pub fn draw(&mut self, draw: Draw, span: [f64; 2]) -> Vec<f32> {
        let Draw::Brownian { from, to } = draw else { return self.fresh() };
        if self.paths.is_empty() {
            let seeds = self.seeds();
            let count = seeds.len();
            self.paths = seeds.into_iter().map(|seed| Path::new(seed, span).shared(count)).collect();
        }
        let (rng, length) = (self.origin.rng, self.images() * self.shape.iter().product::<usize>());
        let normals = |seed: u32, out: &mut [f32]| Source::new(rng, u64::from(seed)).randn(out);
        self.paths.iter_mut().flat_map(|path| path.noise(from, to, length, &normals)).collect()
    }

    /// As ComfyUI draws on the way: from generators that begin again, on the CPU one seed on.
    pub fn restarted(mut self) -> Latents {
        let next = u64::from(self.origin.rng == Rng::Cpu);
        self.sources =
            self.seeds().into_iter().map(|s| Source::new(self.origin.rng, s.wrapping_add(next))).collect();
        self
    }
}

/// Lays `inner` into the middle of `around`, or its own middle over all of it.
fn lay(around: &mut [f32], [height, width]: [usize; 2], inner: &[f32], [h, w]: [usize; 2]) {
    let middle = |outer: usize, inner: usize| {
        // Rounded down, as Python does.
        let gap = (outer as i64 - inner as i64).div_euclid(2);
        let length = inner as i64 + 2 * gap.min(0);
        (gap.max(0) as usize, (-gap).max(0) as usize, length.max(0) as usize)
    };
    let (top, from_row, rows) = middle(height, h);
    let (left, from_column, columns) = middle(width, w);
    for (around, inner) in around.chunks_exact_mut(height * width).zip(inner.chunks_exact(h * w)) {
        for row in 0..rows {
            let to = (top + row) * width + left;
            let from = (from_row + row) * w + from_column;
            around[to..to + columns].copy_from_slice(&inner[from..from + columns]);
        }
    }
}
