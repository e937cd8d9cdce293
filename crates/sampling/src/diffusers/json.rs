//! JSON as Python writes it, and what it takes for true.

use serde_json::Value;

/// Whether Python's `if` takes a value for true.
pub fn truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(on) => *on,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(fields) => !fields.is_empty(),
    }
}

/// JSON without the literals `Infinity`, `-Infinity` and `NaN`, which JSON does not have but Python's writer does:
/// diffusers saves DPM-Solver's `lambda_min_clipped` so. They become strings, which `Fields` reads.
pub(crate) fn quote_infinities(text: &str) -> String {
    let (mut quoted, mut rest, mut in_string) = (String::with_capacity(text.len()), text, false);
    'text: while let Some(next) = rest.chars().next() {
        if !in_string {
            for literal in ["-Infinity", "Infinity", "NaN"] {
                if let Some(after) = rest.strip_prefix(literal) {
                    quoted.extend(["\"", literal, "\""]);
                    rest = after;
                    continue 'text;
                }
            }
        }
        // A quotation mark behind a backslash ends no string.
        let length = if in_string && next == '\\' {
            1 + rest[1..].chars().next().map_or(0, char::len_utf8)
        } else {
            next.len_utf8()
        };
        in_string ^= next == '"';
        quoted.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    quoted
}
