//! What of an evaluation later ones take again.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Whether evaluations compute everything. In words `none`, or `deep:N` with `:branch=B` behind it where that is not 0.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum Cache {
    /// They do.
    #[default]
    None,
    /// One in so many does, and those after it take what its deep layers yielded (DeepCache: Ma et al. 2023,
    /// arXiv:2312.00858; the package's `DeepCacheSDHelper`).
    Deep {
        /// `cache_interval`.
        interval: usize,
        /// How many layers besides the last of the UNet's way up are computed each time (`cache_branch_id`).
        branch: usize,
    },
}

impl Cache {
    /// How many layers of the way up are computed each time, where that is not all.
    pub(crate) fn layers(self) -> Option<usize> {
        match self {
            Self::Deep { interval, branch } if interval > 1 => Some(branch + 1),
            _ => None,
        }
    }

    /// Whether an evaluation, counted from the first, is one of those that compute everything.
    pub(crate) fn is_fresh(self, evaluation: usize) -> bool {
        match self {
            Self::Deep { interval, .. } => evaluation.is_multiple_of(interval),
            Self::None => true,
        }
    }
}

impl fmt::Display for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::None => f.write_str("none"),
            Self::Deep { interval, branch: 0 } => write!(f, "deep:{interval}"),
            Self::Deep { interval, branch } => write!(f, "deep:{interval}:branch={branch}"),
        }
    }
}

impl FromStr for Cache {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split(':').collect();
        let found = match words[..] {
            ["none"] => Some(Self::None),
            ["deep", interval] => deep(interval, "0"),
            ["deep", interval, branch] => branch.strip_prefix("branch=").and_then(|of| deep(interval, of)),
            _ => None,
        };
        found.ok_or_else(|| {
            format!(
                "\"{text}\" is no cache: write none, or deep:N to compute everything in one of N evaluations, such as deep:3 or \
                 deep:3:branch=1"
            )
        })
    }
}

fn deep(interval: &str, branch: &str) -> Option<Cache> {
    let interval = interval.parse().ok().filter(|interval| *interval > 0)?;
    Some(Cache::Deep { interval, branch: branch.parse().ok()? })
}

impl TryFrom<String> for Cache {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Cache> for String {
    fn from(cache: Cache) -> Self {
        cache.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn caches_are_what_they_are_called() {
        for (text, cache) in [
            ("none", Cache::None),
            ("deep:3", Cache::Deep { interval: 3, branch: 0 }),
            ("deep:5:branch=2", Cache::Deep { interval: 5, branch: 2 }),
        ] {
            assert_eq!((text.parse(), cache.to_string()), (Ok(cache), text.to_string()));
        }
        for text in ["", "deep", "deep:0", "deep:x", "deep:3:1", "deep:3:branch=-1", "tea"] {
            assert!(text.parse::<Cache>().unwrap_err().contains("deep:3"), "{text}");
        }
    }

    #[test]
    fn one_in_so_many_is_fresh() {
        let fresh = |text: &str| -> Vec<bool> {
            let cache: Cache = text.parse().unwrap();
            (0..7).map(|k| cache.is_fresh(k)).collect()
        };
        assert_eq!(fresh("deep:3"), [true, false, false, true, false, false, true]);
        assert_eq!(fresh("none"), [true; 7]);
        assert_eq!("deep:1".parse::<Cache>().unwrap().layers(), None, "nothing is taken again");
    }
}
