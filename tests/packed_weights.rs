//! `--cache-weights`: weights as a device reads them, kept on disk from one start to another.

use crate::memory::request;
use crate::support::{Golden, gpu};
use calotype::{Choice, Model, OpenDevice, Pipeline, Precision, VaeTiling};
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What one start packs the next one uploads; other files, or files with another time, are packed anew.
#[test]
fn packed_weights_are_kept_for_another_start() {
    let folder = tempfile::tempdir().unwrap();
    let (model, cache) = (folder.path().join("model"), folder.path().join("cache"));
    copy(&Golden::open("sd2-tiny", "pictures").folder.join("model"), &model);
    let choice = Choice { cache_dir: Some(cache.clone()), cache_weights: Some(1 << 30), ..Choice::default() };
    let kept = || -> Vec<_> {
        let files = std::fs::read_dir(cache.join("weights")).unwrap().map(|file| file.unwrap());
        let mut kept: Vec<_> =
            files.map(|file| (file.path(), file.metadata().unwrap().modified().unwrap())).collect();
        kept.sort();
        kept
    };
    let mut drawn = Vec::new();
    // As it is, again, with too little room for the UNet's weights, and that again.
    for limit in [None, None, Some(1_500_000), Some(1_500_000)] {
        let Some(gpu) = gpu(&choice) else { return };
        let opened = OpenDevice { executor: Rc::new(gpu), adapter: None };
        let before = if drawn.is_empty() { Vec::new() } else { kept() };
        let mut pipeline = Pipeline::new(&opened, Model::at_path(&model, None).unwrap(), Precision::F16);
        pipeline.limit(limit, VaeTiling::Off);
        let streams =
            &pipeline.check(&pipeline.settle(&request(64, 64, 1)).unwrap()).unwrap().strategy.streams;
        assert_eq!(streams.is_empty(), limit.is_none());
        let picture = pipeline.text_to_image(&request(64, 64, 1)).unwrap().pictures.remove(0);
        drawn.push((picture.pixels, before, kept()));
    }
    let names = |files: &[(PathBuf, _)]| files.iter().map(|file| file.0.clone()).collect::<Vec<_>>();
    for [(first, _, made), (again, before, after)] in [[&drawn[0], &drawn[1]], [&drawn[2], &drawn[3]]] {
        assert!(first == again && !made.is_empty());
        // The same files, each of which was asked for.
        assert_eq!(names(before), names(after));
        assert!(before.iter().zip(after).filter(|(before, after)| after.1 > before.1).count() >= 3);
    }
    assert!(drawn[0].0 == drawn[2].0, "weights that pass through are the same");

    let unet = model.join("unet/diffusion_pytorch_model.safetensors");
    let file = std::fs::File::options().append(true).open(unet).unwrap();
    file.set_modified(std::time::SystemTime::now() + std::time::Duration::from_secs(60)).unwrap();
    let Some(gpu) = gpu(&choice) else { return };
    let opened = OpenDevice { executor: Rc::new(gpu), adapter: None };
    let mut pipeline = Pipeline::new(&opened, Model::at_path(&model, None).unwrap(), Precision::F16);
    pipeline.text_to_image(&request(64, 64, 1)).unwrap();
    assert!(kept().len() > drawn[3].2.len(), "another file by its time");
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap().map(Result::unwrap) {
        let to = to.join(entry.file_name());
        match entry.file_type().unwrap().is_dir() {
            true => copy(&entry.path(), &to),
            false => _ = std::fs::copy(entry.path(), to).unwrap(),
        }
    }
}

/// What packing costs a start, and what uploading what is kept, of Stable Diffusion 1.5's shapes: run by hand.
#[test]
#[cfg(target_os = "linux")]
#[ignore = "a measurement, which takes a minute and 2 GB of disk"]
fn what_packing_costs() {
    let folder = tempfile::tempdir().unwrap();
    let (file, cache) = (folder.path().join("model.safetensors"), folder.path().join("cache"));
    crate::edm::published(&file, "sd15", &[]);
    for (what, cache_weights) in
        [("packed", None), ("packed and kept", Some(16 << 30)), ("kept", Some(16 << 30)), ("packed", None)]
    {
        let choice = Choice { cache_dir: Some(cache.clone()), cache_weights, ..Choice::default() };
        let Some(gpu) = gpu(&choice) else { return };
        let opened = OpenDevice { executor: Rc::new(gpu), adapter: None };
        let model = Model::at_path(&file, None).unwrap();
        let mut pipeline = Pipeline::new(&opened, model, Precision::F16);
        let seconds = pipeline.load(&request(64, 64, 1)).unwrap().weights.as_secs_f64();
        let bytes = pipeline.executor().memory().bytes;
        println!("{what}: {seconds:.2} s for weights, {} MB on the device", bytes / 1_000_000);
    }
}
