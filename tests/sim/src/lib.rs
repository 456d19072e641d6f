//! The deterministic simulator: the real rooms on a fake world.
//!
//! In: a seed. Out: nothing, or a sentence that says which promise was broken, with the shortest list of steps that breaks it.
//! Invariants: one seed is one life, on one thread, and is the same life whenever it is lived again; the product's own code runs unchanged, through its
//! ports; the model that judges it knows nothing of bundles, segments or sessions. Not here: what a real disk or a real line does (`tests/it`, `tests/link`).
#![allow(clippy::missing_panics_doc, reason = "a simulator that cannot go on is a test that fails")]

pub mod base;
pub mod cards;
pub mod carrying;
pub mod coverage;
pub mod disk;
pub mod finale;
pub mod hostile;
pub mod liar;
pub mod life;
pub mod luck;
pub mod meeting;
pub mod model;
pub mod nonces;
pub mod places;
pub mod plan;
pub mod pushing;
pub mod reading;
pub mod roster;
pub mod rotting;
pub mod station;
pub mod tables;
pub mod wire;
pub mod world;
