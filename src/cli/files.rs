//! Small files that people carry by hand (requests, join files), and bundles that come through a pipe.

use super::OsInput;
use super::halt::Halt;
use crate::node::NodeError;
use crate::ports::disk::{self, Open};
use crate::ports::stream::FileWriter;
use crate::ports::{Ports, entropy};
use bundle_format::error::Code;
use bundle_format::ids::hex;
use bundle_format::limits::BUNDLE_LEN_MAX;
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

/// A join file carries the roster: some hundred members.
const SMALL_LEN_MAX: u64 = 4 << 20;
const PIECE_LEN: usize = 64 * 1024;

/// A path that somebody wrote must lead to something: a slip of the hand is no failing disk.
pub fn must_be_there(ports: &Ports, path: &Path) -> Result<(), Halt> {
    let look = ports.disk.look(path).map_err(|error| Halt::from(NodeError::reading(path, error)))?;
    if look.is_some() { Ok(()) } else { Err(Halt::new(Code::Z245, path.to_string_lossy())) }
}

/// Read a small file a person names.
pub fn read_small(ports: &Ports, path: &Path) -> Result<Vec<u8>, Halt> {
    must_be_there(ports, path)?;
    let unreadable = |error| Halt::from(NodeError::reading(path, error));
    let input = OsInput::open(path).map_err(unreadable)?;
    let mut bytes = Vec::new();
    input.take(SMALL_LEN_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > SMALL_LEN_MAX { Err(Halt::new(Code::Z609, path.to_string_lossy())) } else { Ok(bytes) }
}

/// Write a small file to be handed on, where none is, or where the same stands already; parents are made. Everybody may read it: who carries it is somebody
/// else as a rule.
pub fn write_new(ports: &Ports, path: &Path, bytes: &[u8]) -> Result<(), Halt> {
    let unwritable = |error| Halt::from(NodeError::writing(path, error));
    if ports.disk.look(path).map_err(unwritable)?.is_some() {
        let same = disk::read_small(&*ports.disk, path, bytes.len()).ok().flatten().is_some_and(|there| there == bytes);
        return if same { Ok(()) } else { Err(Halt::new(Code::Z109, path.to_string_lossy())) };
    }
    if let Some(folder) = path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        ports.disk.create_folder(folder).map_err(unwritable)?;
    }
    disk::replace(&*ports.disk, path, bytes).map_err(unwritable)?;
    ports.disk.open(path, Open::Read).map_err(unwritable)?.share();
    Ok(())
}

/// Whether a small file can be written where none is: for who must not find out later.
pub fn try_new(ports: &Ports, path: &Path) -> Result<(), Halt> {
    let unwritable = |error| Halt::from(NodeError::writing(path, error));
    if ports.disk.look(path).map_err(unwritable)?.is_some() {
        return Err(Halt::new(Code::Z109, path.to_string_lossy()));
    }
    let mut tried = path.as_os_str().to_owned();
    tried.push(".tmp");
    write_new(ports, Path::new(&tried), b"").and_then(|()| ports.disk.remove(Path::new(&tried)).map_err(unwritable))
}

/// Set standard input down in `folder`, to be read twice; the caller removes it.
pub fn spool_stdin(ports: &Ports, folder: &Path) -> Result<PathBuf, Halt> {
    let path = folder.join(format!(".incoming-{}.tmp", hex(&entropy::random::<8>(&*ports.entropy))));
    let unwritable = |error| Halt::from(NodeError::writing(&path, error));
    let unreadable = |error| Halt::new(Code::Z201, format!("standard input: {error}"));
    let mut input = OsInput::stdin().map_err(unreadable)?.take(BUNDLE_LEN_MAX + 1);
    let mut writer = FileWriter::new(ports.disk.open(&path, Open::New).map_err(unwritable)?);
    let mut piece = vec![0; PIECE_LEN];
    let mut copy = || loop {
        match input.read(&mut piece).map_err(unreadable)? {
            0 => return Ok(()),
            read => writer.write_all(&piece[..read]).map_err(unwritable)?,
        }
    };
    let copied = copy().and_then(|()| writer.finish().map_err(unwritable));
    if copied.is_err() {
        ports.disk.remove(&path).unwrap_or(()); // the first error is the one to tell
    }
    copied.map(|_| path)
}
