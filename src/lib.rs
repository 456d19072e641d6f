#![doc = include_str!("ARCHITECTURE.md")]

pub mod adapters;
pub mod carry;
pub mod cli;
pub mod cut;
pub mod hub;
pub mod ingest;
pub mod keys;
pub mod link;
pub mod node;
pub mod ports;
pub mod project;
pub mod push;
pub mod wal;
