//! A row of the table as its name: what a forwarded command tells goes through text.

use bundle_format::error::Code;
use serde::{Deserialize as _, Deserializer, Serializer};

pub fn serialize<S: Serializer>(code: &Code, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(code.as_str())
}

pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Code, D::Error> {
    let name = String::deserialize(deserializer)?;
    Code::from_name(&name).ok_or_else(|| serde::de::Error::custom("no row of that name"))
}
