//! The published single files: their names and shapes as CompVis' and Stability's code has them
//! (`tests/goldens/layouts.py`) are sorted into components with nothing left over, and the configuration that is inferred
//! is the published one.

use calotype_models::Role;
use calotype_models::config::{Architecture, ClipTextConfig, UNetConfig, VaeConfig};
use calotype_models::detect::{self, Family, Predicts};
use calotype_tensor::{DType, HostTensor, Made, Shape, Tensors};
use calotype_weights::schemes::{FileKind, FileParts, Joined, Renamed, under_own_names};
use flate2::read::GzDecoder;
use pollster::block_on;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::io::Read;
use std::rc::Rc;

const GOLDEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/goldens/layouts.txt.gz");

/// A stored tensor, its shape, and diffusers' that it gives: component, name, shape.
type Line = (String, Vec<usize>, Vec<(String, String, Vec<usize>)>);

fn lines(model: &str) -> Vec<Line> {
    let mut text = String::new();
    GzDecoder::new(std::fs::File::open(GOLDEN).unwrap()).read_to_string(&mut text).unwrap();
    let of = text.split("# ").find_map(|part| part.strip_prefix(model)?.strip_prefix('\n')).unwrap();
    of.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

/// A file of these tensors, all of one value but for what `make` gives.
fn file(
    tensors: impl IntoIterator<Item = (String, Vec<usize>)>,
    make: impl Fn(&str) -> Option<Vec<f32>> + 'static,
) -> Rc<dyn Tensors> {
    let tensors = tensors.into_iter().map(|(name, shape)| (name, DType::F32, Shape::new(&shape)));
    let make = move |name: &str, shape: Shape| {
        HostTensor::from_f32(shape, &make(name).unwrap_or_else(|| vec![0.0; shape.numel()]))
    };
    Rc::new(Made::new("file", tensors, make))
}

fn parts(model: &str) -> FileParts {
    FileParts::of(file(lines(model).into_iter().map(|(name, shape, _)| (name, shape)), |_| None)).unwrap()
}

#[test]
fn published_files_map_with_nothing_left_over() {
    for (model, unet) in [("sd15", 686), ("sd21", 686), ("sdxl", 1680), ("refiner", 1220)] {
        let (lines, mut parts) = (lines(model), parts(model));
        let names: Vec<&str> = lines.iter().map(|(name, ..)| &name[..]).collect();
        assert_eq!(FileKind::of(&names), FileKind::Model);
        assert_eq!((&parts.rest[..], parts.averaged), (&[][..], 0), "{model}");
        assert_eq!(
            (parts.components["unet"].names().len(), parts.components["vae"].names().len()),
            (unet, 248)
        );
        // The layer that diffusers' folders have left out.
        for (stored, _, given) in &lines {
            if given.is_empty() {
                assert!(model == "sd21" && stored.contains(".resblocks.23."), "{stored}");
            }
        }
        if model == "sd21" {
            parts.components.get_mut("text_encoder").unwrap().leave_out("text_model.encoder.layers.23.");
        }
        let mut expected: BTreeMap<&str, BTreeMap<&str, (&str, &[usize])>> = BTreeMap::new();
        for (stored, _, given) in &lines {
            for (component, name, shape) in given {
                let twice = expected.entry(component).or_default().insert(name, (stored, shape));
                assert_eq!(twice, None);
            }
        }
        assert_eq!(
            parts.components.keys().copied().collect::<Vec<_>>(),
            expected.keys().copied().collect::<Vec<_>>()
        );
        for (component, expected) in expected {
            let part = &parts.components[component];
            assert_eq!(part.names(), expected.keys().copied().collect::<Vec<_>>(), "{model} {component}");
            for (name, (stored, shape)) in expected {
                assert_eq!(
                    (part.stored(name), &part.get(name).unwrap().shape[..]),
                    (Some(stored), shape),
                    "{name}"
                );
            }
        }
    }
}

#[test]
fn components_are_joined_to_the_published_files() {
    for (model, family) in
        [("sd15", Family::Sd1), ("sd21", Family::Sd2), ("sdxl", Family::Sdxl), ("refiner", Family::Refiner)]
    {
        let components = parts(model).components.into_iter();
        let placed =
            components.map(|(name, part)| (name, Rc::new(part) as Rc<dyn Tensors>, family.place(name)));
        let joined = Joined::new(placed);
        let expected: BTreeMap<String, Vec<usize>> =
            lines(model).into_iter().map(|(name, shape, _)| (name, shape)).collect();
        assert_eq!(joined.names(), expected.keys().collect::<Vec<_>>(), "{model}");
        for (name, shape) in expected {
            assert_eq!(joined.get(&name).unwrap().shape, shape, "{model}: {name}");
        }
    }
}

#[test]
fn a_folder_of_the_published_layout_is_joined_to_the_published_file() {
    for (model, family) in
        [("sd15", Family::Sd1), ("sd21", Family::Sd2), ("sdxl", Family::Sdxl), ("refiner", Family::Refiner)]
    {
        // From diffusers' own names, without those that its folders have not.
        let (mut folders, mut expected) = (BTreeMap::<_, Vec<_>>::new(), BTreeMap::new());
        for (stored, shape, given) in lines(model) {
            for (component, name, shape) in &given {
                folders.entry(component.clone()).or_default().push((name.clone(), shape.clone()));
            }
            if !given.is_empty() {
                expected.insert(stored, shape);
            }
        }
        let placed = folders.into_iter().map(|(component, tensors)| {
            let component = ["unet", "vae", "text_encoder", "text_encoder_2"]
                .into_iter()
                .find(|name| *name == component)
                .unwrap();
            let part = under_own_names(component, file(tensors, |_| None)).unwrap();
            (component, Rc::new(part) as Rc<dyn Tensors>, family.place(component))
        });
        let joined = Joined::new(placed);
        let found: BTreeMap<String, Vec<usize>> = joined
            .names()
            .into_iter()
            .map(|name| (name.into(), joined.get(name).unwrap().shape.clone()))
            .collect();
        assert_eq!(found, expected, "{model}");
    }
}

/// What is inferred of a component, as its file would say.
fn inferred(parts: &FileParts, role: Role, family: Family, prediction: Predicts) -> String {
    detect::config(role, &parts.components[role.folder()], family, prediction).unwrap().to_string()
}

#[test]
fn what_is_inferred_of_the_published_files_is_what_their_folders_say() {
    for (model, architecture, family, prediction) in [
        ("sd15", Architecture::Sd15, Family::Sd1, Predicts::Epsilon),
        ("sd21", Architecture::Sd21, Family::Sd2, Predicts::V),
    ] {
        let (parts, folder) = (parts(model), architecture.config().unwrap());
        let (found, _) = Family::of(&parts.components["unet"]).unwrap();
        assert_eq!(found, family);
        let text = |role| inferred(&parts, role, family, prediction);
        assert_eq!(ClipTextConfig::parse("", &text(Role::Text)).unwrap(), folder.texts[0].clip);
        assert_eq!(UNetConfig::parse("", &text(Role::Denoiser)).unwrap(), folder.unet);
        assert_eq!(VaeConfig::parse("", &text(Role::Vae)).unwrap(), folder.vae);
    }
}

#[test]
fn sdxl_and_its_refiner_are_told_apart() {
    for (model, family, channels, heads, depths, add, context) in [
        ("sdxl", Family::Sdxl, json!([320, 640, 1280]), json!([5, 10, 20]), json!([10, 2, 10]), 2816, 2048),
        (
            "refiner",
            Family::Refiner,
            json!([384, 768, 1536, 1536]),
            json!([6, 12, 24, 24]),
            json!([4, 4, 4, 4]),
            2560,
            1280,
        ),
    ] {
        let parts = parts(model);
        assert_eq!(Family::of(&parts.components["unet"]).unwrap().0, family);
        let unet: Value =
            serde_json::from_str(&inferred(&parts, Role::Denoiser, family, Predicts::Epsilon)).unwrap();
        assert_eq!((&unet["block_out_channels"], &unet["attention_head_dim"]), (&channels, &heads));
        assert_eq!(
            (&unet["transformer_layers_per_block"], &unet["use_linear_projection"]),
            (&depths, &json!(true))
        );
        assert_eq!(unet["projection_class_embeddings_input_dim"], add);
        assert_eq!(unet["cross_attention_dim"][0], context);
        assert_eq!(unet["down_block_types"][0], "DownBlock2D");
    }
}

/// What a file of Stable Diffusion 2's shapes predicts, as it is decided and whether that is a guess.
fn decided(bias: f32, add: &[(&str, &[usize])]) -> (Predicts, bool) {
    let lines = lines("sd21")
        .into_iter()
        .filter(|(name, ..)| name.starts_with("model."))
        .map(|(name, shape, _)| (name, shape));
    let more = add.iter().map(|(name, shape)| ((*name).to_owned(), shape.to_vec()));
    let make = move |name: &str| {
        // Its deviation is that number.
        let told = name.ends_with("output_blocks.11.1.transformer_blocks.0.norm1.bias");
        told.then(|| (0..320).map(|i| if i % 2 == 0 { bias } else { -bias }).collect())
    };
    let parts = FileParts::of(file(lines.chain(more), make)).unwrap();
    let unet: &Renamed = &parts.components["unet"];
    let (prediction, assumed) =
        block_on(detect::prediction(unet, Family::of(unet).unwrap().0, &parts.rest)).unwrap();
    assert!(
        assumed
            .as_ref()
            .is_none_or(|assumed| assumed.otherwise != prediction && assumed.why.contains("norm1.bias"))
    );
    (prediction, assumed.is_some())
}

#[test]
fn what_a_unet_predicts_is_said_or_decided_by_its_weights() {
    assert_eq!(decided(0.2, &[]), (Predicts::V, true));
    assert_eq!(decided(0.05, &[]), (Predicts::Epsilon, true));
    assert_eq!(decided(0.05, &[("v_pred", &[1])]), (Predicts::V, false));
    let sd1 = parts("sd15");
    let said = block_on(detect::prediction(&sd1.components["unet"], Family::Sd1, &[])).unwrap();
    assert_eq!(said, (Predicts::Epsilon, None));
}
