//! Single files of the hub, and the licences that models' cards name.

use crate::hub::{Setting, UNET};
use crate::hub_server::{COMMIT, gets};
use crate::support::{json_lines, tiny};
use std::fs;

#[test]
fn a_file_of_a_model_is_fetched_once_and_taken_from_the_cache() {
    const FILE: &str = "checkpoints/tiny.safetensors";
    let at = Setting::new();
    at.folder.run(&["convert", &tiny(), "tiny.safetensors"]);
    let bytes = at.folder.read("tiny.safetensors");
    at.server.change(|state| drop(state.files.insert(FILE.into(), bytes.clone())));
    let name = format!("owner/tiny/{FILE}");
    let said = at.folder.run(&["inspect", &name]);
    assert!(said.out.contains("Stable Diffusion 1: text_encoder, unet, vae"), "{}", said.out);
    assert!(said.err.contains("its licence is creativeml-openrail-m"), "{}", said.err);
    let asked = at.server.asked();
    assert_eq!((gets(&asked, FILE).len(), gets(&asked, "README.md").len()), (1, 1));
    assert!(gets(&asked, UNET).is_empty() && gets(&asked, "model_index.json").is_empty(), "{asked:?}");
    // Where huggingface_hub has it too.
    assert_eq!(fs::read(at.cache().join("snapshots").join(COMMIT).join(FILE)).unwrap(), bytes);
    assert_eq!(fs::read_to_string(at.cache().join("refs/main")).unwrap(), COMMIT);
    for more in [&["--offline"][..], &[]] {
        let said = at.folder.run(&[&["inspect", &name], more].concat());
        assert!(said.out.contains("creativeml-openrail-m") && !said.err.contains("licence"), "{}", said.err);
    }
    // As a component too.
    at.folder.run(&["convert", &tiny(), "again.safetensors", "--vae", &name]);
    assert!(at.server.asked().is_empty());
    let other = "owner/tiny/other.safetensors";
    at.folder.fails(
        1,
        &["inspect", other, "--offline"],
        &[other, "not to be had from the cache", "--offline"],
    );
    at.folder.fails(1, &["inspect", other], &["owner/tiny has no file other.safetensors", FILE]);
    // The whole model is fetched beside it.
    at.drawn();
    assert_eq!(gets(&at.server.asked(), UNET).len(), 1);
}

#[test]
fn the_licence_of_a_models_card_is_told() {
    let at = Setting::new();
    let said = at.folder.run(&["inspect", "owner/tiny"]);
    assert!(said.err.contains("owner/tiny: its licence is creativeml-openrail-m"), "{}", said.err);
    assert!(said.out.contains("licence") && said.out.contains("creativeml-openrail-m"), "{}", said.out);
    let said = at.folder.run(&["inspect", "owner/tiny", "--json"]);
    assert_eq!(json_lines(&said)[0]["license"], "creativeml-openrail-m");
    let at = Setting::new();
    at.server.change(|state| drop(state.files.remove("README.md")));
    let said = at.folder.run(&["inspect", "owner/tiny"]);
    assert!(!said.err.contains("licence") && !said.out.contains("licence"), "{}", said.err);
}
