//! What the weights of a component are, by their order: `constants.py` of divamgupta's code lists them, and KerasCV's layers
//! have theirs in the same order.

use std::ops::Range;

/// What becomes of a weight's axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Axes {
    /// They stay.
    Same,
    /// The outputs, which Keras has last, come first.
    Outwards,
}

/// A weight, by its place in the order, what the original code calls it, and its axes.
type Named = (usize, String, Axes);

/// Where the order is broken.
type Fault = usize;

/// What each weight is. Fails with the first that cannot be where it is.
pub(super) fn named(shapes: &[&[usize]]) -> Result<Vec<Named>, Fault> {
    let (conv, dense) = ([4, 1], [2, 1]);
    let begins: Vec<usize> = shapes.iter().take(6).map(|shape| shape.len()).collect();
    // The second layer of the time and the first convolution are as deep in KerasCV's graph: either may be listed first.
    let starts = [[dense, dense, conv], [dense, conv, dense], [conv, dense, dense]];
    if let Some(start) = starts.iter().find(|start| start.concat() == begins) {
        let mut order: Vec<usize> = (0..shapes.len()).collect();
        let conv_at = start.iter().position(|layer| *layer == conv).unwrap_or_default();
        let layers = (0..3).filter(|layer| *layer != conv_at).chain([conv_at]);
        let first: Vec<usize> = layers.flat_map(|layer| [2 * layer, 2 * layer + 1]).collect();
        order[..6].copy_from_slice(&first);
        return unet(Reader::new(shapes, order));
    }
    let all = Reader::new(shapes, (0..shapes.len()).collect());
    match begins[..] {
        [2, 2, 1, ..] => text(all),
        [4, 1, 4, ..] => decoder(all),
        [4, 1, 1, ..] => encoder(all),
        _ => Err(0),
    }
}

/// Goes through the weights, giving names.
struct Reader<'a> {
    shapes: &'a [&'a [usize]],
    order: Vec<usize>,
    at: usize,
    named: Vec<Named>,
}

/// What belongs together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Residual,
    Attention,
    Norm,
    Conv,
}

impl<'a> Reader<'a> {
    fn new(shapes: &'a [&'a [usize]], order: Vec<usize>) -> Self {
        Self { shapes, order, at: 0, named: Vec::new() }
    }

    /// The shape of a weight further on.
    fn ahead(&self, by: usize) -> &'a [usize] {
        self.order.get(self.at + by).map_or(&[], |at| self.shapes[*at])
    }

    /// Whether one is a matrix, or a convolution of one pixel.
    fn is_linear(&self, by: usize) -> bool {
        matches!(self.ahead(by), [_, _] | [1, 1, _, _])
    }

    fn is_norm(&self, by: usize) -> bool {
        self.ahead(by).len() == 1 && self.ahead(by + 1).len() == 1
    }

    fn fault<T>(&self) -> Result<T, Fault> {
        Err(self.order.get(self.at).copied().unwrap_or(self.shapes.len()))
    }

    fn take(&mut self, name: String, ranks: Range<usize>, axes: Axes) -> Result<(), Fault> {
        // Nothing in these files has three dimensions.
        let rank = self.ahead(0).len();
        let fits = self.at < self.order.len() && ranks.contains(&rank) && rank != 3;
        if !fits {
            return self.fault();
        }
        self.named.push((self.order[self.at], name, axes));
        self.at += 1;
        Ok(())
    }

    fn norm(&mut self, name: &str) -> Result<(), Fault> {
        self.take(format!("{name}.weight"), 1..2, Axes::Same)?;
        self.take(format!("{name}.bias"), 1..2, Axes::Same)
    }

    /// A convolution or a dense layer.
    fn layer(&mut self, name: &str) -> Result<(), Fault> {
        self.take(format!("{name}.weight"), 2..5, Axes::Outwards)?;
        self.take(format!("{name}.bias"), 1..2, Axes::Same)
    }

    fn layers(&mut self, at: &str, names: &[&str]) -> Result<(), Fault> {
        names.iter().try_for_each(|name| self.layer(&format!("{at}.{name}")))
    }

    /// A UNet's residual block; `time` where it takes the time, as the autoencoder's do not.
    fn residual(&mut self, at: &str, time: bool) -> Result<(), Fault> {
        let [norm1, conv1, norm2, conv2, skip] = match time {
            true => ["in_layers.0", "in_layers.2", "out_layers.0", "out_layers.3", "skip_connection"],
            false => ["norm1", "conv1", "norm2", "conv2", "nin_shortcut"],
        };
        self.norm(&format!("{at}.{norm1}"))?;
        self.layer(&format!("{at}.{conv1}"))?;
        if time {
            self.layer(&format!("{at}.emb_layers.1"))?;
        }
        self.norm(&format!("{at}.{norm2}"))?;
        self.layer(&format!("{at}.{conv2}"))?;
        if self.is_linear(0) { self.layer(&format!("{at}.{skip}")) } else { Ok(()) }
    }

    fn transformer(&mut self, at: &str) -> Result<(), Fault> {
        self.norm(&format!("{at}.norm"))?;
        self.layer(&format!("{at}.proj_in"))?;
        let mut blocks = 0;
        while self.is_norm(0) {
            let block = format!("{at}.transformer_blocks.{blocks}");
            for (norm, attention) in [("norm1", "attn1"), ("norm2", "attn2")] {
                self.norm(&format!("{block}.{norm}"))?;
                for part in ["to_q", "to_k", "to_v"] {
                    self.take(format!("{block}.{attention}.{part}.weight"), 2..3, Axes::Outwards)?;
                }
                self.layer(&format!("{block}.{attention}.to_out.0"))?;
            }
            self.norm(&format!("{block}.norm3"))?;
            self.layers(&block, &["ff.net.0.proj", "ff.net.2"])?;
            blocks += 1;
        }
        self.layer(&format!("{at}.proj_out"))
    }

    /// The autoencoder's attention.
    fn attention(&mut self, at: &str) -> Result<(), Fault> {
        self.norm(&format!("{at}.norm"))?;
        self.layers(at, &["q", "k", "v", "proj_out"])
    }

    /// What comes next.
    fn next(&self) -> Option<Part> {
        match self.ahead(0).len() {
            4 => Some(Part::Conv),
            1 if self.is_linear(2) => Some(Part::Attention),
            // Behind a lone norm's convolution there is nothing, or another convolution.
            1 if matches!(self.ahead(4).len(), 1 | 2) => Some(Part::Residual),
            1 => Some(Part::Norm),
            _ => None,
        }
    }

    /// All parts from here on.
    fn parts(&self, time: bool) -> Result<Vec<Part>, Fault> {
        let mut probe = Reader { at: self.at, named: Vec::new(), order: self.order.clone(), ..*self };
        let mut parts = Vec::new();
        while probe.at < probe.order.len() {
            let Some(part) = probe.next() else { return probe.fault() };
            match part {
                Part::Residual => probe.residual("", time)?,
                Part::Attention if time => probe.transformer("")?,
                Part::Attention => probe.attention("")?,
                Part::Norm => probe.norm("")?,
                Part::Conv => probe.layer("")?,
            }
            parts.push(part);
        }
        Ok(parts)
    }

    /// The end.
    fn done(self) -> Result<Vec<Named>, Fault> {
        if self.at == self.order.len() { Ok(self.named) } else { self.fault() }
    }
}

const UNET: &str = "model.diffusion_model";

fn unet(mut reader: Reader<'_>) -> Result<Vec<Named>, Fault> {
    reader.layers(UNET, &["time_embed.0", "time_embed.2", "input_blocks.0.0"])?;
    let parts = reader.parts(true)?;
    let count = |part| parts.iter().filter(|one| **one == part).count();
    // One less than the levels halves the size, and as many double it; the last ends the network.
    let levels = count(Part::Conv).saturating_sub(1) / 2 + 1;
    // Each level has so many residual blocks on the way down, one more on the way up, and the middle two.
    let layers = count(Part::Residual).saturating_sub(2 + levels) / (2 * levels);
    let numbered = |reader: &mut Reader<'_>, at: String| {
        reader.residual(&format!("{at}.0"), true)?;
        if reader.next() != Some(Part::Attention) {
            return Ok(false);
        }
        reader.transformer(&format!("{at}.1")).map(|()| true)
    };
    let mut at = 1;
    for level in 0..levels {
        for _ in 0..layers {
            numbered(&mut reader, format!("{UNET}.input_blocks.{at}"))?;
            at += 1;
        }
        if level + 1 < levels {
            reader.layer(&format!("{UNET}.input_blocks.{at}.0.op"))?;
            at += 1;
        }
    }
    let middle = format!("{UNET}.middle_block");
    let last = if numbered(&mut reader, middle.clone())? { 2 } else { 1 };
    reader.residual(&format!("{middle}.{last}"), true)?;
    let mut at = 0;
    for level in 0..levels {
        let mut attends = false;
        for _ in 0..=layers {
            attends = numbered(&mut reader, format!("{UNET}.output_blocks.{at}"))?;
            at += 1;
        }
        if level + 1 < levels {
            reader.layer(&format!("{UNET}.output_blocks.{}.{}.conv", at - 1, 1 + usize::from(attends)))?;
        }
    }
    reader.norm(&format!("{UNET}.out.0"))?;
    reader.layer(&format!("{UNET}.out.2"))?;
    reader.done()
}

fn text(mut reader: Reader<'_>) -> Result<Vec<Named>, Fault> {
    const TEXT: &str = "cond_stage_model.transformer.text_model";
    for table in ["token_embedding", "position_embedding"] {
        reader.take(format!("{TEXT}.embeddings.{table}.weight"), 2..3, Axes::Same)?;
    }
    let mut layers = 0;
    while reader.ahead(2).len() == 2 {
        let layer = format!("{TEXT}.encoder.layers.{layers}");
        reader.norm(&format!("{layer}.layer_norm1"))?;
        reader.layers(&format!("{layer}.self_attn"), &["q_proj", "k_proj", "v_proj", "out_proj"])?;
        reader.norm(&format!("{layer}.layer_norm2"))?;
        reader.layers(&format!("{layer}.mlp"), &["fc1", "fc2"])?;
        layers += 1;
    }
    reader.norm(&format!("{TEXT}.final_layer_norm"))?;
    reader.done()
}

const VAE: &str = "first_stage_model";

/// The autoencoder's middle.
fn middle(reader: &mut Reader<'_>, half: &str) -> Result<(), Fault> {
    reader.residual(&format!("{half}.mid.block_1"), false)?;
    reader.attention(&format!("{half}.mid.attn_1"))?;
    reader.residual(&format!("{half}.mid.block_2"), false)
}

fn decoder(mut reader: Reader<'_>) -> Result<Vec<Named>, Fault> {
    let half = format!("{VAE}.decoder");
    reader.layers(VAE, &["post_quant_conv", "decoder.conv_in"])?;
    middle(&mut reader, &half)?;
    let parts = reader.parts(false)?;
    let levels = parts.iter().filter(|part| **part == Part::Conv).count();
    for level in (0..levels).rev() {
        let mut blocks = 0;
        while reader.next() == Some(Part::Residual) {
            reader.residual(&format!("{half}.up.{level}.block.{blocks}"), false)?;
            blocks += 1;
        }
        if level > 0 {
            reader.layer(&format!("{half}.up.{level}.upsample.conv"))?;
        }
    }
    reader.norm(&format!("{half}.norm_out"))?;
    reader.layer(&format!("{half}.conv_out"))?;
    reader.done()
}

fn encoder(mut reader: Reader<'_>) -> Result<Vec<Named>, Fault> {
    let half = format!("{VAE}.encoder");
    reader.layer(&format!("{half}.conv_in"))?;
    let parts = reader.parts(false)?;
    // Before the attention stand the last level's blocks and the middle's first.
    let last = parts.iter().position(|part| *part == Part::Attention).unwrap_or_default();
    let (mut level, mut block) = (0, 0);
    for part in &parts[..last.saturating_sub(1)] {
        match part {
            Part::Residual => {
                reader.residual(&format!("{half}.down.{level}.block.{block}"), false)?;
                block += 1;
            }
            Part::Conv => {
                reader.layer(&format!("{half}.down.{level}.downsample.conv"))?;
                (level, block) = (level + 1, 0);
            }
            _ => return reader.fault(),
        }
    }
    middle(&mut reader, &half)?;
    reader.norm(&format!("{half}.norm_out"))?;
    reader.layers(VAE, &["encoder.conv_out", "quant_conv"])?;
    reader.done()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The shapes of a decoder of two levels, of one block each, in which the widths change.
    fn decoder_shapes() -> Vec<Vec<usize>> {
        let conv = |size: usize, from: usize, to: usize| [vec![size, size, from, to], vec![to]];
        let norm = |width: usize| [vec![width], vec![width]];
        let residual = |from: usize, to: usize| {
            let skip = if from == to { Vec::new() } else { conv(1, from, to).to_vec() };
            [
                norm(from).to_vec(),
                conv(3, from, to).to_vec(),
                norm(to).to_vec(),
                conv(3, to, to).to_vec(),
                skip,
            ]
            .concat()
        };
        let attention =
            |width: usize| [norm(width).to_vec(), vec![conv(1, width, width).to_vec(); 4].concat()].concat();
        let mut all = [conv(1, 4, 4), conv(3, 4, 8)].concat();
        all.extend([residual(8, 8), attention(8), residual(8, 8), residual(8, 8)].concat());
        all.extend(
            [conv(3, 8, 8).to_vec(), residual(8, 4), norm(4).to_vec(), conv(3, 4, 3).to_vec()].concat(),
        );
        all
    }

    #[test]
    fn a_decoder_counts_its_levels_from_the_picture() {
        let shapes = decoder_shapes();
        let shapes: Vec<&[usize]> = shapes.iter().map(Vec::as_slice).collect();
        let named = named(&shapes).unwrap();
        assert_eq!(named.len(), shapes.len());
        let names: Vec<&str> = named.iter().map(|(_, name, _)| &name[..]).collect();
        for name in [
            "first_stage_model.post_quant_conv.weight",
            "first_stage_model.decoder.mid.attn_1.proj_out.bias",
            "first_stage_model.decoder.up.1.block.0.norm1.weight",
            "first_stage_model.decoder.up.1.upsample.conv.weight",
            "first_stage_model.decoder.up.0.block.0.nin_shortcut.bias",
            "first_stage_model.decoder.norm_out.bias",
        ] {
            assert!(names.contains(&name), "{name}");
        }
    }

    #[test]
    fn what_is_out_of_its_place_is_named_by_it_and_nothing_goes_wrong() {
        let sound = decoder_shapes();
        for at in 0..sound.len() {
            let mut shapes: Vec<&[usize]> = sound.iter().map(Vec::as_slice).collect();
            shapes[at] = &[1, 2, 3];
            assert!(named(&shapes).is_err_and(|fault| fault <= at), "{at}");
            // What ends in a norm and a convolution may be all of a smaller decoder.
            let ranks: Vec<usize> = shapes[..at].iter().map(|shape| shape.len()).collect();
            let whole = ranks.ends_with(&[1, 1, 4, 1]);
            assert!(whole || named(&shapes[..at]).is_err_and(|fault| fault <= at), "{at}");
        }
        // Shapes of any kind, in any order.
        let kinds: [&[usize]; 6] = [&[3], &[3, 3], &[1, 1, 3, 3], &[3, 3, 3, 3], &[], &[0]];
        let mut state = 1u32;
        for _ in 0..20_000 {
            let mut next = || {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                (state >> 16) as usize
            };
            let shapes: Vec<&[usize]> = (0..next() % 60).map(|_| kinds[next() % kinds.len()]).collect();
            let _ = named(&shapes);
        }
    }
}
