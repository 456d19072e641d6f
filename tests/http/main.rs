//! The HTTP API, end to end: the real binary in a process, its socket, and requests written by hand.
#![allow(clippy::disallowed_methods, reason = "tests use the disk, the clock and the network they are given")]

mod asking;
mod browser;
mod clients;
mod contract;
mod marked;
mod page;
mod reading;
mod records;
mod rotten;
mod tables;
mod taking;
mod watched;
mod world;
