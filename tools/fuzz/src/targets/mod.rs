//! The targets, by what they open.

pub mod bundle;
pub mod carry;
pub mod doors;
pub mod exchange;
pub mod format;
mod json;
pub mod roster;
pub mod secrets;
pub mod segment;
pub mod text;
