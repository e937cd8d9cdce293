//! Turns `shaders/` into a table: every variant that a shader lists is expanded, parsed and validated, its bindings and
//! workgroup size are read off, and `struct Params` becomes a Rust struct, as does the step table's row.
//! A shader that does not validate fails the build with naga's own excerpt.

#[path = "src/preprocess.rs"]
mod preprocess;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo sets it")).join("../../shaders");
    println!("cargo::rerun-if-changed={}", root.display());
    let templates = wgsl_files(&root);
    let shared = wgsl_files(&root.join("shared"));

    let mut table = String::from("/// Every variant that exists.\npub static VARIANTS: &[Variant] = &[\n");
    let mut params: BTreeMap<String, String> = BTreeMap::new();
    let mut step = None;
    let all: Vec<(&String, &String, Vec<String>)> = templates
        .iter()
        .flat_map(|(stem, text)| variants(stem, text, &shared).into_iter().map(move |own| (stem, text, own)))
        .collect();
    // Browsers have no cooperative matrices, nor does a page know that its shaders run in software: it carries no kernels
    // for either.
    let browser = env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32");
    let left_out = |stem: &str, defines: &[String]| {
        browser
            && (stem == "attention_rows"
                || defines.iter().any(|define| ["COOP", "ROWS"].contains(&define.as_str())))
    };
    let all: Vec<_> = all.into_iter().filter(|(stem, _, defines)| !left_out(stem, defines)).collect();
    let read = Mutex::new(BTreeSet::new());
    // Which takes nearly all of the script's time.
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let modules: Vec<naga::Module> = std::thread::scope(|scope| {
        let parse = |some: &[(&String, &String, Vec<String>)]| -> Vec<naga::Module> {
            let find = |name: &str| {
                read.lock().expect("no thread panicked").insert(name.to_string());
                shared.get(name).map(String::as_str)
            };
            some.iter().map(|(stem, text, defines)| module(stem, text, defines, &find)).collect()
        };
        let some = all.chunks(all.len().div_ceil(threads).max(1));
        let running: Vec<_> = some.map(|some| scope.spawn(move || parse(some))).collect();
        running.into_iter().flat_map(|one| one.join().expect("every variant validates")).collect()
    });
    for ((stem, _, defines), module) in all.iter().zip(&modules) {
        let what = what(stem, defines);
        let defines: Vec<&str> = defines.iter().map(String::as_str).collect();
        table.push_str(&variant(stem, &defines, module));
        let rust = twin(stem, "Params", module)
            .unwrap_or_else(|| panic!("shaders/{stem}.wgsl has no `struct Params`"));
        let first = params.entry((*stem).clone()).or_insert_with(|| rust.clone());
        assert!(*first == rust, "{what}: `struct Params` differs between variants of one shader");
        step = step.or_else(|| twin(stem, "Step", module).map(|rust| rust + &constants(module)));
    }
    table.push_str("];\n");
    let stems: BTreeSet<String> = all.iter().map(|(stem, ..)| (*stem).clone()).collect();
    let read = read.into_inner().expect("no thread panicked");
    writeln!(table, "static TEMPLATES: &[(&str, &str)] = &{:?};", bare(&templates, &stems)).unwrap();
    writeln!(table, "static SHARED: &[(&str, &str)] = &{:?};", bare(&shared, &read)).unwrap();
    table.push_str(&step.expect("some shader reads the step table"));
    let texts = templates.iter().chain(&shared).flat_map(|(name, text)| [name, text]);
    let hash = texts
        .flat_map(|text| text.bytes())
        .fold(0xcbf2_9ce4_8422_2325u64, |h, b| (h ^ u64::from(b)).wrapping_mul(0x100_0000_01b3));
    writeln!(table, "/// Changes with any shader (FNV-1a).\npub const HASH: u64 = {hash};").unwrap();
    for (stem, rust) in params {
        write!(table, "/// Parameters of `shaders/{stem}.wgsl`.\npub mod {stem} {{\n{rust}}}\n").unwrap();
    }
    let out = Path::new(&env::var("OUT_DIR").expect("cargo sets it")).join("table.rs");
    fs::write(out, table).expect("OUT_DIR is writable");
}

/// What messages call a variant.
fn what(stem: &str, defines: &[String]) -> String {
    format!("shaders/{stem}.wgsl with {defines:?}")
}

/// A variant, expanded, parsed and validated.
fn module<'a>(
    stem: &str,
    text: &'a str,
    defines: &[String],
    shared: &dyn Fn(&str) -> Option<&'a str>,
) -> naga::Module {
    let what = what(stem, defines);
    let defines: Vec<&str> = defines.iter().map(String::as_str).collect();
    let wgsl = preprocess::expand(text, &defines, shared).unwrap_or_else(|e| panic!("{what}: {e}"));
    let module = naga::front::wgsl::parse_str(&wgsl)
        .unwrap_or_else(|e| panic!("{what}:\n{}", e.emit_to_string(&wgsl)));
    naga::valid::Validator::new(naga::valid::ValidationFlags::all(), naga::valid::Capabilities::all())
        .validate(&module)
        .unwrap_or_else(|e| panic!("{what}:\n{}", e.emit_to_string(&wgsl)));
    module
}

/// Those files that are read, without the comments that expanding would leave out.
fn bare<'a>(files: &'a BTreeMap<String, String>, read: &BTreeSet<String>) -> Vec<(&'a str, String)> {
    let code = |text: &str| {
        let lines = text.lines().map(|line| line.split("//").next().unwrap_or_default().trim());
        lines.filter(|line| !line.is_empty()).collect::<Vec<_>>().join("\n")
    };
    let some = files.iter().filter(|(name, _)| read.contains(*name));
    some.map(|(name, text)| (name.as_str(), code(text))).collect()
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

/// The defines of each of a shader's variants, by its lines such as `#variants {A_F32 W_F32, A_F16 W_F16} {-, SMALL}`: each
/// group gives choices. One that is a single word in small letters is a `#set`, of this file or of a shared one.
fn variants(stem: &str, text: &str, shared: &BTreeMap<String, String>) -> Vec<Vec<String>> {
    let mut all = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("#variants")) {
        let mut variants: Vec<Vec<String>> = vec![Vec::new()];
        for group in line.split('{').skip(1) {
            let (group, _) =
                group.split_once('}').unwrap_or_else(|| panic!("{stem}: unclosed group in `{line}`"));
            let named = !group.is_empty() && group.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
            let choices: Vec<&str> = if named {
                let texts = [text].into_iter().chain(shared.values().map(String::as_str));
                texts
                    .into_iter()
                    .find_map(|text| set(text, group))
                    .unwrap_or_else(|| panic!("{stem}: no #set {group}"))
            } else {
                group.split(',').collect()
            };
            let words = |choice: &str| -> Vec<String> {
                choice.split_whitespace().filter(|w| *w != "-").map(str::to_string).collect()
            };
            variants = variants
                .iter()
                .flat_map(|v| choices.iter().map(|choice| [v.clone(), words(choice)].concat()))
                .collect();
        }
        all.extend(variants);
    }
    assert!(!all.is_empty(), "shaders/{stem}.wgsl has no line `#variants`");
    for defines in &mut all {
        if defines.iter().any(|d| d.ends_with("_F16") || d.ends_with("_N16")) {
            defines.push("ENABLE_F16".into());
        }
    }
    all
}

/// The lines between `#set name` and `#endset`.
fn set<'a>(text: &'a str, name: &str) -> Option<Vec<&'a str>> {
    let mut lines =
        text.lines().skip_while(|line| line.strip_prefix("#set ").is_none_or(|n| n.trim() != name));
    lines.next()?;
    Some(lines.take_while(|line| line.trim() != "#endset").collect())
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
        bindings.insert(binding.binding, format!("BindingSpec {{ name: {name:?}, access: Access::{kind} }}"));
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

/// The Rust twin of a shader's struct, if it has that.
fn twin(stem: &str, name: &str, module: &naga::Module) -> Option<String> {
    let (_, ty) = module.types.iter().find(|(_, t)| t.name.as_deref() == Some(name))?;
    let naga::TypeInner::Struct { members, span } = &ty.inner else {
        panic!("{stem}: {name} is not a struct")
    };
    let mut rust = format!(
        "    /// Generated from the shaders' `struct {name}`, which says what its members are.\n    #[repr(C)]\n    \
         #[derive(Clone, Copy, Debug, Default, PartialEq, bytemuck::Pod, bytemuck::Zeroable)]\n    \
         #[allow(missing_docs)]\n    pub struct {name} {{\n",
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
        let (ty, size) = rust_type(module, member.ty);
        let name = member.name.as_deref().unwrap_or_default();
        writeln!(rust, "        pub {name}: {ty},").unwrap();
        at = member.offset + size;
    }
    pad(&mut rust, at, *span);
    rust.push_str("    }\n");
    Some(rust)
}

/// What a shader's constants of whole numbers are.
fn constants(module: &naga::Module) -> String {
    let number = |(_, c): (_, &naga::Constant)| match (&c.name, &module.global_expressions[c.init]) {
        (Some(name), naga::Expression::Literal(naga::Literal::U32(value))) => Some((name.clone(), *value)),
        _ => None,
    };
    let found: BTreeMap<String, u32> = module.constants.iter().filter_map(number).collect();
    let constant = |name: &str, doc: &str| {
        let value = found.get(name).unwrap_or_else(|| panic!("shaders/shared/step.wgsl says no {name}"));
        format!("/// {doc}\npub const {name}: u32 = {value};\n")
    };
    [
        constant("REGISTERS", "Registers of latent size that a step works on."),
        constant("KEEPS_OUTPUT", "Of `Step::keeps`: where a mask keeps a picture the guided output does."),
        constant("KEEPS_SAMPLE", "Likewise the new sample."),
        constant("KEEPS_INPUT", "Likewise the next input."),
    ]
    .concat()
}

/// A type and its size. An array of vectors is an array of their numbers.
fn rust_type(module: &naga::Module, ty: naga::Handle<naga::Type>) -> (String, u32) {
    let refuse = || -> ! { panic!("these structs hold u32, i32, f32, vectors and arrays of vectors only") };
    let scalar = |s: &naga::Scalar| match s.kind {
        naga::ScalarKind::Uint => "u32",
        naga::ScalarKind::Sint => "i32",
        naga::ScalarKind::Float => "f32",
        _ => refuse(),
    };
    match &module.types[ty].inner {
        naga::TypeInner::Scalar(s) => (scalar(s).into(), 4),
        naga::TypeInner::Vector { size, scalar: s } => {
            let n = *size as u32;
            (format!("[{}; {n}]", scalar(s)), 4 * n)
        }
        naga::TypeInner::Array { base, size: naga::ArraySize::Constant(count), stride } => {
            let whole = count.get() * stride;
            match &module.types[*base].inner {
                naga::TypeInner::Vector { size: naga::VectorSize::Quad, scalar: s } => {
                    (format!("[{}; {}]", scalar(s), whole / 4), whole)
                }
                naga::TypeInner::Array { .. } => {
                    (format!("[{}; {count}]", rust_type(module, *base).0), whole)
                }
                _ => refuse(),
            }
        }
        _ => refuse(),
    }
}
