/// Kind, field, values.
pub const VALUES: &[(&str, &str, &[&str])] = &[];
