//! Generators against their peers: tests/goldens/noise.py and variations.py say how the goldens were made.

use calotype_sampling::Draw;
use calotype_sampling::noise::{
    BatchSeeds, Generator, Latents, Origin, Philox, RandomState, Rng, TensorFlow, Variation, block,
    nchw_to_nhwc, nhwc_to_nchw,
};
use safetensors::SafeTensors;
use serde_json::Value;

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
    let of = |seed, batch_seeds, rng| Origin { seed, batch_seeds, rng, ..Origin::default() };
    for rng in Rng::ALL {
        let mut batch = Latents::new(of(u64::MAX, BatchSeeds::Each, rng), 2, shape);
        let mut second = Latents::new(of(0, BatchSeeds::Each, rng), 1, shape);
        assert_eq!(batch.first()[image..], second.first());
        assert_eq!(batch.fresh()[image..], second.fresh());
        let draw = Draw::Brownian { from: 3.0, to: 1.0 };
        assert_eq!(batch.draw(draw, [0.03, 14.6])[image..], second.draw(draw, [0.03, 14.6]));
    }
    let mut whole = vec![0.0; 2 * image];
    Generator::new(3).randn(&mut whole);
    assert_eq!(Latents::new(of(3, BatchSeeds::One, Rng::Cpu), 2, shape).first(), whole);
    let ours = nchw_to_nhwc(&whole, shape);
    assert_eq!(ours[1], whole[9 * 25]);
    assert_eq!(nhwc_to_nchw(&ours, shape), whole);
}

fn golden() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens/variations.json");
    serde_json::from_slice(&std::fs::read(path).expect("a golden")).expect("JSON")
}

fn floats(value: &Value) -> Vec<f32> {
    value.as_array().expect("a list").iter().map(|v| v.as_f64().expect("a number") as f32).collect()
}

/// A1111's rules by torch's own arithmetic (`tests/goldens/variations.py`): float32 there, float64 here.
#[test]
fn variations_and_sizes_are_a1111s() {
    for case in golden()["variations"].as_array().expect("cases") {
        let list = |name: &str| case[name].as_array().map(|list| floats(&list.clone().into()));
        let sizes = |name: &str| list(name).map(|list| list.iter().map(|v| *v as usize).collect::<Vec<_>>());
        let strength = case["share"].as_f64().expect("a share");
        let origin = Origin {
            seed: case["seed"].as_u64().expect("a seed"),
            variation: case["other"].as_u64().map(|seed| Variation { seed, strength }),
            resized_from: sizes("small").map(|size| [size[0], size[1]]),
            ..Origin::default()
        };
        let shape = sizes("shape").expect("a shape");
        let mut latents = Latents::new(origin, 1, [shape[0], shape[1], shape[2]]);
        for (ours, theirs) in
            [latents.first(), latents.fresh()].iter().zip(case["noise"].as_array().expect("noise"))
        {
            let theirs = floats(theirs);
            assert_eq!(ours.len(), theirs.len());
            let off = ours.iter().zip(&theirs).fold(0.0f32, |most, (a, b)| most.max((a - b).abs()));
            assert!(off < 1e-5, "{case}: {off:e} off");
        }
    }
}

#[test]
fn normals_equal_numpys() {
    for case in golden()["numpy"].as_array().expect("cases") {
        let theirs = floats(&case["values"]);
        let mut ours = vec![0.0; theirs.len()];
        RandomState::new(case["seed"].as_u64().expect("a seed")).randn(&mut ours);
        assert!(ours.iter().zip(&theirs).all(|(a, b)| (a / b - 1.0).abs() < 1e-6), "{ours:?} not {theirs:?}");
    }
}

/// The known answers of its authors (Random123, tests/kat_vectors), and the first normals that `torch.randn` gives on CUDA
/// and A1111 under the name NV.
#[test]
fn philox_gives_its_known_answers() {
    let ones = u32::MAX;
    for (counter, key, known) in [
        ([0; 4], [0; 2], [0x6627_e8d5, 0xe169_c58d, 0xbc57_ac4c, 0x9b00_dbd8]),
        ([ones; 4], [ones; 2], [0x408f_276d, 0x41c8_3b0e, 0xa20b_c7c6, 0x6d54_51fd]),
        (
            [0x243f_6a88, 0x85a3_08d3, 0x1319_8a2e, 0x0370_7344],
            [0xa409_3822, 0x299f_31d0],
            [0xd16c_fe09, 0x94fd_cceb, 0x5001_e420, 0x2412_6ea1],
        ),
        ([0; 4], [42, 0], [0x9cea_f053, 0x77f5_493b, 0x12bf_50ad, 0x5742_b3d7]),
    ] {
        assert_eq!(block(counter, key), known);
    }
    let known: [(u64, &[[f64; 4]]); 4] = [
        (
            0,
            &[
                [-0.92466241, -0.42534396, -2.64384580, 0.14518388],
                [0.18082589, -0.55226272, 0.92381340, -0.73497033],
            ],
        ),
        (
            42,
            &[
                [0.19401887, 2.16137385, -0.17205095, 0.84906000],
                [0.13913749, -0.10821616, -0.71742219, 0.75664866],
            ],
        ),
        (1234, &[[-1.61649036, 0.56845522, -0.51022458, -0.91133940]]),
        ((1 << 32) + 5, &[[-2.84274745, 1.34049237, 0.27223086, 1.45506287]]),
    ];
    for (seed, calls) in known {
        let mut generator = Philox::new(seed);
        for theirs in calls {
            let mut ours = [0.0; 4];
            generator.randn(&mut ours);
            let same =
                ours.iter().zip(theirs).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-7 * b.abs().max(1.0));
            assert!(same, "{seed}: {ours:?} not {theirs:?}");
        }
    }
}

#[test]
fn comfyui_begins_again_for_the_noise_of_steps() {
    let of = |seed, rng| Origin { seed, rng, ..Origin::default() };
    let on_the_way = |rng| {
        let mut latents = Latents::new(of(5, rng), 1, [4, 4, 4]);
        let first = latents.first();
        (first, latents.restarted().fresh())
    };
    let (first, next) = on_the_way(Rng::Cpu);
    assert_eq!(next, Latents::new(of(6, Rng::Cpu), 1, [4, 4, 4]).first());
    assert_ne!(first, next);
    let (first, next) = on_the_way(Rng::Cuda);
    assert_eq!(first, next);
}

/// What TensorFlow gave for these seeds, some of it written down with six digits.
#[test]
fn normals_equal_tensorflows() {
    let stateless: [([u64; 2], &[f64]); 4] = [
        ([1, 0], &[0.1266503, -0.49301657, 0.63119072, -0.78884655, 0.56830889, -1.55699372]),
        ([123, 0], &[0.7832616, -0.93335032, 2.99416924, 0.709959]),
        ([123, 123], &[-0.20564505, -0.16157703, 0.0922869, -0.34080961]),
        ([0, 123], &[-0.08290145, -0.74016774, 0.430457, -1.50760746]),
    ];
    let stateless = stateless.map(|(seed, known)| (TensorFlow::stateless(seed), known));
    let stateful = (TensorFlow::stateful(42), &[-0.28077507, -0.1377521, -0.67632961, 0.02458041][..]);
    for (generator, known) in stateless.into_iter().chain([stateful]) {
        let mut ours = vec![0.0; known.len()];
        generator.randn(&mut ours);
        assert!(
            ours.iter().zip(known).all(|(a, b)| (f64::from(*a) - b).abs() < 1e-6),
            "{ours:?} not {known:?}"
        );
    }
}
