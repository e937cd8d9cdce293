"""The four networks of the picture model, each in the architecture that diffusers and transformers give Stable Diffusion."""

import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

SIZE = 128

# v-prediction with zero terminal SNR (Lin et al. 2023, "Common Diffusion Noise Schedules and Sample Steps Are Flawed"):
# the first step sees pure noise, so that plain backgrounds come out plain.
SCHEDULE = dict(
    num_train_timesteps=1000,
    beta_start=0.00085,
    beta_end=0.012,
    beta_schedule="scaled_linear",
    prediction_type="v_prediction",
    clip_sample=False,
    set_alpha_to_one=True,
    timestep_spacing="trailing",
    rescale_betas_zero_snr=True,
    steps_offset=1,  # as diffusers wants it of Stable Diffusion; without effect on trailing spacing
)


def scheduler():
    """The noise schedule shared by training and sampling."""
    return DDIMScheduler(**SCHEDULE)


def text_encoder(preset, vocabulary):
    """CLIP's text tower; the last two of `vocabulary` rows are the start and end tokens."""
    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=vocabulary,
            hidden_size=preset.text_width,
            intermediate_size=4 * preset.text_width,
            num_hidden_layers=preset.text_layers,
            num_attention_heads=preset.text_heads,
            max_position_embeddings=preset.tokens,
            projection_dim=preset.text_width,
            bos_token_id=vocabulary - 2,
            eos_token_id=vocabulary - 1,
            pad_token_id=vocabulary - 1,
            hidden_act="quick_gelu",
        )
    )


def unet(preset):
    """Three resolutions, cross-attention at the upper two and in the middle, heads 32 wide."""
    channels = preset.unet_channels
    return UNet2DConditionModel(
        sample_size=SIZE // 8,
        in_channels=preset.latent_channels,
        out_channels=preset.latent_channels,
        layers_per_block=1,
        block_out_channels=channels,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=preset.text_width,
        attention_head_dim=[c // 32 for c in channels],
        norm_num_groups=32,
    )


def autoencoder(preset):
    """Four resolutions: 128 pixels to 16x16 latents."""
    return AutoencoderKL(
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        block_out_channels=preset.vae_channels,
        layers_per_block=1,
        latent_channels=preset.latent_channels,
        norm_num_groups=8,
        sample_size=SIZE,
        scaling_factor=1.0,
    )


class Noise:
    """The forward process x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) e, and v = sqrt(a_t) e - sqrt(1 - a_t) x_0."""

    def __init__(self, device="cpu"):
        self.alphas = scheduler().alphas_cumprod.to(device)

    def level(self, t):
        """a_t as [B, 1, 1, 1]; t = -1 stands for the clean picture, where a = 1."""
        clean = torch.ones((), device=self.alphas.device)
        return torch.where(t >= 0, self.alphas[t.clamp_min(0)], clean).view(-1, 1, 1, 1)

    def add(self, x0, noise, t):
        """The noisy latents at t, and the v that the network should predict there."""
        a = self.level(t)
        return a.sqrt() * x0 + (1 - a).sqrt() * noise, a.sqrt() * noise - (1 - a).sqrt() * x0

    def clean(self, x, v, t):
        """The picture that a prediction v at (x, t) points to."""
        a = self.level(t)
        return a.sqrt() * x - (1 - a).sqrt() * v

    def ddim(self, x, v, t, s):
        """One DDIM step from t to s (Song et al. 2020, eq. 12 with sigma = 0)."""
        a, b = self.level(t), self.level(s)
        noise = a.sqrt() * v + (1 - a).sqrt() * x
        return b.sqrt() * self.clean(x, v, t) + (1 - b).sqrt() * noise


def encode_prompts(tokenizer, prompts, length):
    """Token ids [N, length], padded as Stable Diffusion pads them."""
    return torch.tensor(tokenizer(list(prompts), padding="max_length", truncation=True, max_length=length).input_ids)


def load_tokenizer(folder):
    """The trimmed CLIP tokenizer."""
    return CLIPTokenizer.from_pretrained(folder)


def device():
    """The GPU where there is one."""
    return "cuda" if torch.cuda.is_available() else "cpu"
