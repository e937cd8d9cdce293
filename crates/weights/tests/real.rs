//! Files that other people's packages bring hold the numbers that the formats' own libraries read of them
//! (`tests/goldens/real.py`, which fetches them).

mod made;

use calotype_weights::{Checkpoint, Tensors};
use made::goldens;
use pollster::block_on;
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct File {
    package: String,
    file: String,
    /// None where the library does not open it.
    tensors: Option<BTreeMap<String, Numbers>>,
}

#[derive(Deserialize)]
struct Numbers {
    shape: Vec<usize>,
    sum: f64,
    squares: f64,
}

/// Sums of the same numbers in another order.
const SAME: f64 = 1e-9;

/// Every tensor of a file with its numbers, where they are read.
fn numbers(file: &Checkpoint) -> BTreeMap<String, Result<Numbers, String>> {
    let read = |name: &str| {
        let info = file.get(name).map_err(|error| error.to_string())?;
        let bytes = block_on(file.read_all(name)).map_err(|error| error.to_string())?;
        let values: Vec<f64> = info.dtype.to_f32(&bytes).into_iter().map(f64::from).collect();
        let (sum, squares) = (values.iter().sum(), values.iter().map(|v| v * v).sum());
        Ok(Numbers { shape: info.shape.clone(), sum, squares })
    };
    file.names().into_iter().map(|name| (name.to_owned(), read(name))).collect()
}

fn check(file: &File, compared: &mut usize) {
    let path = goldens().join("real").join(&file.file);
    let opened = Checkpoint::open(&path);
    let Some(expected) = &file.tensors else {
        // What its own library refuses may be refused, or read in part: it ends nothing.
        opened.iter().for_each(|file| drop(numbers(file)));
        return;
    };
    let found = numbers(&opened.unwrap_or_else(|error| panic!("{}: {error}", file.file)));
    for (name, numbers) in expected {
        let what = format!("{}, {}: {name}", file.package, file.file);
        let own = found.get(name).unwrap_or_else(|| panic!("{what} is not found"));
        let own = match own {
            Ok(own) => own,
            // Named, and not read.
            Err(error) => {
                assert!(error.contains("which is not read"), "{what}: {error}");
                continue;
            }
        };
        let near = |a: f64, b: f64| (a - b).abs() <= SAME * numbers.squares.sqrt().max(b.abs()).max(1.0);
        assert_eq!(own.shape, numbers.shape, "{what}");
        assert!(
            near(own.squares, numbers.squares) && near(own.sum, numbers.sum),
            "{what}: {} and {}",
            own.sum,
            numbers.sum
        );
        *compared += 1;
    }
}

#[test]
#[ignore = "reads what tests/goldens/real.py fetches"]
fn files_of_packages_are_read() {
    let text = std::fs::read(goldens().join("real.json")).unwrap();
    let all: Vec<File> = serde_json::from_slice(&text).unwrap();
    assert!(all.len() > 30);
    let mut compared = 0;
    all.iter().for_each(|file| check(file, &mut compared));
    println!("{} files, {compared} tensors", all.len());
    assert!(compared > 100);
}
