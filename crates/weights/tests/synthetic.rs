//! Synthetic weights: the same for one seed, realistic, and equal in every element type.

use calotype_tensor::{DType, HostTensor};
use calotype_weights::{Declared, Init, Synthetic, Tensors};
use pollster::block_on;

fn declared(name: &str, dtype: DType, shape: &[usize], init: Init) -> Declared {
    Declared { name: name.into(), dtype, shape: shape.to_vec(), init }
}

fn values(source: &Synthetic, name: &str) -> Vec<f32> {
    let info = source.get(name).unwrap();
    let bytes = block_on(source.read_all(name)).unwrap().into_owned();
    HostTensor::from_bytes([info.numel()], info.dtype, bytes).to_f32()
}

#[test]
fn values_are_normal_finite_and_depend_on_seed_and_name() {
    let normal = Init::Normal { std: 0.5 };
    let list = || {
        ["a", "b"].map(|name| declared(name, DType::F16, &[300, 401], normal)).into_iter().collect::<Vec<_>>()
    };
    let (one, again, other) =
        (Synthetic::new(1, list()), Synthetic::new(1, list()), Synthetic::new(2, list()));
    let a = values(one.as_ref().unwrap(), "a");
    assert_eq!(a, values(&again.unwrap(), "a"));
    assert_ne!(a, values(&other.unwrap(), "a"));
    assert_ne!(a, values(&one.unwrap(), "b"));

    let n = a.len() as f64;
    let moment = |k: i32| a.iter().map(|&v| (f64::from(v) / 0.5).powi(k)).sum::<f64>() / n;
    // Four standard errors of the mean and of the variance of a normal sample; the sum of four uniforms has kurtosis
    // 3 − 6/(5·4) = 2.7.
    assert!(moment(1).abs() < 4.0 / n.sqrt(), "mean {}", moment(1));
    assert!((moment(2) - 1.0).abs() < 4.0 * (2.0 / n).sqrt(), "variance {}", moment(2));
    assert!((moment(4) - 2.7).abs() < 0.1, "kurtosis {}", moment(4));
    assert!(a.iter().all(|v| v.is_finite()));
}

#[test]
fn every_element_type_has_the_same_values_and_any_part_can_be_made_alone() {
    let normal = Init::Normal { std: 1.0 };
    let with = |dtype| Synthetic::new(3, [declared("w", dtype, &[5000], normal)]).unwrap();
    let (f16, f32) = (with(DType::F16), with(DType::F32));
    assert_eq!(values(&f16, "w"), values(&f32, "w"));
    let all = block_on(f32.read_all("w")).unwrap().into_owned();
    let part = block_on(f32.read("w", 1000..2020)).unwrap().into_owned();
    assert_eq!(part, all[4000..8080]);
    assert!(matches!(block_on(f32.read("w", 0..5001)), Err(calotype_tensor::Error::BadRange { .. })));
    assert_eq!(values(&with(DType::BF16), "w").len(), 5000);
}

#[test]
fn the_usual_initialisation_follows_name_and_shape() {
    let usual = |name, shape: &[usize]| Init::usual(name, shape);
    assert_eq!(usual("norm1.weight", &[32]), Init::Constant(1.0));
    assert_eq!(usual("conv1.bias", &[32]), Init::Constant(0.0));
    assert_eq!(usual("conv1.weight", &[8, 4, 2, 2]), Init::Normal { std: 0.25 });
    assert_eq!(usual("token_embedding.weight", &[49408, 768]), Init::Normal { std: 0.02 });
    let source = Synthetic::new(0, [declared("norm", DType::F32, &[3], Init::Constant(1.0))]).unwrap();
    assert_eq!(values(&source, "norm"), [1.0; 3]);
}

#[test]
fn what_cannot_be_made_is_refused() {
    for init in [Init::Normal { std: f32::NAN }, Init::Normal { std: 1e6 }, Init::Constant(f32::INFINITY)] {
        assert!(Synthetic::new(0, [declared("w", DType::F16, &[1], init)]).is_err());
    }
    let source = Synthetic::new(5, []).unwrap();
    assert!(source.get("w").unwrap_err().to_string().contains("seed 5: no tensor w"));
}
