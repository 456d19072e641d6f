//! The measuring side of zbundle: realistic events, what a child process costs, what the machine allows, and the table of it all.
//!
//! Rules of measuring: the real program as a child process, never our code in this one; ratios within one run rather than figures
//! across machines; bytes exact; what was not measured is said in the table.
#![allow(clippy::disallowed_methods, reason = "measuring is asking the machine; the ports are for what ships")]
#![allow(clippy::cast_precision_loss, clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "figures for a table, far below 2^52")]

pub mod benches;
pub mod clinic;
pub mod codec;
pub mod http;
pub mod link;
pub mod machine;
pub mod measure;
pub mod project;
pub mod report;
pub mod stick;
pub mod store;
pub mod walk;

/// Why a bench did not finish.
pub type Failure = Box<dyn std::error::Error>;
