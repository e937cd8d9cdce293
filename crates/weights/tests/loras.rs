//! LoRAs on disk: which file of a folder is opened, and what PEFT's `adapter_config.json` says beside it.

use calotype_weights::{Checkpoint, Lora, Merged, Tensors, TextualInversion};
use pollster::block_on;
use safetensors::{Dtype, serialize, tensor::TensorView};
use std::path::Path;
use std::rc::Rc;

fn file(tensors: &[(&str, &[usize], f32)]) -> Vec<u8> {
    with_metadata(tensors, &[])
}

fn with_metadata(tensors: &[(&str, &[usize], f32)], metadata: &[(&str, &str)]) -> Vec<u8> {
    let bytes: Vec<Vec<u8>> = tensors
        .iter()
        .map(|(_, shape, value)| value.to_le_bytes().repeat(shape.iter().product::<usize>()))
        .collect();
    let views = tensors.iter().zip(&bytes).map(|((name, shape, _), bytes)| {
        (*name, TensorView::new(Dtype::F32, shape.to_vec(), bytes).unwrap())
    });
    let metadata = metadata.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    serialize(views, Some(metadata)).unwrap()
}

/// A LoRA of rank 4 of the layer `conv_in`, whose product is 4 throughout.
fn lora() -> Vec<u8> {
    let name = |half| format!("base_model.model.conv_in.lora_{half}.weight");
    file(&[(&name("A"), &[4, 2], 1.0), (&name("B"), &[2, 4], 1.0)])
}

/// What is added to a weight of zeros.
fn added(path: &Path) -> f32 {
    let lora = Rc::new(Lora::open(path).unwrap());
    let model = Checkpoint::in_memory("model", file(&[("conv_in.weight", &[2, 2], 0.0)])).unwrap();
    let merged = Merged::new(model, "unet", &[(lora, 1.0)]).unwrap();
    let bytes = block_on(merged.read_all("conv_in.weight")).unwrap().into_owned();
    f32::from_le_bytes(*bytes.first_chunk().unwrap())
}

fn refused(path: &Path, parts: &[&str]) {
    let error = Lora::open(path).err().expect("an error").to_string();
    parts.iter().for_each(|part| assert!(error.contains(part), "no {part:?} in: {error}"));
}

#[test]
fn what_peft_says_beside_its_file_is_heard() {
    let folder = tempfile::tempdir().unwrap();
    let (dir, config) = (folder.path(), folder.path().join("adapter_config.json"));
    let own = dir.join("adapter_model.safetensors");
    std::fs::write(&own, lora()).unwrap();
    // Without it alpha is the rank.
    assert_eq!([added(dir), added(&own)], [4.0, 4.0]);
    for (text, expected) in [
        (r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8}"#, 8.0),
        (r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "use_rslora": true}"#, 16.0),
        (r#"{"peft_type": "LORA", "r": 4, "lora_alpha": 8, "alpha_pattern": {"conv_in": 2}}"#, 2.0),
    ] {
        std::fs::write(&config, text).unwrap();
        assert_eq!([added(dir), added(&own)], [expected; 2], "{text}");
        // It is not about other files.
        std::fs::write(dir.join("other.safetensors"), lora()).unwrap();
        assert_eq!(added(&dir.join("other.safetensors")), 4.0);
    }
    for (text, part) in [
        ("{", "EOF"),
        (r#"{"peft_type": "VERA"}"#, "peft_type = \"VERA\": only LORA, LOHA, LOKR, IA3, OFT, BOFT are read"),
    ] {
        std::fs::write(&config, text).unwrap();
        refused(dir, &["adapter_config.json", part]);
    }
}

#[test]
fn a_folder_has_one_lora() {
    let folder = tempfile::tempdir().unwrap();
    let dir = folder.path();
    refused(dir, &["an empty folder", "pytorch_lora_weights.safetensors"]);
    std::fs::write(dir.join("notes.txt"), "").unwrap();
    refused(dir, &["notes.txt", "adapter_model.safetensors"]);
    std::fs::write(dir.join("style.safetensors"), lora()).unwrap();
    assert_eq!(added(dir), 4.0);
    std::fs::write(dir.join("another.safetensors"), lora()).unwrap();
    refused(dir, &["another.safetensors", "style.safetensors"]);
    std::fs::write(dir.join("pytorch_lora_weights.safetensors"), lora()).unwrap();
    assert_eq!(added(dir), 4.0);
}

#[test]
fn what_the_system_says_is_said_once() {
    let error = Lora::open("no/such/lora.safetensors").err().unwrap();
    assert!(error.to_string().starts_with("no/such/lora.safetensors: "), "{error}");
    assert!(std::error::Error::source(&error).is_none(), "a chain of causes would say it again");
}

/// A UNet that reads text of a width, with a text encoder.
fn model(width: usize) -> [(&'static str, Checkpoint); 2] {
    let block = "down_blocks.0.attentions.0.transformer_blocks.0";
    let (query, key) = (format!("{block}.attn1.to_q.weight"), format!("{block}.attn2.to_k.weight"));
    let unet =
        file(&[(&query, &[4, 4], 0.0), (&key, &[4, width], 0.0), ("conv_in.weight", &[4, 9, 3, 3], 0.0)]);
    let text = file(&[("text_model.encoder.layers.0.mlp.fc1.weight", &[8, 2], 0.0)]);
    [("unet", unet), ("text_encoder", text)]
        .map(|(folder, file)| (folder, Checkpoint::in_memory("model", file).unwrap()))
}

/// Both halves of a layer's change, of rank 1.
fn halves(layer: &str, inputs: usize, outputs: usize) -> [(String, Vec<usize>); 2] {
    [
        (format!("{layer}.lora_down.weight"), vec![1, inputs]),
        (format!("{layer}.lora_up.weight"), vec![outputs, 1]),
    ]
}

fn made(layers: &[[(String, Vec<usize>); 2]], metadata: &[(&str, &str)]) -> Lora {
    let tensors: Vec<_> = layers.iter().flatten().map(|(name, shape)| (&name[..], &shape[..], 1.0)).collect();
    Lora::new(Checkpoint::in_memory("lora", with_metadata(&tensors, metadata)).unwrap()).unwrap()
}

fn check(lora: &Lora, width: usize) -> Result<(), String> {
    let model = model(width);
    let parts: Vec<(&str, &dyn Tensors)> = model.iter().map(|(folder, file)| (*folder, file as _)).collect();
    lora.check(&parts).map_err(|error| error.to_string())
}

const QUERY: &str = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q";
const KEY: &str = "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn2_to_k";

#[test]
fn a_lora_for_another_family_says_which() {
    let query = || halves(QUERY, 4, 4);
    assert_eq!(check(&made(&[query(), halves(KEY, 768, 4)], &[]), 768), Ok(()));
    // Of the model's own family, or of one that nothing tells.
    let torn = check(&made(&[query(), halves(KEY, 5, 4)], &[]), 768).unwrap_err();
    assert!(torn.contains("LoRA tensor") && torn.contains(KEY) && torn.contains("another model"), "{torn}");
    let second = halves("lora_te2_text_model_encoder_layers_0_mlp_fc1", 2, 8);
    let flux = halves("lora_unet_double_blocks_0_img_attn_qkv", 2, 8);
    let diffusers = halves("transformer.single_transformer_blocks.0.attn.to_q", 2, 8);
    let other = halves("transformer.blocks.0.attn.to_q", 2, 8);
    let sd3 = halves("lora_unet_joint_blocks_0_x_block_attn_qkv", 2, 8);
    let text = halves("lora_te_text_model_encoder_layers_0_mlp_fc1", 3, 8);
    let deep = halves("lora_unet_input_blocks_4_1_transformer_blocks_1_attn1_to_q", 3, 8);
    let said = |value| vec![("ss_base_model_version", value)];
    type Other<'a> = (Vec<[(String, Vec<usize>); 2]>, Vec<(&'a str, &'a str)>, &'a str);
    let cases: [Other; 10] = [
        (vec![query(), halves(KEY, 1024, 4)], vec![], "Stable Diffusion 2.x"),
        (vec![query(), halves(KEY, 2048, 4)], vec![], "SDXL"),
        (vec![query(), second], vec![], "SDXL"),
        (vec![deep], vec![], "SDXL"),
        (vec![flux], vec![], "Flux"),
        (vec![diffusers], vec![], "Flux"),
        (vec![sd3], vec![], "Stable Diffusion 3"),
        (vec![other], vec![], "a diffusion transformer"),
        (vec![query(), text.clone()], said("sdxl_base_v1-0"), "SDXL"),
        (vec![query(), text], said("sd_v2"), "Stable Diffusion 2.x"),
    ];
    for (layers, metadata, family) in cases {
        let error = check(&made(&layers, &metadata), 768).unwrap_err();
        assert!(error.starts_with(&format!("lora: this LoRA is for {family}")), "{family}: {error}");
        assert!(error.contains("the model is Stable Diffusion 1.x") && !error.contains('\n'), "{error}");
    }
}

#[test]
fn what_fits_nowhere_is_left_out_and_the_rest_is_laid() {
    let conv = [
        ("lora_unet_conv_in.lora_down.weight".to_owned(), vec![1, 5, 1, 1]),
        ("lora_unet_conv_in.lora_up.weight".to_owned(), vec![4, 1, 1, 1]),
    ];
    let absent = halves("lora_unet_mid_block_attentions_0_proj_in", 4, 4);
    let lora = made(&[halves(QUERY, 4, 4), conv, absent], &[]);
    assert_eq!(check(&lora, 768), Ok(()));
    let [(_, unet), _] = model(768);
    let merged = Merged::new(unet, "unet", &[(Rc::new(lora), 1.0)]).unwrap();
    let first = |name: &str| {
        let bytes = block_on(merged.read_all(name)).unwrap().into_owned();
        f32::from_le_bytes(*bytes.first_chunk().unwrap())
    };
    let query = "down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q.weight";
    assert_eq!([first(query), first("conv_in.weight")], [1.0, 0.0]);
}

#[test]
fn a_layer_under_both_names_changes_once() {
    // As some files for SDXL have them; today's name counts.
    let down = "down_blocks.0.resnets.0.conv1";
    let layers =
        [halves("lora_unet_input_blocks_1_0_in_layers_2", 2, 2), halves(&format!("unet.{down}"), 2, 2)];
    let weight = format!("{down}.weight");
    let model = Checkpoint::in_memory("model", file(&[(&weight, &[2, 2], 0.0)])).unwrap();
    let merged = Merged::new(model, "unet", &[(Rc::new(made(&layers, &[])), 1.0)]).unwrap();
    let bytes = block_on(merged.read_all(&weight)).unwrap().into_owned();
    assert_eq!(f32::from_le_bytes(*bytes.first_chunk().unwrap()), 1.0);
}

#[test]
fn a_file_says_what_it_is() {
    let [down, up] = halves(QUERY, 4, 4);
    let alpha = format!("{QUERY}.alpha");
    let magnitudes = format!("{QUERY}.dora_scale");
    let tensors: [(&str, &[usize], f32); 10] = [
        (&down.0, &down.1, 1.0),
        (&up.0, &up.1, 1.0),
        (&alpha, &[], 0.5),
        (&magnitudes, &[4, 1], 1.0),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.lokr_w1", &[2, 2], 1.0),
        ("lora_te_text_model_encoder_layers_0_mlp_fc1.lokr_w2", &[4, 1], 1.0),
        ("bundle_emb.ink.string_to_param.*", &[3, 4], 0.5),
        ("bundle_emb.both.clip_l", &[2, 4], 0.25),
        ("bundle_emb.both.clip_g", &[2, 6], 0.75),
        ("strange", &[1], 0.0),
    ];
    let metadata = [
        ("ss_tag_frequency", r#"{"4_ink": {"a cat": 3, "ink": 7}, "1_more": {"a cat": 1, " ": 9}}"#),
        ("modelspec.architecture", "stable-diffusion-v1/lora"),
    ];
    let facts = |metadata: &[(&str, &str)]| {
        let file = Checkpoint::in_memory("lora", with_metadata(&tensors, metadata)).unwrap();
        block_on(Lora::new(file).unwrap().describe()).unwrap()
    };
    let said = facts(&metadata);
    let counts = |counts: &[(&str, usize)]| counts.iter().map(|(what, n)| (what.to_string(), *n)).collect();
    assert_eq!(said.kinds, counts(&[("DoRA", 1), ("LoKr", 1), ("LoRA", 1)]));
    assert_eq!(said.naming, counts(&[("kohya", 2)]));
    assert_eq!(said.components, counts(&[("text_encoder", 1), ("unet", 1)]));
    assert_eq!((said.ranks, said.alphas), (vec![1], vec![0.5]));
    assert_eq!(said.family.as_deref(), Some("Stable Diffusion 1.x"));
    assert_eq!(said.trigger_words, ["ink", "a cat"]);
    assert_eq!((said.words, said.others.len()), (vec!["both".into(), "ink".into()], 1));
    let file = Checkpoint::in_memory("lora", with_metadata(&tensors, &metadata)).unwrap();
    let words = block_on(TextualInversion::brought_by(&Lora::new(file).unwrap())).unwrap();
    let towers: Vec<_> = words.iter().map(|(name, word)| (&name[..], word.count(), word.widths())).collect();
    assert_eq!(towers, [("both", 2, "6 and 4 wide".into()), ("ink", 3, "4 wide".into())]);
    assert_eq!(words[1].1.towers[0].values, [0.5; 12]);
    let phrase = facts(&[("modelspec.trigger_phrase", "in ink"), metadata[0]]);
    assert_eq!(phrase.trigger_words, ["in ink"]);
}
