//! The programs that came first, by the names that their users know.

pub mod keras;
