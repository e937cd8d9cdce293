/// Field and values.
pub const VALUES: &[(&str, &[&str])] = &[];
/// Field and value.
pub const READ_HERE: &[(&str, &str)] = &[];
