#![doc = include_str!("ARCHITECTURE.md")]

pub mod adapters;
pub mod keys;
pub mod ports;
pub mod wal;
