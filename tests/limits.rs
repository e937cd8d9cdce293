//! Any numbers at all are planned, or refused in a sentence: no panic, no overflow, no list as long as a number.

use crate::support::Golden;
use calotype::{Caps, Executor, Model, Precision, Request, Sampler, plan};
use calotype_cpu::CpuExecutor;
use proptest::prelude::*;
use std::time::{Duration, Instant};

/// Long for a machine that does much else; a list as long as a number takes longer.
const BOUNDED: Duration = Duration::from_secs(20);

/// Numbers such as people draw with, and those beside which types and limits end.
fn number() -> impl Strategy<Value = usize> {
    let edge = prop::sample::select(vec![0u32, 3, 10, 13, 14, 16, 20, 24, 31, 32, 40, 48, 53, 62, 63]);
    prop_oneof![
        3 => 0usize..40,
        3 => (1usize..40).prop_map(|n| 8 * n),
        3 => (edge, -9i64..9).prop_map(|(bits, off)| (1usize << bits).wrapping_add_signed(off as isize)),
        1 => Just(10_000usize),
        1 => Just(usize::MAX),
        1 => any::<usize>(),
    ]
}

fn side() -> impl Strategy<Value = Option<usize>> {
    prop_oneof![1 => Just(None), 6 => number().prop_map(Some), 3 => (1usize..300).prop_map(|n| Some(8 * n))]
}

fn request() -> impl Strategy<Value = Request> {
    let samplers = prop::sample::select(Sampler::ALL.to_vec());
    let batch = prop_oneof![2 => 1usize..5, 3 => number()];
    let steps = prop_oneof![2 => 1usize..50, 3 => number()];
    (side(), side(), batch, steps, any::<u64>(), samplers, any::<f32>(), any::<f64>()).prop_map(
        |(width, height, batch_size, steps, seed, sampler, cfg_scale, eta)| Request {
            width,
            height,
            batch_size,
            steps: Some(steps),
            seed,
            sampler: Some(sampler),
            cfg_scale: Some(if seed % 2 == 0 { 7.5 } else { cfg_scale }),
            eta: Some(if seed % 3 > 0 { 0.5 } else { eta }),
            ..Request::new("a lighthouse")
        },
    )
}

fn devices() -> [Caps; 3] {
    let large = Caps { f16: true, max_buffer: 2 << 30, max_binding: 2 << 30, ..Caps::default() };
    [CpuExecutor::new().caps(), Caps::default(), large]
}

fn tiny() -> Model {
    Golden::open("sd1-tiny", "pictures").model()
}

#[test]
fn any_request_is_planned_or_refused_in_a_sentence() {
    let (model, devices) = (tiny(), devices());
    let config = ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() };
    proptest!(config, |(request in request(), device in 0usize..3)| {
        let start = Instant::now();
        let planned =
            request.settle(&model).and_then(|order| plan(&model, &order, Precision::F32, &devices[device]));
        match planned {
            Ok(plan) => {
                let parts = [plan.weight_bytes, plan.activation_bytes, plan.state_bytes];
                prop_assert_eq!(parts.iter().try_fold(0u64, |sum, n| sum.checked_add(*n)), Some(plan.peak_bytes));
                let [height, width] = request.size(&model).unwrap();
                let pixels = 4 * (width * height) as u64;
                prop_assert!(plan.peak_bytes > pixels, "{} for {width}x{height}", plan.peak_bytes);
            }
            Err(error) => {
                let said = error.to_string();
                prop_assert!(!said.contains('\n') && said.len() > 20, "{}", said);
            }
        }
        prop_assert!(start.elapsed() < BOUNDED, "took {:?}", start.elapsed());
    });
}

#[test]
fn what_no_device_could_draw_names_the_argument_and_its_limit() {
    let model = tiny();
    let usual = Request::new("a lighthouse");
    for n in [1 << 17, 1 << 32, 1 << 40, 1 << 63, usize::MAX, usize::MAX - 7] {
        for (request, flag, limit) in [
            (Request { width: Some(n), ..usual.clone() }, "width", "65536"),
            (Request { height: Some(n), ..usual.clone() }, "height", "65536"),
            (Request { batch_size: n, ..usual.clone() }, "batch_size", "65536"),
            (Request { steps: Some(n), ..usual.clone() }, "steps", "10000"),
        ] {
            let said = request.check().unwrap_err();
            let text = said.to_string();
            assert!([flag, limit, &n.to_string()].iter().all(|part| text.contains(part)), "{text}");
            assert!(said.is_usage(), "{text}");
            assert!(request.settle(&model).is_err());
        }
    }
}
