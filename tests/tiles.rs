//! Pictures decoded in tiles and by rows, beside the same decoded in one piece.

use crate::memory::{request, tiny};
use crate::support::{Device, Golden, gpu};
use calotype::{Choice, HostTensor, Pipeline, Precision, Request, VaeTiling};
use calotype_graph::Executor;
use std::rc::Rc;
use std::time::Instant;

/// Latents of which no two places are alike, and neither are their surroundings.
fn latents(height: usize, width: usize) -> HostTensor {
    let value = |i: usize| {
        let (y, x) = (i / width % height, i % width);
        y as f32 / height as f32 - x as f32 / width as f32 + (i as f32 * 0.7).sin() * 0.5
    };
    HostTensor::from_f32([1, 4, height, width], &(0..4 * height * width).map(value).collect::<Vec<f32>>())
}

/// How far pictures are apart that are decoded whole and in another way: on average and at most; and how long the other way
/// took for each second of the whole.
fn apart(pipeline: &mut Pipeline, latents: &HostTensor, limit: Option<u64>, tiling: VaeTiling) -> [f64; 3] {
    let mut decoded = |limit, tiling| {
        pipeline.limit(limit, tiling);
        let start = Instant::now();
        (pipeline.decode_latents(latents).unwrap().remove(0), start.elapsed().as_secs_f64())
    };
    let (whole, once) = decoded(None, VaeTiling::Off);
    let (other, took) = decoded(limit, tiling);
    assert_eq!([whole.width, whole.height], [other.width, other.height]);
    let apart: Vec<f64> =
        whole.pixels.iter().zip(&other.pixels).map(|(a, b)| f64::from(a.abs_diff(*b))).collect();
    let mean = apart.iter().sum::<f64>() / apart.len() as f64;
    [mean, apart.iter().copied().fold(0.0, f64::max), took / once]
}

/// Each tile is normed by its own statistics, which these random weights make much of: 6.2 of 255 on average.
#[test]
fn tiles_make_the_same_picture_but_for_norms() {
    let Some(gpu) = gpu(&Choice::default()) else { return };
    let executor: Rc<dyn Executor> = Rc::new(gpu);
    let mut pipeline = tiny(&executor, Precision::F32);
    let [mean, most, _] = apart(&mut pipeline, &latents(72, 80), None, VaeTiling::On);
    println!("at most {most} of 255, {mean:.3} on average");
    assert!(most > 0.0, "nothing was done in tiles");
    assert!(mean < 255.0 / 20.0, "{mean}");
}

/// Norms that know all rows: in the smallest bands, where nearly every row is at the edge of one.
#[test]
fn rows_make_the_same_picture() {
    let Some(device) = Device::gpus().into_iter().next() else { return };
    // Halves are rounded to 11 bits after each layer, and the last bit of a norm's term decides some of them otherwise.
    for (model, [height, width], precision, bound) in [
        ("sd2-tiny", [72, 80], Precision::F32, 1e-3),
        ("sdxl-tiny", [33, 24], Precision::F32, 1e-3),
        ("sd2-tiny", [24, 9], Precision::F16, 0.1),
    ] {
        let mut pipeline = device.pipeline(Golden::open(model, "pictures").model(), precision);
        let [mean, most, _] = apart(&mut pipeline, &latents(height, width), Some(1), VaeTiling::Exact);
        let what = format!("{model} {height}x{width} {precision:?}");
        println!("{what}: at most {most} of 255, {mean:.5} on average");
        assert!(most <= 1.0 && mean < bound, "{what}: {most}, {mean}");
    }
}

/// What it costs, on a device and with a model of one's own choice: run by hand.
#[test]
#[ignore = "a measurement, which takes minutes"]
fn what_rows_cost() {
    let Some(device) = Device::gpus().into_iter().next() else { return };
    let model = calotype::Model::open("synthetic:sd15", None).unwrap();
    let mut pipeline = device.pipeline(model, Precision::F32);
    for limit in [1, 150 << 20, 170 << 20].into_iter().cycle().take(9) {
        let [mean, most, took] = apart(&mut pipeline, &latents(16, 16), Some(limit), VaeTiling::Exact);
        println!("within {limit} bytes {took:.2} times as long; at most {most} of 255, {mean:.5} on average");
    }
}

/// A limit that the decoder does not keep to in one piece, from the plan to the picture.
#[test]
fn a_run_by_rows_keeps_to_its_limit() {
    let whole = Request { steps: Some(1), ..request(256, 192, 1) };
    let mut pictures = Vec::new();
    let mut planned: Vec<(u64, Option<usize>)> = Vec::new();
    loop {
        let Some(gpu) = gpu(&Choice::default()) else { return };
        let executor: Rc<dyn Executor> = Rc::new(gpu);
        let mut pipeline = tiny(&executor, Precision::F32);
        // Ever less, as long as the decoder is what takes most.
        let limit = planned.last().map(|(bytes, _)| bytes - bytes / 3);
        pipeline.limit(limit, VaeTiling::Exact);
        let Ok(plan) = pipeline.check(&pipeline.settle(&whole).unwrap()) else { break };
        pictures.push(pipeline.text_to_image(&whole).unwrap().pictures.remove(0).pixels);
        let used = executor.memory().peak;
        println!("{used} of {} of {limit:?}: {}", plan.peak_bytes, plan.strategy);
        assert!(used <= plan.peak_bytes && limit.is_none_or(|limit| plan.peak_bytes <= limit));
        assert_eq!(plan.strategy.tiles, None);
        planned.push((plan.peak_bytes, plan.strategy.rows));
    }
    let rows: Vec<usize> = planned.iter().filter_map(|(_, rows)| *rows).collect();
    assert!(planned[0].1.is_none() && rows.len() >= 2, "{planned:?}");
    let apart = |other: &Vec<u8>| pictures[0].iter().zip(other).map(|(a, b)| a.abs_diff(*b)).max();
    assert!(pictures.iter().all(|other| apart(other) <= Some(1)), "{planned:?}");
}
