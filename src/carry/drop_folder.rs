//! Publishing into a folder. SPEC §10.5.

use crate::ports::disk::{Disk, DiskFile, Open};
use bundle_format::error::Code;
use std::io;
use std::path::{Path, PathBuf};

/// How a file being written is marked; never a candidate, swept by the next publisher.
const TEMPORARY_SUFFIX: &str = ".zb.part";

/// So many temporaries of others are passed by before we give up.
const OTHERS_MAX: u32 = 9;

/// Why a bundle is not safely in the folder.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PublishError {
    /// The disk said no.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
    /// What was read back is not what was written.
    #[error("{}: what was read back differs from what was written", .path.display())]
    ReadBack {
        /// Where.
        path: PathBuf,
    },
}

impl PublishError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::Io { error, .. } if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Code::Z203,
            Self::Io { .. } => Code::Z202,
            Self::ReadBack { .. } => Code::Z214,
        }
    }
}

/// A file being written under a temporary name; removed again unless it is published.
pub struct Draft<'a> {
    disk: &'a dyn Disk,
    folder: PathBuf,
    path: PathBuf,
    published: bool,
}

impl<'a> Draft<'a> {
    /// Begin a file in `folder`, which must be there: where a stick was pulled, nothing is made in its place (R10.10-e). `stem` names the temporary; one
    /// left by a power cut is swept, and one that another user left is passed by (R10.5-h).
    ///
    /// # Errors
    /// [`PublishError::Io`].
    pub fn begin(disk: &'a dyn Disk, folder: &Path, stem: &str) -> Result<(Self, Box<dyn DiskFile>), PublishError> {
        let mut other = 0;
        loop {
            let more = if other == 0 { String::new() } else { format!("-{other}") };
            let path = folder.join(format!(".{stem}{more}{TEMPORARY_SUFFIX}"));
            let begun = (|| {
                if disk.look(&path)?.is_some() {
                    disk.remove(&path)?;
                }
                disk.open(&path, Open::New)
            })();
            match begun {
                Ok(file) => return Ok((Self { disk, folder: folder.to_owned(), path, published: false }, file)),
                Err(error) if error.kind() == io::ErrorKind::PermissionDenied && other < OTHERS_MAX => other += 1,
                Err(error) => return Err(PublishError::Io { path, error }),
            }
        }
    }

    /// Give the written and synced file its final name, after `proof` has re-read it from the medium: drop the cache, verify, rename, sync the
    /// folder, sync the volume. Only then may anyone say "safe" (R10.5-b).
    ///
    /// # Errors
    /// [`PublishError`]; the temporary is removed then.
    pub fn publish(mut self, name: &str, proof: &dyn Fn(Box<dyn DiskFile>) -> bool) -> Result<PathBuf, PublishError> {
        let path = self.folder.join(name);
        let named = |error| PublishError::Io { path: path.clone(), error };
        let file = self.disk.open(&self.path, Open::Read).map_err(named)?;
        file.share(); // sealed: whoever carries it must be able to copy it (R10.5-h)
        file.drop_cache().map_err(named)?;
        if !proof(file) {
            return Err(PublishError::ReadBack { path });
        }
        self.disk.rename(&self.path, &path).map_err(named)?;
        self.published = true;
        self.disk.sync_folder(&self.folder).map_err(named)?;
        self.disk.sync_volume(&self.folder).map_err(named)?;
        Ok(path)
    }
}

impl Drop for Draft<'_> {
    fn drop(&mut self) {
        if !self.published {
            self.disk.remove(&self.path).unwrap_or(()); // the error that brought us here is the one to tell
        }
    }
}
