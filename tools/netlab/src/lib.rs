//! Bad links for tests.
#![allow(clippy::disallowed_methods, reason = "a builder's tool talks to the machine directly; the ports are for what ships")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures of a link, far below 2^52")]

pub mod proxy;
