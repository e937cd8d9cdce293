//! What a UNet's tensors show by themselves, whatever its family.

use calotype_tensor::Tensors;

/// Width of the text that the UNet attends to, by its first cross-attention.
pub(super) fn context(unet: &dyn Tensors) -> Option<usize> {
    let name = unet.names().into_iter().find(|name| name.ends_with(".attn2.to_k.weight"))?;
    unet.get(name).ok()?.shape.get(1).copied()
}

/// Whether its transformers are entered through linear layers.
pub(super) fn is_linear(unet: &dyn Tensors) -> bool {
    let rank = |name: &str| unet.get(name).ok().map(|info| info.shape.len());
    unet.names().iter().find(|name| name.ends_with(".proj_in.weight")).and_then(|name| rank(name)) == Some(2)
}

/// The bias that tells what Stable Diffusion 2 predicts.
pub(super) fn last_norm_bias(unet: &dyn Tensors) -> Option<String> {
    let mut names = unet.names().into_iter();
    let of =
        |name: &&str| name.starts_with("up_blocks.") && name.ends_with(".transformer_blocks.0.norm1.bias");
    names.rfind(of).map(String::from)
}
