//! Files that a prompt asks for: `<lora:name:0.8>` (stable-diffusion-webui 1.10, modules/extra_networks.py and
//! extensions-builtin/Lora/extra_networks_lora.py).

/// What stands between `<` and `>`.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// What kind of file: `lora`, `lyco`, `hypernet`, …
    pub kind: String,
    /// What stands behind the colons, without names.
    pub positional: Vec<String>,
    /// What stands there as `name=value`.
    pub named: Vec<(String, String)>,
}

impl Network {
    /// The file's name.
    pub fn name(&self) -> &str {
        self.positional.first().map_or("", String::as_str)
    }

    /// How strong it is in the text encoders and in the UNet: 1 where nothing is said, and as in the text encoders where
    /// nothing is said of the UNet. None where one is no number.
    pub fn scales(&self) -> Option<[f32; 2]> {
        let named = |name: &str| self.named.iter().find(|(key, _)| key == name).map(|(_, value)| value);
        let number = |text: Option<&String>, or: f32| match text {
            Some(text) => text.trim().parse().ok().filter(|n: &f32| n.is_finite()),
            None => Some(or),
        };
        let text = number(named("te").or(self.positional.get(1)), 1.0)?;
        Some([text, number(named("unet").or(self.positional.get(2)), text)?])
    }
}

/// A prompt without what is asked for in it, and that.
pub fn networks(prompt: &str) -> (String, Vec<Network>) {
    let (mut text, mut found, mut rest) = (String::new(), Vec::new(), prompt);
    while let Some(at) = rest.find('<') {
        let (before, inside) = (&rest[..at], &rest[at + 1..]);
        text += before;
        match inside.find('>').and_then(|end| Some((network(&inside[..end])?, end))) {
            Some((network, end)) => {
                found.push(network);
                rest = &inside[end + 1..];
            }
            None => {
                text.push('<');
                rest = inside;
            }
        }
    }
    (text + rest, found)
}

fn network(inside: &str) -> Option<Network> {
    let (kind, args) = inside.split_once(':').filter(|(_, args)| !args.is_empty())?;
    let letters = !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_');
    let (named, positional): (Vec<&str>, _) = args.split(':').partition(|arg| arg.contains('='));
    let pair = |arg: &str| arg.split_once('=').map(|(name, value)| (name.into(), value.into()));
    letters.then(|| Network {
        kind: kind.into(),
        positional: positional.into_iter().map(String::from).collect(),
        named: named.into_iter().filter_map(pair).collect(),
    })
}
