//! The wire.
pub mod payload;
