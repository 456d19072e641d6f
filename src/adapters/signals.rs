//! When the machine or a person asks the process to end.

use std::io;
use tokio::signal::unix::{SignalKind, signal};

/// Return when TERM or INT has come, as often as it is called.
///
/// # Errors
/// When the system lets nobody listen for signals.
pub async fn asked_to_end() -> io::Result<()> {
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        _ = terminate.recv() => {}
        _ = interrupt.recv() => {}
    }
    Ok(())
}
