//! Flags that people know from other programs, and what they are called here.

/// Other names, lower case and with dashes, and ours; or what to do where there is no flag.
const NAMES: &[(&[&str], &str)] = &[
    // CompVis' scripts, diffusers, AUTOMATIC1111's API, InvokeAI, stable-diffusion.cpp.
    (
        &["prompt", "p", "text", "positive-prompt"],
        "the prompt stands by itself: calotype generate \"a red apple\"",
    ),
    (&["ddim-steps", "num-inference-steps", "num-steps", "sample-steps", "sampling-steps"], "--steps"),
    (&["scale", "cfg", "guidance-scale", "unconditional-guidance-scale", "c"], "--cfg-scale"),
    (&["guidance-rescale", "rescale-cfg"], "--cfg-rescale"),
    (&["ddim-eta"], "--eta"),
    (&["subseed", "variation"], "--variation-seed"),
    (&["subseed-strength"], "--variation-strength"),
    (&["sigma-churn"], "--s-churn"),
    (&["n-iter", "iterations", "num-batches", "count"], "--batch-count"),
    (&["n-samples", "num-images", "num-images-per-prompt", "num-samples"], "--batch-size"),
    (&["n-rows"], "--grid"),
    (&["w"], "-W"),
    (&["size", "resolution", "res"], "-W and -H"),
    (&["s"], "--seed or --steps"),
    (&["sampling-method", "sampler-name", "sampler-index", "a"], "--sampler"),
    (&["plms"], "--sampler plms"),
    (&["dpm", "dpm-solver"], "--sampler dpm++_2m"),
    (&["schedule", "schedule-type", "noise-schedule"], "--scheduler"),
    (&["negative", "neg", "neg-prompt", "uncond"], "--negative-prompt"),
    (
        &["ckpt", "checkpoint", "ckpt-path", "model-path", "model-id", "pretrained-model-name-or-path"],
        "--model",
    ),
    (&["lora-path", "lora-weights", "lora-model"], "--lora"),
    (&["vae-path", "vae-model"], "--vae"),
    (&["diffusion-model", "unet-path"], "--unet"),
    (&["clip-l", "clip-path", "text-encoder-path"], "--text-encoder"),
    (&["v-parameterization", "v-pred", "parameterization"], "--prediction v"),
    (&["zero-terminal-snr", "rescale-betas-zero-snr"], "--zsnr"),
    (
        &["outdir", "out", "output-dir", "output-path", "save-path"],
        "--output, with a file's name: -o 'out/%05d.png'",
    ),
    (&["force", "f", "y", "yes"], "--overwrite"),
    (
        &["medvram", "lowvram", "novram", "vram", "vram-limit", "reserve-vram", "vram-budget"],
        "--max-vram, with a size: 6G",
    ),
    (&["enable-vae-tiling", "tiled-vae", "vae-tile"], "--vae-tiling on"),
    (&["precision", "type", "torch-dtype"], "--dtype"),
    (&["fp16", "half"], "--dtype f16"),
    (&["fp32", "full-precision", "no-half"], "--dtype f32"),
    (&["cpu"], "--backend cpu"),
    (&["device", "gpu", "device-id"], "--adapter, or --backend"),
    (&["prompts", "prompt-file", "prompts-file"], "--from-file"),
    (&["fixed-code"], "--seed"),
    (&["cache-dir"], "HF_HOME in the environment"),
    (&["token", "use-auth-token"], "HF_TOKEN in the environment"),
    (&["verbose", "v", "debug"], "RUST_LOG=info in the environment"),
    (&["skip-grid", "skip-save"], "leave it out: a grid is drawn with --grid only"),
];

/// What people call commands, and ours.
const COMMANDS: &[(&[&str], &str)] = &[
    (&["txt2img", "text2img", "text-to-image", "t2i", "draw", "run", "sample", "imagine"], "generate"),
    (&["list", "devices", "gpus", "list-devices"], "adapters"),
    (&["info", "show"], "inspect"),
    (&["server", "api", "webui", "start"], "serve"),
];

/// Our command for what others call so.
pub fn command(word: &str) -> Option<&'static str> {
    COMMANDS.iter().find(|(names, _)| names.contains(&plain(word).as_str())).map(|(_, ours)| *ours)
}

/// As names are compared: without dashes before them, with dashes in them.
pub fn plain(flag: &str) -> String {
    flag.trim_start_matches('-').to_lowercase().replace('_', "-")
}

/// What to do in place of another program's flag.
pub fn remedy(flag: &str) -> Option<String> {
    let flag = plain(flag);
    let (_, ours) = NAMES.iter().find(|(names, _)| names.contains(&flag.as_str()))?;
    Some(if ours.starts_with('-') { format!("here it is {ours}") } else { ours.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::Cli;
    use clap::CommandFactory;

    #[test]
    fn what_is_said_of_others_flags_is_true_of_ours() {
        let mut cli = Cli::command();
        assert!(COMMANDS.iter().all(|(_, ours)| cli.find_subcommand(ours).is_some()));
        let generate = cli.find_subcommand_mut("generate").unwrap();
        generate.build();
        let ours = |flag: &str| {
            generate.get_opts().chain(generate.get_arguments()).any(|arg| {
                arg.get_long().is_some_and(|long| flag == format!("--{long}"))
                    || arg.get_short().is_some_and(|short| flag == format!("-{short}"))
            })
        };
        for (names, hint) in NAMES {
            for name in *names {
                assert!(!ours(&format!("--{name}")) && !ours(&format!("-{name}")), "{name} is ours by now");
                assert_eq!(plain(name), *name);
            }
            for word in hint.split([' ', ',']).filter(|word| word.starts_with('-')) {
                assert!(ours(word), "{word} is none of ours: {hint}");
            }
        }
    }
}
