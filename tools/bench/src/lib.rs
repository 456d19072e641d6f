//! The measuring side of zbundle: realistic events, children and what they cost, tables.
#![allow(clippy::disallowed_methods, reason = "measuring is asking the machine; the ports are for what ships")]

pub mod clinic;
