use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fs;
use std::io::Read;

fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_picture_without_a_place_is_kept_elsewhere_and_told() {
    let folder = temporary();
    let sub = folder.path().join("sub");
    fs::create_dir(&sub).unwrap();
    let mut series = Series::new(&sub.join("cat.png"), 1, false, "--output").unwrap();
    fs::remove_dir(&sub).unwrap();
    let error = format!("{:#}", series.write(b"a picture").unwrap_err());
    assert!(error.contains("cat.png: the folder does not exist"), "{error}");
    let kept = error.split("kept as ").nth(1).unwrap().split(": ").next().unwrap();
    assert!(kept.ends_with(".png"), "{error}");
    assert_eq!(fs::read(kept).unwrap(), b"a picture");
    fs::remove_file(kept).unwrap();
}

#[cfg(windows)]
#[test]
fn a_picture_in_whose_place_another_program_has_a_file_open_is_kept_elsewhere_and_told() {
    use std::os::windows::fs::OpenOptionsExt;
    let folder = temporary();
    let path = folder.path().join("cat.png");
    fs::write(&path, b"old").unwrap();
    let series = || Series::new(&path, 1, true, "--output");
    let mut begun = series().unwrap();
    let held = fs::OpenOptions::new().read(true).share_mode(1).open(&path).unwrap();
    let error = series().err().unwrap().to_string();
    assert!(error.contains("--output") && error.contains("another program has the file open"), "{error}");
    let error = format!("{:#}", begun.write(b"a picture").unwrap_err());
    assert!(error.contains("another program has the file open"), "{error}");
    let kept = error.split("kept as ").nth(1).unwrap().split(": ").next().unwrap();
    assert_eq!(fs::read(kept).unwrap(), b"a picture", "{error}");
    fs::remove_file(kept).unwrap();
    drop(held);
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(files(folder.path()).len(), 1);
}

#[test]
fn a_name_that_is_taken_while_the_picture_is_drawn_gets_a_number() {
    let folder = temporary();
    let path = folder.path().join("cat.png");
    let mut one = Series::new(&path, 1, false, "--output").unwrap();
    let mut other = Series::new(&path, 1, false, "--output").unwrap();
    assert_eq!(one.write(b"one").unwrap(), path);
    assert_eq!(other.write(b"other").unwrap(), folder.path().join("cat_1.png"));
    assert_eq!(fs::read(path).unwrap(), b"one");
}

#[test]
fn a_count_of_any_size_takes_no_list() {
    let folder = temporary();
    fs::write(folder.path().join("a_4000000000.png"), "mine").unwrap();
    let series = |name: &str| Series::new(&folder.path().join(name), u64::MAX, false, "--output");
    assert!(series("b_%d.png").is_ok() && series("b.png").is_ok());
    let error = series("a.png").err().unwrap().to_string();
    assert!(error.contains("a_4000000000.png: the file exists"), "{error}");
    assert!(Series::new(&folder.path().join("a.png"), 3_999_999_999, false, "--output").is_ok());
}

#[test]
fn a_number_that_makes_a_name_too_long_is_told_before() {
    let folder = temporary();
    let path = folder.path().join(format!("{}.png", "n".repeat(249)));
    assert!(Series::new(&path, 9, false, "--output").is_ok());
    let error = Series::new(&path, 10, false, "--output").err().unwrap().to_string();
    assert!(error.contains("--output") && error.contains("n_10.png"), "{error}");
}

#[test]
fn outputs_keep_apart_from_each_other_and_from_what_is_read() {
    let folder = temporary();
    let at = |name: &str| folder.path().join(name);
    fs::create_dir(at("model")).unwrap();
    for name in ["noise.safetensors", "model/weights.safetensors", "model/cat.png"] {
        fs::write(at(name), "mine").unwrap();
    }
    let series = |name: &str| Series::new(&at(name), 1, true, "--save-latents").unwrap();
    let inputs = [("--latents", at("noise.safetensors")), ("--model", at("model"))];
    let inputs: Vec<(&str, &Path)> = inputs.iter().map(|(flag, path)| (*flag, path.as_path())).collect();
    let check = |name: &str| apart(&[&series("a.png"), &series(name)], &inputs).map_err(|e| e.to_string());
    for (name, parts) in [
        ("./a.png", &["--save-latents and --save-latents", "same file"][..]),
        ("A.png", &["same file"]),
        ("model/../noise.safetensors", &["noise.safetensors", "--latents reads"]),
        ("model/weights.safetensors", &["weights.safetensors", "--model reads"]),
    ] {
        let error = check(name).unwrap_err();
        assert!(parts.iter().all(|part| error.contains(part)), "{name}: {error}");
    }
    assert_eq!((check("b.safetensors"), check("model/cat.png")), (Ok(()), Ok(())));
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink("a.png", at("dangling.png")).unwrap();
        std::os::unix::fs::symlink("noise.safetensors", at("link.safetensors")).unwrap();
        assert!(check("dangling.png").unwrap_err().contains("same file"));
        assert!(check("link.safetensors").unwrap_err().contains("--latents reads"));
        fs::write(at("blob"), "mine").unwrap();
        std::os::unix::fs::symlink("../blob", at("model/cached.safetensors")).unwrap();
        assert!(check("model/cached.safetensors").unwrap_err().contains("--model reads"));
    }
}

/// Names of what patterns are made of, and of what stands in their way.
fn name() -> impl Strategy<Value = Vec<u8>> {
    let parts = prop_oneof![
        4 => Just(b"%d".to_vec()),
        2 => Just(b"%03d".to_vec()),
        1 => Just(b"%%".to_vec()),
        1 => Just(b"%".to_vec()),
        1 => Just(b"sub/".to_vec()),
        1 => Just(b"./".to_vec()),
        1 => Just(b"..".to_vec()),
        3 => Just(b".png".to_vec()),
        2 => Just("猫é".as_bytes().to_vec()),
        1 => Just(b"\xff".to_vec()),
        4 => "[aA_1]{1,3}".prop_map(String::into_bytes),
    ];
    prop::collection::vec(parts, 0..5).prop_map(|parts| parts.concat())
}

#[cfg(unix)]
fn os(bytes: &[u8]) -> OsString {
    std::os::unix::ffi::OsStringExt::from_vec(bytes.to_vec())
}

#[cfg(not(unix))]
fn os(bytes: &[u8]) -> OsString {
    String::from_utf8_lossy(bytes).into_owned().into()
}

/// Every file below a folder with what it holds.
fn files(folder: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()) {
        match entry.is_dir() {
            true => found.extend(files(&entry)),
            false => {
                let mut bytes = Vec::new();
                fs::File::open(&entry).unwrap().read_to_end(&mut bytes).unwrap();
                found.push((entry, bytes));
            }
        }
    }
    found
}

/// A run's two series over a folder in which there is something: what each reported, with what it had written.
type Written = Vec<(PathBuf, Vec<u8>)>;

fn run(folder: &Path, patterns: [&[u8]; 2], counts: [u64; 2], overwrite: bool) -> anyhow::Result<Written> {
    let series = |i: usize| {
        // As typed, so that "./" and ".." stay what they are; an empty name is no folder.
        let path = match patterns[i].is_empty() {
            true => PathBuf::new(),
            false => PathBuf::from_iter([folder.as_os_str(), OsStr::new("")]).join(os(patterns[i])),
        };
        Series::new(&path, counts[i], overwrite, ["--output", "--save-latents"][i])
    };
    let mut both = [series(0)?, series(1)?];
    apart(&[&both[0], &both[1]], &[])?;
    let mut written = Vec::new();
    for n in 0..counts[0].max(counts[1]) {
        for (i, series) in both.iter_mut().enumerate().filter(|(i, _)| n < counts[*i]) {
            let bytes = format!("{i} {n}").into_bytes();
            written.push((series.write(&bytes)?, bytes));
        }
    }
    Ok(written)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_the_names_nothing_is_lost_and_nothing_is_replaced_unasked(
        patterns in [name(), name()],
        counts in [1u64..5, 1u64..5],
        there in prop::collection::vec(name(), 0..6),
        overwrite in any::<bool>(),
    ) {
        let folder = temporary();
        // So deep that ".." stays inside.
        let work = folder.path().join("a/b/c/d");
        fs::create_dir_all(work.join("sub")).unwrap();
        for name in &there {
            // Some are no names, or folders: those are not there.
            let name = os(name).to_string_lossy().replace("%d", "1").replace("%03d", "002");
            let _ = fs::write(work.join(name), "mine");
        }
        let before = files(folder.path());
        let result = run(&work, [&patterns[0], &patterns[1]], counts, overwrite);
        let after = files(folder.path());
        let content = |path: &Path| fs::read(path).ok();
        match result {
            // What is refused leaves everything as it was.
            Err(_) => prop_assert_eq!(before, after),
            Ok(written) => {
                prop_assert_eq!(written.len() as u64, counts[0] + counts[1]);
                let distinct: BTreeSet<PathBuf> = written.iter().map(|(p, _)| p.canonicalize().unwrap()).collect();
                prop_assert_eq!(distinct.len(), written.len(), "two outputs under one name: {:?}", written);
                for (path, bytes) in &written {
                    prop_assert_eq!(content(path), Some(bytes.clone()), "{:?} is not whole", path);
                }
                if !overwrite {
                    prop_assert_eq!(after.len(), before.len() + written.len());
                    for (path, bytes) in &before {
                        prop_assert_eq!(content(path), Some(bytes.clone()), "{:?} was replaced", path);
                    }
                }
                prop_assert!(after.iter().all(|(p, _)| !p.to_string_lossy().contains("calotype.")));
            }
        }
    }
}
