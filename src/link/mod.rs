//! The link: TLS and the one async driver of an exchange. SPEC §7.

pub mod drive;
