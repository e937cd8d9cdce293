//! Kernels that watch their indices: each of them does, at every index into what is bound.

use calotype_shaders::{VARIANTS, Variant};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Expression, Function, Module};

/// How many indices into bound arrays a function has, all but those of `strays`; an error where one is not looked at.
fn indices(module: &Module, function: &Function) -> Result<usize, String> {
    let mut count = 0;
    for (_, expression) in function.expressions.iter() {
        let (Expression::Access { base, .. } | Expression::AccessIndex { base, .. }) = *expression else {
            continue;
        };
        let Expression::GlobalVariable(global) = function.expressions[base] else { continue };
        let global = &module.global_variables[global];
        let name = global.name.as_deref().unwrap_or_default();
        if !matches!(global.space, AddressSpace::Storage { .. }) || name == "strays" {
            continue;
        }
        let Expression::Access { index, .. } = *expression else {
            return Err(format!("{name} by a constant"));
        };
        match function.expressions[index] {
            Expression::CallResult(f) if module.functions[f].name.as_deref() == Some("watch") => count += 1,
            ref other => return Err(format!("{name} by {other:?}")),
        }
    }
    Ok(count)
}

fn check(variant: &Variant) -> Result<(), String> {
    let text = variant.watched();
    let module = naga::front::wgsl::parse_str(&text).map_err(|e| e.emit_to_string(&text))?;
    Validator::new(ValidationFlags::all(), Capabilities::all())
        .validate(&module)
        .map_err(|e| e.emit_to_string(&text))?;
    let functions =
        module.functions.iter().map(|(_, f)| f).chain(module.entry_points.iter().map(|e| &e.function));
    let count: usize = functions.map(|f| indices(&module, f)).sum::<Result<_, _>>()?;
    if count > 0 { Ok(()) } else { Err("no index at all".into()) }
}

#[test]
fn every_index_into_what_is_bound_is_looked_at() {
    let failed: Vec<String> =
        VARIANTS.iter().filter_map(|v| Some(format!("{}: {}", v.label(), check(v).err()?))).collect();
    assert!(failed.is_empty(), "{} of {}\n{}", failed.len(), VARIANTS.len(), failed.join("\n"));
}
