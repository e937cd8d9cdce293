/// Kind and field.
pub const FIELDS: &[(&str, &str)] = &[];
