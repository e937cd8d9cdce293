//! Files that are written: blocks as gguf makes them (`tests/goldens/blocks.py`), and what is read again.

mod made;

use calotype_tensor::{DType, Encoding, HostTensor, Made, Shape, Tensors};
use calotype_weights::files::{Format, StoredAs, holds, write};
use calotype_weights::{BLOCKS, Checkpoint, Error};
use made::{golden, goldens};
use pollster::block_on;
use std::collections::BTreeMap;

fn metadata(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect()
}

/// A file of some of a source's tensors, read again.
fn written(format: Format, source: &dyn Tensors, tensors: &[(&str, Encoding)]) -> Result<Checkpoint, Error> {
    let planned: Vec<StoredAs> = tensors
        .iter()
        .map(|(name, encoding)| StoredAs { name: (*name).into(), encoding: *encoding })
        .collect();
    let (mut bytes, mut told) = (Vec::new(), 0);
    let said = metadata(&[("modelspec.title", "Tiny")]);
    write(format, &mut bytes, source, &planned, &said, &mut |_| {
        told += 1;
        true
    })?;
    assert_eq!(told, tensors.len());
    let file = Checkpoint::in_memory("written", bytes)?;
    assert_eq!(file.metadata("modelspec.title"), Some("Tiny"));
    Ok(file)
}

fn raw(source: &Checkpoint, name: &str) -> Vec<u8> {
    block_on(source.as_stored(name).unwrap()).unwrap().into_owned()
}

#[test]
fn blocks_are_those_of_gguf() {
    let source = Checkpoint::open(goldens().join("blocks.safetensors")).unwrap();
    for encoding in BLOCKS {
        let file = written(Format::Gguf, &source, &[("numbers", encoding)]).unwrap();
        let (ours, theirs) = (raw(&file, "numbers"), raw(&source, encoding.name()));
        let [_, size] = encoding.block();
        let wrong = ours.chunks(size).zip(theirs.chunks(size)).position(|(ours, theirs)| ours != theirs);
        assert!(wrong.is_none() && ours.len() == theirs.len(), "{encoding}: block {wrong:?}");
        assert_eq!(file.get("numbers").unwrap().shape, source.get("numbers").unwrap().shape);
    }
}

#[test]
fn what_is_stored_as_it_was_has_the_same_bytes() {
    for (name, format) in [("blocks.gguf", Format::Gguf), ("numbers.ckpt", Format::Safetensors)] {
        let source = Checkpoint::in_memory(name, golden(name)).unwrap();
        let same: Vec<(&str, Encoding)> = source
            .names()
            .into_iter()
            .filter_map(|name| {
                let info = source.get(name).ok()?;
                let row = info.shape.last().copied().unwrap_or(1);
                let as_it_is = source.as_stored(name).is_some() && holds(format, info.encoding, row);
                as_it_is.then_some((name, info.encoding))
            })
            .collect();
        assert!(same.len() > 5, "{name}: {same:?}");
        let file = written(format, &source, &same).unwrap();
        for (name, encoding) in same {
            assert_eq!(file.get(name).unwrap(), source.get(name).unwrap());
            assert_eq!(raw(&file, name), raw(&source, name), "{name} {encoding}");
        }
    }
}

fn made(values: &'static [f32]) -> impl Tensors {
    let shape = Shape::new(&[1, values.len()]);
    Made::new("model", [("w", DType::F32, shape)], |_, shape| HostTensor::from_f32(shape, values))
}

#[test]
fn numbers_are_rounded_once_and_those_that_do_not_fit_are_named() {
    let source = made(&[1.0, 1.0 + 1.0 / 4096.0, -65519.0, 1e-8]);
    for (encoding, expected) in
        [(Encoding::F16, [1.0, 1.0, -65504.0, 0.0]), (Encoding::BF16, [1.0, 1.0, -65536.0, 1e-8])]
    {
        let file = written(Format::Safetensors, &source, &[("w", encoding)]).unwrap();
        let numbers = file.get("w").unwrap().dtype.to_f32(&raw(&file, "w"));
        let near = |(a, b): (&f32, &f32)| (a - b).abs() <= 0.005 * b.abs();
        assert!(numbers.iter().zip(&expected).all(near), "{encoding}: {numbers:?}");
    }
    let refused = |source: &dyn Tensors, encoding| match written(Format::Gguf, source, &[("w", encoding)]) {
        Err(error) => error.to_string(),
        Ok(_) => panic!("{encoding} was written"),
    };
    let large = made(&[65520.0; 32]);
    assert_eq!(
        refused(&large, Encoding::F16),
        "tensor w in model holds 32 values that are too large for f16: choose bf16 or f32"
    );
    assert!(refused(&large, Encoding::Q8_0).contains("too large for q8_0"));
    let broken = made(&[f32::NAN; 32]);
    assert!(refused(&broken, Encoding::Q4_0).contains("32 values that are not finite"));
    assert!(
        written(Format::Gguf, &broken, &[("w", Encoding::F32)]).is_ok(),
        "what is not converted is copied"
    );
    let short = made(&[1.0; 31]);
    assert!(refused(&short, Encoding::Q8_0).contains("no rows of q8_0 of shape [1, 31]"));
    assert!(refused(&short, Encoding::F64).contains("f32 is not converted to f64"));
}

#[test]
fn writing_stops_when_it_is_told_to() {
    let source = made(&[1.0; 4]);
    let planned = [StoredAs { name: "w".into(), encoding: Encoding::F32 }];
    let none = BTreeMap::new();
    let stopped = write(Format::Gguf, &mut Vec::new(), &source, &planned, &none, &mut |_| false);
    assert!(matches!(stopped, Err(Error::Stopped)));
    let mut full = &mut [0u8; 4][..];
    let error = write(Format::Safetensors, &mut full, &source, &planned, &none, &mut |_| true).unwrap_err();
    assert!(matches!(error, Error::Output(_)), "{error}");
}
