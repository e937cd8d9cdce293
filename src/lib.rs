//! calotype
