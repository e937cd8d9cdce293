//! The graphs against what is published of the models: parameters, operations, and what checkpoints hold.

use calotype_graph::{Graph, Op, Precision, Rate, Source as From, passes};
use calotype_models::config::{Architecture, ModelConfig, UNetConfig};
use calotype_models::{Role, clip, declare, in_graphs, layout, params, unet, vae};
use calotype_weights::{DiskFolder, Synthetic, Tensors};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const TOKENS: usize = 77;
const STEPS: usize = 20;

/// Three of a model's graphs for one picture of 64×64 latents, the UNet's for two of them: of two text encoders the second's.
fn graphs(config: &ModelConfig) -> [Graph; 3] {
    let mut each = config.texts.iter().map(|text| clip::text_encoder(text, 2).unwrap());
    let text = each.next_back().unwrap();
    [
        text,
        unet::unet(&config.unet, 2, 64, 64, TOKENS, STEPS).unwrap(),
        vae::decoder(&config.vae, 64, 64).unwrap(),
    ]
}

/// How many nodes there are of each op.
fn count(graph: &Graph) -> BTreeMap<&'static str, usize> {
    let mut ops = BTreeMap::new();
    graph.nodes().iter().for_each(|node| *ops.entry(node.op.name()).or_default() += 1);
    ops
}

fn near(found: u64, published: f64) {
    assert!((found as f64 / published - 1.0).abs() < 0.02, "{found:e} operations, not {published:e}");
}

#[test]
fn parameters_are_as_many_as_in_the_published_models() {
    // Counted by diffusers 0.42 and transformers 5 from the same configurations; the VAE's are its decoder's.
    for (architecture, published) in [
        (Architecture::Sd15, [123_060_480, 859_520_964, 49_490_199]),
        (Architecture::Sd21, [340_387_840, 865_910_724, 49_490_199]),
        (Architecture::Sdxl, [694_659_840, 2_567_463_684, 49_490_199]),
        (Architecture::Ssd1b, [694_659_840, 1_331_334_404, 49_490_199]),
    ] {
        assert_eq!(
            graphs(&architecture.config().unwrap()).each_ref().map(params),
            published,
            "{architecture:?}"
        );
    }
}

#[test]
fn operations_are_as_many_as_in_the_published_models() {
    let [_, unet, vae] = graphs(&Architecture::Sd15.config().unwrap());
    near(unet.flops(), 2.0 * 0.800e12);
    near(vae.flops(), 2.515e12);
    assert_eq!(vae.value(vae.outputs()[0].1).shape.dims(), [1, 512, 512, 4]);
}

#[test]
fn passes_leave_what_a_device_has_to_do() {
    for architecture in [Architecture::Sd15, Architecture::Sd21] {
        let [text, unet, vae] = graphs(&architecture.config().unwrap()).map(passes::fuse);
        for graph in [&text, &unet, &vae] {
            let ops = count(graph);
            for folded in ["activation", "add", "upsample"] {
                assert_eq!(ops.get(folded), None, "{architecture:?} {}: {ops:?}", graph.name);
            }
        }
        let ops = count(&unet);
        // Convolutions; of each of 16 transformers eight products, 14 shortcuts; keys and values and the time's products.
        assert_eq!((ops["conv2d"], ops["attention"], ops["group_norm"]), (52, 32, 61));
        assert_eq!(ops["matmul"], 16 * 8 + 14 + 16 + 3);
        for folded in ["concat", "geglu", "layer_norm"] {
            assert_eq!(ops.get(folded), None, "{architecture:?}: {ops:?}");
        }
        assert_eq!((unet.nodes().len(), ops["row"]), (308, 1));
        assert_eq!((vae.nodes().len(), count(&vae)["conv2d"]), (69, 33));
        let times = unet
            .nodes()
            .iter()
            .filter(|node| matches!(&node.op, Op::Conv2d(conv) if conv.image_bias.is_some()));
        assert_eq!(times.count(), 22, "every residual block learns the time");

        // The sixteen cross-attentions' keys and values hang on the prompt alone, and the time's projections on the table.
        let flops = unet.flops();
        let (prompt, step) = passes::split(unet);
        assert_eq!((prompt.nodes().len(), step.nodes().len()), (20, 288));
        let once = |name: &str| name.contains("attn2.to_") || name.contains("time");
        assert!(prompt.nodes().iter().all(|node| once(&node.name)), "{}", prompt.listing());
        assert_eq!(prompt.flops() + step.flops(), flops);
        let once =
            |value: &calotype_graph::Value| matches!(value.source, From::Input { rate: Rate::Prompt, .. });
        // Keys with values, the time's rows, and the table that tells which.
        assert_eq!(step.values().iter().filter(|value| once(value)).count(), 16 + 2);
    }
}

#[test]
fn synthetic_weights_are_all_that_a_graph_asks_for() {
    let of = |architecture: Architecture| graphs(&architecture.config().unwrap());
    for graph in of(Architecture::Sd21).into_iter().chain(of(Architecture::Sdxl)) {
        let mut graph = passes::fuse(graph);
        let source = in_graphs(Synthetic::new(0, declare(&graph)).unwrap());
        graph.resolve(&source, Precision::F32).unwrap();
    }
}

#[test]
fn skips_meet_their_like_at_every_size() {
    let config = Architecture::Sd15.config().unwrap().unet;
    for (height, width) in [(1, 1), (9, 25), (37, 64), (8, 7)] {
        let graph = unet::unet(&config, 1, height, width, TOKENS, STEPS).unwrap();
        assert_eq!(graph.value(graph.outputs()[0].1).shape.dims(), [1, height, width, 4]);
    }
}

#[test]
fn levels_may_differ_in_all_that_the_configuration_lists() {
    let text = r#"{
        "block_out_channels": [32, 64, 96], "layers_per_block": [1, 3, 2], "attention_head_dim": [1, 4, 3],
        "transformer_layers_per_block": [2, 1, 3], "cross_attention_dim": 40, "norm_num_groups": 16,
        "down_block_types": ["DownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"],
        "up_block_types": ["CrossAttnUpBlock2D", "UpBlock2D", "CrossAttnUpBlock2D"], "time_embedding_dim": 48
    }"#;
    let config = UNetConfig::parse("unet/config.json", text).unwrap();
    let graph = unet::unet(&config, 3, 10, 6, TOKENS, STEPS).unwrap();
    assert_eq!(graph.value(graph.outputs()[0].1).shape.dims(), [3, 10, 6, 4]);
    // Counted by diffusers.
    assert_eq!(params(&graph), 4_955_652);
}

#[test]
fn a_head_that_is_too_wide_is_an_error_that_names_its_node() {
    let mut config = Architecture::Sd15.config().unwrap().vae;
    config.block_out_channels[3] = 1024;
    let error = vae::decoder(&config, 8, 8).unwrap_err().to_string();
    assert!(error.contains("decoder.mid_block.attentions.0.attention") && error.contains("512"), "{error}");
}

#[test]
fn tiny_checkpoints_hold_what_the_graphs_ask_for_and_nothing_more() {
    let goldens = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/goldens");
    let second = |model: &str| if model == "sdxl-tiny" { Role::Text2 } else { Role::Text };
    for model in ["sd1-tiny", "sd2-tiny", "sdxl-tiny"] {
        let folder: PathBuf = goldens.join(model).join("model");
        let read = |path: &str| std::fs::read_to_string(folder.join(path));
        let graphs = graphs(&ModelConfig::read(model, read).unwrap());
        let disk = DiskFolder::new(&folder);
        for (mut graph, component) in graphs.into_iter().zip([second(model), Role::Denoiser, Role::Vae]) {
            let checkpoint = pollster::block_on(layout::checkpoint(&disk, component, None)).unwrap();
            let others = ["encoder.conv", "encoder.down", "encoder.mid", "quant_conv"];
            // Integers that count 0, 1, 2, … up: transformers before 4.31 keeps them with the weights.
            let ours = |name: &&str| {
                let encoder = component == Role::Vae && others.iter().any(|other| name.starts_with(other));
                !encoder && !name.ends_with("position_ids")
            };
            let held: usize = checkpoint
                .names()
                .into_iter()
                .filter(ours)
                .map(|name| checkpoint.get(name).unwrap().numel())
                .sum();
            assert_eq!(params(&graph), held, "{model}/{component}");
            graph.resolve(&in_graphs(checkpoint), Precision::F32).unwrap();
        }
    }
}
