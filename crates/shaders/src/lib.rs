//! The kernels in `shaders/`, as a table: which variants exist, what each binds, and the Rust twin of its
//! `struct Params`. The build script has parsed and validated every variant with naga; a variant that a
//! shader does not list (`#variants`) cannot be asked for.

mod preprocess;
mod step;
mod watch;

/// How a shader uses a binding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Access {
    /// A uniform block, bound with a dynamic offset.
    Uniform,
    /// A storage buffer that is only read.
    Read,
    /// A storage buffer that is written.
    ReadWrite,
}

/// One binding of group 0, in order of its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BindingSpec {
    /// The variable's name in the shader.
    pub name: &'static str,
    /// How it is used.
    pub access: Access,
}

/// One shader under one set of defines.
#[derive(Debug, PartialEq, Eq, Hash)]
pub struct Variant {
    /// The file's name without its ending: also the op's, the CPU function's and the test case's name.
    pub stem: &'static str,
    /// The defines it is expanded under.
    pub defines: &'static [&'static str],
    /// Threads of a workgroup along x, y, z.
    pub workgroup_size: [u32; 3],
    /// Workgroup memory it takes, in bytes.
    pub workgroup_bytes: u32,
    /// Its bindings, numbered from 0.
    pub bindings: &'static [BindingSpec],
}

impl Variant {
    /// The variant of `stem` that has exactly `defines` (in any order; the f16 `enable` comes by itself).
    pub fn find(stem: &str, defines: &[&str]) -> Option<&'static Self> {
        VARIANTS.iter().find(|v| {
            let own = || v.defines.iter().filter(|d| **d != "ENABLE_F16");
            v.stem == stem && own().count() == defines.len() && own().all(|d| defines.contains(d))
        })
    }

    /// Its complete WGSL text.
    pub fn source(&self) -> String {
        let find = |list: &[(&str, &'static str)], name: &str| {
            list.iter().find(|(n, _)| *n == name).map(|(_, t)| *t)
        };
        let template = find(TEMPLATES, self.stem).expect("the build script embedded it");
        preprocess::expand(template, self.defines, &|name| find(SHARED, name))
            .expect("the build script expanded it")
    }

    /// The same, counting the indices that lie beyond what is bound: in word `WATCHED` (an override) of the buffer that is
    /// bound to group 1.
    pub fn watched(&self) -> String {
        let bound: Vec<&str> =
            self.bindings.iter().filter(|b| b.access != Access::Uniform).map(|b| b.name).collect();
        watch::watched(&self.source(), &bound)
    }

    /// A name for labels and profiles, such as `matmul[A_F16 W_F16]`.
    pub fn label(&self) -> String {
        let defines: Vec<&str> = self.defines.iter().copied().filter(|d| *d != "ENABLE_F16").collect();
        if defines.is_empty() { self.stem.into() } else { format!("{}[{}]", self.stem, defines.join(" ")) }
    }

    /// Whether the device must have shader-f16.
    pub fn needs_f16(&self) -> bool {
        self.defines.contains(&"ENABLE_F16")
    }
}

include!(concat!(env!("OUT_DIR"), "/table.rs"));
