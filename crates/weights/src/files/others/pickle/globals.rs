//! Which classes and functions a pickle may name. Nothing is ever called, so this is about meaning, and about telling of
//! files that were made to do harm elsewhere.

use crate::files::others::view::{Parsed, foreign, quote};
use calotype_tensor::Encoding;

/// Modules whose names are taken: those that make tensors, and what trainers leave beside weights, which is passed over.
const MODULES: &[&str] = &[
    "__torch__",
    "argparse",
    "collections",
    "datetime",
    "ldm",
    "lightning",
    "lightning_fabric",
    "numpy",
    "omegaconf",
    "pathlib",
    "pytorch_lightning",
    "torch",
    "typing",
];

/// Of other modules these.
const NAMES: &[(&str, &str)] = &[
    ("_codecs", "encode"),
    ("copy_reg", "_reconstructor"),
    ("copyreg", "_reconstructor"),
    ("functools", "partial"),
];

/// Built-in classes.
const BUILT_IN: &[&str] = &[
    "bool",
    "bytearray",
    "bytes",
    "complex",
    "dict",
    "float",
    "frozenset",
    "int",
    "list",
    "long",
    "object",
    "set",
    "slice",
    "str",
    "tuple",
    "unicode",
];

/// Of modules that are taken what runs or loads code in Python all the same.
const HARMFUL: &[(&str, &[&str])] = &[
    ("torch", &["load", "hub", "compile", "classes", "ops"]),
    ("torch.hub", &[""]),
    ("torch.jit._script", &[""]),
    ("torch.jit", &["load", "script", "trace", "interface"]),
    ("torch.package", &[""]),
    ("torch.serialization", &["load"]),
    ("torch.utils", &[""]),
    ("numpy", &["load", "fromfile", "memmap"]),
    ("numpy.testing", &[""]),
    ("numpy.distutils", &[""]),
    ("numpy.f2py", &[""]),
];

/// Fails, naming it, for what no weights need.
pub(super) fn check(module: &str, name: &str) -> Parsed<()> {
    let within = |of: &str| module == of || module.strip_prefix(of).is_some_and(|rest| rest.starts_with('.'));
    let known = MODULES.iter().any(|of| within(of))
        || NAMES.contains(&(module, name))
        || matches!(module, "builtins" | "__builtin__") && BUILT_IN.contains(&name);
    let harmful = HARMFUL.iter().any(|(of, names)| match *names {
        [""] => within(of),
        names => module == *of && names.contains(&name.split('.').next().unwrap_or_default()),
    });
    if known && !harmful {
        return Ok(());
    }
    foreign(format!(
        "its pickle names {}.{}, which no weights need; it is not run here, and elsewhere it may do harm: have the file \
         from a place that you trust, as .safetensors",
        quote(module),
        quote(name)
    ))
}

/// How the elements of a storage are held, by its class; bytes where they have no type yet.
pub(super) fn storage(module: &str, class: &str) -> Option<Encoding> {
    if !matches!(module, "torch" | "torch.cuda" | "torch.storage") {
        return None;
    }
    Some(match class {
        "FloatStorage" => Encoding::F32,
        "HalfStorage" => Encoding::F16,
        "BFloat16Storage" => Encoding::BF16,
        "DoubleStorage" => Encoding::F64,
        "LongStorage" => Encoding::I64,
        "IntStorage" => Encoding::I32,
        "ShortStorage" => Encoding::I16,
        "CharStorage" => Encoding::I8,
        "ByteStorage" | "UntypedStorage" | "_UntypedStorage" => Encoding::U8,
        "BoolStorage" => Encoding::Bool,
        "ComplexFloatStorage" => Encoding::C64,
        "ComplexDoubleStorage" => Encoding::Unknown("c128"),
        "QInt8Storage" => Encoding::Unknown("qint8"),
        "QUInt8Storage" => Encoding::Unknown("quint8"),
        "QInt32Storage" => Encoding::Unknown("qint32"),
        _ => return None,
    })
}

/// A number type by torch's name.
pub(super) fn dtype(name: &str) -> Option<Encoding> {
    Some(match name {
        "float32" | "float" => Encoding::F32,
        "float16" | "half" => Encoding::F16,
        "bfloat16" => Encoding::BF16,
        "float64" | "double" => Encoding::F64,
        "int64" | "long" => Encoding::I64,
        "int32" | "int" => Encoding::I32,
        "int16" | "short" => Encoding::I16,
        "int8" => Encoding::I8,
        "uint8" => Encoding::U8,
        "uint16" => Encoding::U16,
        "uint32" => Encoding::U32,
        "uint64" => Encoding::U64,
        "bool" => Encoding::Bool,
        "complex64" => Encoding::C64,
        "float8_e4m3fn" => Encoding::F8E4M3,
        "float8_e5m2" => Encoding::F8E5M2,
        "float8_e4m3fnuz" => Encoding::F8E4M3Fnuz,
        "float8_e5m2fnuz" => Encoding::F8E5M2Fnuz,
        "float8_e8m0fnu" => Encoding::F8E8M0,
        _ => return None,
    })
}
