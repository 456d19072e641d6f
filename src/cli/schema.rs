//! `--schema FILE`, of `push` and `serve`.

use super::Context;
use super::escape::plain_path;
use super::halt::Halt;
use crate::ports::disk::read_small;
use crate::push::schema::{SCHEMA_LEN_MAX, Schema};
use bundle_format::error::Code;
use std::path::Path;

/// The schema in `file`, if one is named.
pub fn read(context: &Context, file: Option<&Path>) -> Result<Option<Schema>, Halt> {
    let Some(file) = file else { return Ok(None) };
    let failed = |error: String| Halt::new(Code::Z201, format!("{}: {error}", plain_path(file)));
    let text = read_small(&*context.ports.disk, file, SCHEMA_LEN_MAX).map_err(|error| failed(error.to_string()))?;
    let text = text.ok_or_else(|| failed("it is not there".to_owned()))?;
    let schema = Schema::compile(&text).map_err(|error| Halt::new(error.code(), format!("{}: {error}", plain_path(file))))?;
    Ok(Some(schema))
}
