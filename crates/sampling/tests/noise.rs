//! The generator against torch's: tests/goldens/noise.py says how the golden was made.

use calotype_sampling::noise::{BatchSeeds, Generator, Latents, nchw_to_nhwc, nhwc_to_nchw};
use safetensors::SafeTensors;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens/noise.safetensors");

#[test]
fn normals_equal_torch_to_the_bit() {
    let bytes = std::fs::read(GOLDEN).expect("tests/goldens/noise.safetensors");
    let (_, header) = SafeTensors::read_metadata(&bytes).expect("a header");
    let text = &header.metadata().as_ref().expect("metadata")["cases"];
    let cases: Vec<(String, Vec<usize>)> = serde_json::from_str(text).expect("cases");
    let file = SafeTensors::deserialize(&bytes).expect("tensors");
    let data = file.tensor("values").expect("values").data();
    let mut golden = data.chunks_exact(4).map(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]));
    let (mut total, mut different, mut worst) = (0, Vec::new(), 0);
    for (seed, sizes) in cases {
        let mut generator = Generator::new(seed.parse().expect("a seed"));
        for size in sizes {
            let mut ours = vec![0.0; size];
            generator.randn(&mut ours);
            for (i, a) in ours.into_iter().enumerate() {
                let b = golden.next().expect("a value");
                total += 1;
                if a.to_bits() != b.to_bits() {
                    worst = worst.max(a.to_bits().abs_diff(b.to_bits()));
                    different.push(format!("seed {seed} size {size} at {i}: {a:e} not {b:e}"));
                }
            }
        }
    }
    let n = different.len();
    different.truncate(20);
    assert!(n == 0, "{n} of {total} differ, by at most {worst} ulp:\n{}", different.join("\n"));
}

/// The reference value of the C++ standard, [rand.predef]: the 10000th output for seed 5489.
#[test]
fn integers_are_the_mersenne_twisters() {
    let mut generator = Generator::new(5489);
    let last = (0..10_000).map(|_| generator.next_u32()).last();
    assert_eq!(last, Some(4_123_659_995));
}

#[test]
fn a_picture_does_not_depend_on_its_batch() {
    let shape = [4, 9, 25];
    let image = 4 * 9 * 25;
    let mut batch = Latents::new(BatchSeeds::Each, u64::MAX, 2, shape);
    let mut second = Latents::new(BatchSeeds::Each, 0, 1, shape);
    for _ in 0..3 {
        assert_eq!(batch.draw()[image..], second.draw());
    }
    let mut whole = vec![0.0; 2 * image];
    Generator::new(3).randn(&mut whole);
    assert_eq!(Latents::new(BatchSeeds::One, 3, 2, shape).draw(), whole);
    let ours = nchw_to_nhwc(&whole, shape);
    assert_eq!(ours[1], whole[9 * 25]);
    assert_eq!(nhwc_to_nchw(&ours, shape), whole);
}
