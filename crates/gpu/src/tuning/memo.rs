//! What tuning found on a device, on disk: a file an adapter, version and set of shaders.

use crate::device::Device;
use crate::store::replace;
use calotype_graph::Caps;
use calotype_graph::lower::{Cut, Product, Tuned, candidates};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// A product's fastest cut.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct FastestCut {
    /// By its name.
    pub cut: String,
    /// Its time, as a part of the time that the table's cut takes.
    pub ratio: f64,
}

/// By products' names.
pub(crate) type Findings = BTreeMap<String, FastestCut>;

/// What the file holds.
#[derive(Default, Serialize, Deserialize)]
struct Content {
    adapter: String,
    driver: String,
    /// Tiers see other candidates, so each has findings of its own.
    kernels: BTreeMap<String, Findings>,
}

/// The file, and what its findings must be of to count.
pub(crate) struct Memo {
    file: PathBuf,
    adapter: String,
    driver: String,
    kernels: String,
}

impl Memo {
    /// None where there is no folder for it.
    pub fn of(device: &Device) -> Option<Self> {
        let report = &device.report;
        let (version, shaders) = (env!("CARGO_PKG_VERSION"), calotype_shaders::HASH);
        let name = format!("tuned {} {}", report.backend, report.name).to_lowercase();
        let name = name.replace(|c: char| !c.is_ascii_alphanumeric(), "_");
        Some(Self {
            file: device.folder.as_ref()?.join(format!("{name}-{version}-{shaders:016x}.json")),
            adapter: report.name.clone(),
            driver: report.driver.clone(),
            kernels: kernels(&device.caps, device.checked),
        })
    }

    /// A file that is missing, damaged, or of another driver is as good as an empty one.
    fn content(&self) -> Content {
        let read = || serde_json::from_slice::<Content>(&std::fs::read(&self.file).ok()?).ok();
        let same = |c: &Content| c.adapter == self.adapter && c.driver == self.driver;
        read().filter(same).unwrap_or_else(|| Content {
            adapter: self.adapter.clone(),
            driver: self.driver.clone(),
            ..Content::default()
        })
    }

    /// What is remembered, as far as it is a choice on this device.
    pub fn read(&self, caps: &Caps) -> Tuned {
        let found = self.content().kernels.remove(&self.kernels).unwrap_or_default();
        found.iter().filter_map(|(product, found)| choice(caps, product, &found.cut)).collect()
    }

    /// Adds to what is remembered. It is worth no error: failures are only logged.
    pub fn add(&self, found: &Findings) {
        let mut content = self.content();
        content.kernels.entry(self.kernels.clone()).or_default().extend(found.clone());
        let bytes = serde_json::to_vec_pretty(&content).map_err(std::io::Error::other);
        if let Err(e) = bytes.and_then(|bytes| replace(&self.file, &bytes)) {
            log::info!("{}: what tuning found was not kept: {e}", self.file.display());
        }
    }
}

/// A product and a cut of it, by their names.
fn choice(caps: &Caps, product: &str, cut: &str) -> Option<(Product, Cut)> {
    let product = Product::parse(product)?;
    let cut = candidates(caps, &product).into_iter().find(|c| c.to_string() == cut)?;
    Some((product, cut))
}

/// What of a device decides which kernels there are to choose from, and how fast they are.
fn kernels(caps: &Caps, checked: bool) -> String {
    let flag = |on: bool, name| if on { name } else { "" };
    let words = [
        flag(caps.f16, "f16").to_string(),
        flag(caps.subgroups, "subgroups").to_string(),
        caps.matrices.map_or(String::new(), |m| m.to_string()),
        format!("{} KiB", caps.workgroup_bytes >> 10),
        flag(caps.software, "software").to_string(),
        flag(checked, "checked").to_string(),
    ];
    words.into_iter().filter(|w| !w.is_empty()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use calotype_graph::lower::{Matrices, cut};
    use std::path::Path;
    use std::{env, fs};

    fn caps() -> Caps {
        let matrices = Some(Matrices::ALL[0]);
        Caps { f16: true, subgroups: true, matrices, workgroup_bytes: 48 << 10, ..Caps::default() }
    }

    fn memo(folder: &Path, driver: &str, caps: &Caps) -> Memo {
        let (file, kernels) = (folder.join("tuned_a_gpu-1-ab.json"), kernels(caps, false));
        Memo { file, adapter: "A GPU".into(), driver: driver.into(), kernels }
    }

    #[test]
    fn a_product_is_read_as_it_is_written() {
        let conv = Product::parse("conv2d A_F16 W_N16 8192x320x2880").unwrap();
        assert_eq!(conv.to_string(), "conv2d A_F16 W_N16 8192x320x2880");
        let normalised = Product { stem: "matmul", role: Some("NORM"), ..conv };
        assert_eq!(Product::parse(&normalised.to_string()), Some(normalised));
        for other in
            ["", "conv2d", "conv2d A_F16 W_N16 8192x320", "conv2d A_F16 W_N16 8192x320xk", "a b c 1x2x3"]
        {
            assert_eq!(Product::parse(other), None, "{other}");
        }
    }

    #[test]
    fn findings_are_found_again_where_they_hold() {
        let folder = env::temp_dir().join(format!("calotype-tuned-{}", std::process::id()));
        let product = Product::parse("conv2d A_F16 W_N16 8192x320x2880").unwrap();
        let other = candidates(&caps(), &product)[1];
        assert_ne!(other, cut(&caps(), &product));
        let found = |cut: Cut| FastestCut { cut: cut.to_string(), ratio: 0.9 };
        let own = memo(&folder, "driver 1", &caps());
        assert!(own.read(&caps()).is_empty(), "there is no file yet");
        own.add(&Findings::from([(product.to_string(), found(other))]));
        assert_eq!(own.read(&caps()), Tuned::from([(product, other)]));

        // More of the same, and of another tier.
        let small = Product { rows: 128, ..product };
        own.add(&Findings::from([(small.to_string(), found(other))]));
        let plain = Caps { matrices: None, ..caps() };
        let lower = memo(&folder, "driver 1", &plain);
        assert!(lower.read(&plain).is_empty());
        lower.add(&Findings::from([(small.to_string(), found(cut(&plain, &small)))]));
        assert_eq!(own.read(&caps()).len(), 2);
        assert_eq!(lower.read(&plain).len(), 1);

        // A cut that there is no longer, and a product that never was.
        own.add(&Findings::from([
            (Product { rows: 64, ..product }.to_string(), FastestCut { cut: "coop 1x1".into(), ratio: 1.0 }),
            ("nothing".into(), found(other)),
        ]));
        assert_eq!(own.read(&caps()).len(), 2);

        // Another driver's findings do not count, and give way.
        let newer = memo(&folder, "driver 2", &caps());
        assert!(newer.read(&caps()).is_empty());
        newer.add(&Findings::from([(product.to_string(), found(other))]));
        assert_eq!((newer.read(&caps()).len(), own.read(&caps()).len()), (1, 0));

        // Damage.
        let bytes = fs::read(&own.file).unwrap();
        for damaged in [&b""[..], b"[]", &bytes[..bytes.len() / 2]] {
            fs::write(&own.file, damaged).unwrap();
            assert!(newer.read(&caps()).is_empty());
        }
        newer.add(&Findings::from([(product.to_string(), found(other))]));
        assert_eq!(newer.read(&caps()).len(), 1);
        fs::remove_dir_all(&folder).unwrap();
    }
}
