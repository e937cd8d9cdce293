//! Launches timed one by one: all of them, in order, on every device; and the pictures are the same after as before.

use crate::support::{Device, Golden};
use calotype::{Clock, Precision, Request};

#[test]
fn every_launch_is_timed_and_later_pictures_are_the_same() {
    for device in Device::all() {
        let model = Golden::open("sd1-tiny", "stages").model();
        let mut pipeline = device.pipeline(model, Precision::F32);
        let request = Request { steps: Some(2), ..Request::new("a cat") };
        let before = pipeline.text_to_image(&request).unwrap();
        let plan = pipeline.plan(&request).unwrap();
        let stages = pipeline.profile(&request, 2).unwrap();
        assert_eq!(
            stages.iter().map(|s| s.stage.to_string()).collect::<Vec<_>>(),
            ["text encoder", "unet context", "unet", "vae"]
        );
        for (stage, planned) in stages.iter().zip(&plan.stages) {
            let clock = match device.name {
                "cpu" => Clock::Host,
                "gpu" => Clock::Timestamps,
                _ => Clock::Batches,
            };
            let what = format!("{}: {}", device.name, stage.stage);
            // A driver may have no timestamps.
            assert!(
                stage.clock == clock || (device.name == "gpu" && stage.clock == Clock::Batches),
                "{what}"
            );
            let [first, second] = &stage.runs[..] else { panic!("{what}: two runs were asked for") };
            let launches = |run: &[calotype::Span]| -> Vec<_> {
                run.iter().map(|span| (span.node, span.kernel.clone())).collect()
            };
            assert_eq!(launches(first), launches(second), "{what}");
            if device.name != "cpu" {
                assert_eq!(first.len(), planned.dispatches, "{what}");
            }
            assert!(first.windows(2).all(|w| w[0].start <= w[1].start && w[0].node <= w[1].node), "{what}");
            assert!(first.iter().all(|s| s.seconds >= 0.0 && s.seconds.is_finite()), "{what}");
            assert!(first.iter().map(|s| s.seconds).sum::<f64>() > 0.0, "{what}");
            let flops: u64 = stage.nodes.iter().map(|n| n.flops).sum();
            assert_eq!(flops, planned.flops, "{what}");
            assert!(stage.nodes.iter().all(|n| n.bytes > 0 && n.shapes.contains('→')), "{what}");
        }
        let after = pipeline.text_to_image(&request).unwrap();
        assert_eq!(before.pictures, after.pictures, "{}", device.name);
    }
}

#[test]
fn a_device_has_ceilings() {
    for device in [Device::cpu()].into_iter().chain(Device::gpu("gpu", calotype::Choice::default())) {
        let pipeline = device.pipeline(Golden::open("sd1-tiny", "stages").model(), Precision::F32);
        let ceilings = pipeline.ceilings().unwrap();
        for ceiling in [&ceilings.product, &ceilings.copy] {
            // From a slow software renderer to the fastest GPU there may be.
            assert!((1e7..1e16).contains(&ceiling.per_second), "{}: {ceilings:?}", device.name);
            assert!(!ceiling.kernel.is_empty() && !ceiling.shape.is_empty());
        }
    }
}
