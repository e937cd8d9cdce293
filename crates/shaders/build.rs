//! Turns `shaders/` into a table: every variant listed in `shaders/permutations` is expanded, parsed and
//! validated, its bindings and workgroup size are read off, and `struct Params` becomes a Rust struct.
//! A shader that does not validate fails the build with naga's own excerpt.

#[path = "src/preprocess.rs"]
mod preprocess;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../shaders");
    println!("cargo::rerun-if-changed={}", root.display());
    let templates = wgsl_files(&root);
    let shared = wgsl_files(&root.join("shared"));
    let list = fs::read_to_string(root.join("permutations")).expect("shaders/permutations");

    let mut table = String::from("/// Every variant that exists.\npub static VARIANTS: &[Variant] = &[\n");
    let mut params: BTreeMap<String, String> = BTreeMap::new();
    for (stem, defines) in permutations(&list) {
        let text = templates
            .get(&stem)
            .unwrap_or_else(|| panic!("shaders/permutations names {stem}, which has no file"));
        let defines: Vec<&str> = defines.iter().map(String::as_str).collect();
        let what = format!("shaders/{stem}.wgsl with {defines:?}");
        let wgsl = preprocess::expand(text, &defines, &|name| shared.get(name).map(String::as_str))
            .unwrap_or_else(|e| panic!("{what}: {e}"));
        let module = naga::front::wgsl::parse_str(&wgsl)
            .unwrap_or_else(|e| panic!("{what}:\n{}", e.emit_to_string(&wgsl)));
        naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all())
            .validate(&module)
            .unwrap_or_else(|e| panic!("{what}:\n{}", e.emit_to_string(&wgsl)));
        table.push_str(&variant(&stem, &defines, &module));
        let rust = params_struct(&stem, &module);
        let first = params.entry(stem.clone()).or_insert_with(|| rust.clone());
        assert!(*first == rust, "{what}: `struct Params` differs between variants of one shader");
    }
    table.push_str("];\n");
    for name in templates.keys() {
        assert!(params.contains_key(name), "shaders/{name}.wgsl is not listed in shaders/permutations");
    }
    writeln!(table, "static TEMPLATES: &[(&str, &str)] = &{:?};", pairs(&templates)).unwrap();
    writeln!(table, "static SHARED: &[(&str, &str)] = &{:?};", pairs(&shared)).unwrap();
    let all =
        [&list].into_iter().chain(templates.iter().chain(&shared).flat_map(|(name, text)| [name, text]));
    let hash = all
        .flat_map(|text| text.bytes())
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    writeln!(table, "/// Changes with any shader (FNV-1a).\npub const HASH: u64 = {hash};").unwrap();
    for (stem, rust) in params {
        write!(table, "/// Parameters of `shaders/{stem}.wgsl`.\npub mod {stem} {{\n{rust}}}\n").unwrap();
    }
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("table.rs");
    fs::write(out, table).expect("OUT_DIR is writable");
}

fn pairs(files: &BTreeMap<String, String>) -> Vec<(&String, &String)> {
    files.iter().collect()
}

fn wgsl_files(dir: &Path) -> BTreeMap<String, String> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display())) {
        let path = entry.expect("readable folder").path();
        if path.extension().is_some_and(|e| e == "wgsl") {
            let stem = path.file_stem().expect("has one").to_string_lossy().into_owned();
            files.insert(stem, fs::read_to_string(&path).expect("readable shader"));
        }
    }
    files
}

/// Lines such as `matmul {A_F32 W_F32, A_F16 W_F16} {-, SMALL}`: each group gives alternatives.
fn permutations(list: &str) -> Vec<(String, Vec<String>)> {
    let mut all = Vec::new();
    for line in
        list.lines().map(|l| l.split("//").next().unwrap_or_default().trim()).filter(|l| !l.is_empty())
    {
        let (stem, mut rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let mut variants: Vec<Vec<String>> = vec![Vec::new()];
        while let Some(open) = rest.find('{') {
            let close = rest.find('}').unwrap_or_else(|| panic!("permutations: unclosed group in `{line}`"));
            let options: Vec<Vec<String>> = rest[open + 1..close]
                .split(',')
                .map(|o| o.split_whitespace().filter(|w| *w != "-").map(str::to_string).collect())
                .collect();
            variants = variants
                .iter()
                .flat_map(|v| options.iter().map(move |o| v.iter().chain(o).cloned().collect()))
                .collect();
            rest = &rest[close + 1..];
        }
        for mut defines in variants {
            if defines.iter().any(|d| d.ends_with("_F16")) {
                defines.push("ENABLE_F16".into());
            }
            all.push((stem.to_string(), defines));
        }
    }
    all
}

fn variant(stem: &str, defines: &[&str], module: &naga::Module) -> String {
    let entry =
        module.entry_points.first().unwrap_or_else(|| panic!("shaders/{stem}.wgsl has no entry point"));
    assert_eq!(entry.name, "main", "shaders/{stem}.wgsl: the entry point is called main");
    let mut bindings = BTreeMap::new();
    let mut workgroup_bytes = 0;
    for (_, var) in module.global_variables.iter() {
        if var.space == naga::AddressSpace::WorkGroup {
            workgroup_bytes += module.types[var.ty].inner.size(module.to_ctx()).next_multiple_of(16);
        }
        let Some(binding) = &var.binding else { continue };
        let kind = match var.space {
            naga::AddressSpace::Uniform => "Uniform",
            naga::AddressSpace::Storage { access } if access.contains(naga::StorageAccess::STORE) => {
                "ReadWrite"
            }
            naga::AddressSpace::Storage { .. } => "Read",
            _ => continue,
        };
        let name = var.name.clone().unwrap_or_default();
        bindings.insert(binding.binding, format!("Binding {{ name: {name:?}, access: Access::{kind} }}"));
    }
    for (i, number) in bindings.keys().enumerate() {
        assert_eq!(i as u32, *number, "shaders/{stem}.wgsl: bindings must be numbered densely");
    }
    let bindings: Vec<_> = bindings.into_values().collect();
    format!(
        "    Variant {{ stem: {stem:?}, defines: &{defines:?}, workgroup_size: {:?}, workgroup_bytes: {workgroup_bytes}, \
         bindings: &[{}] }},\n",
        entry.workgroup_size,
        bindings.join(", ")
    )
}

fn params_struct(stem: &str, module: &naga::Module) -> String {
    let Some((_, ty)) = module.types.iter().find(|(_, t)| t.name.as_deref() == Some("Params")) else {
        panic!("shaders/{stem}.wgsl has no `struct Params`")
    };
    let naga::TypeInner::Struct { members, span } = &ty.inner else { panic!("Params is not a struct") };
    let mut rust = String::from(
        "    /// The shader's uniform block, generated from its `struct Params`.\n    #[repr(C)]\n    \
         #[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]\n    \
         #[allow(missing_docs)]\n    pub struct Params {\n",
    );
    let mut at = 0;
    let mut pads = 0;
    let mut pad = |rust: &mut String, from: u32, to: u32| {
        for _ in (from..to).step_by(4) {
            write!(rust, "        #[doc(hidden)]\n        pub pad_{pads}: u32,\n").unwrap();
            pads += 1;
        }
    };
    for member in members {
        pad(&mut rust, at, member.offset);
        let (ty, size) = rust_type(&module.types[member.ty].inner);
        let name = member.name.as_deref().unwrap_or_default();
        writeln!(rust, "        pub {name}: {ty},").unwrap();
        at = member.offset + size;
    }
    pad(&mut rust, at, *span);
    rust.push_str("    }\n");
    rust
}

fn rust_type(inner: &naga::TypeInner) -> (String, u32) {
    let scalar = |s: &naga::Scalar| match s.kind {
        naga::ScalarKind::Uint => "u32",
        naga::ScalarKind::Sint => "i32",
        naga::ScalarKind::Float => "f32",
        _ => panic!("Params holds u32, i32, f32 and vectors of them only"),
    };
    match inner {
        naga::TypeInner::Scalar(s) => (scalar(s).into(), 4),
        naga::TypeInner::Vector { size, scalar: s } => {
            let n = *size as u32;
            (format!("[{}; {n}]", scalar(s)), 4 * n)
        }
        _ => panic!("Params holds u32, i32, f32 and vectors of them only"),
    }
}
