//! Who may write into a data directory: the user whose node it is, and of that user's processes one at a time. SPEC §10.2.

use super::NodeError;
use super::layout::Layout;
use crate::ports::{Lock, Ports};
use bundle_format::error::Code;

/// R10.2-a: one process writes.
pub(super) fn take_lock(ports: &Ports, layout: &Layout, wait_ms: u64) -> Result<Box<dyn Lock>, NodeError> {
    require_owner(ports, layout)?;
    let lock = ports.disk.lock(&layout.lock(), wait_ms).map_err(|error| NodeError::writing(&layout.lock(), error))?;
    lock.ok_or_else(|| NodeError::refused(Code::Z104, layout.root().display().to_string()))
}

/// R10.2-k: what we make must be for the user whose node this is. Root is stopped by no rights, and its files stop everybody else.
///
/// # Errors
/// Z112 where it would not be.
pub fn require_owner(ports: &Ports, layout: &Layout) -> Result<(), NodeError> {
    let keyring = layout.keyring();
    let owner = ports.disk.foreign_owner(&keyring).map_err(|error| NodeError::reading(&keyring, error))?;
    let Some(owner) = owner else { return Ok(()) };
    let why = format!("{} belongs to the user with the number {owner}: sudo -u '#{owner}' zbundle …", layout.root().display());
    Err(NodeError::refused(Code::Z112, why))
}
