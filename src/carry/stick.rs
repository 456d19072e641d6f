//! Sticks and shared folders: places somebody has prepared, and how to know that this is one. SPEC §10.10.
//!
//! In: a folder. Out: where bundles lie in it, or why nothing may be read or written there. A place is known by its marker, never by its path:
//! a mount point without its stick, a stranger's stick and a mistyped folder all look like an empty folder (R10.10-c). Not here: what is
//! exchanged there (`node`), who is told.

use crate::ports::disk::{self, Disk, Kind, Open};
use bundle_format::error::Code;
use bundle_format::ids::{from_hex, hex};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// The marker: upper case and 8.3, so that every file system keeps it as it is and a finder opens it with a touch.
pub const MARKER_NAME: &str = "ZBUNDLE.TXT";
/// Where bundles lie on a stick, apart from what else its owner keeps there.
pub const FILES_NAME: &str = "zbundle";
/// A label is read from afar and stands in one line.
pub const LABEL_LEN_MAX: usize = 64;
/// A marker is a page of text; whoever made it longer did not make it with this program.
const MARKER_LEN_MAX: usize = 4096;
/// The folder whose volume is the machine's own.
const ROOT: &str = "/";

/// What a finder reads.
const NOTE_STICK: &str = "\
This stick carries sealed mail of a health service. Nobody but its addressees can read it.\r\n\
Found it? Please bring it to the nearest clinic or hospital. Nothing on it is lost: the sender has a copy.\r\n\
Please do not delete this file or the folder \"zbundle\".\r\n";
const NOTE_FOLDER: &str = "\
This folder carries sealed mail of a health service. Nobody but its addressees can read it.\r\n\
Please do not delete this file: without it nothing is exchanged here.\r\n";

/// What a place is called among programs: drawn once, on its marker.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PlaceId(pub [u8; 8]);

impl fmt::Display for PlaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex(&self.0))
    }
}

/// What sort of place it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceKind {
    /// A medium of its own: it must be mounted to be used.
    Stick,
    /// A folder on any file system, that something else carries.
    Folder,
}

impl PlaceKind {
    /// As the marker and people say it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stick => "stick",
            Self::Folder => "folder",
        }
    }
}

/// What a marker says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marker {
    /// Which place.
    pub id: PlaceId,
    /// What sort.
    pub kind: PlaceKind,
    /// What people call it; anybody who finds it reads that (R10.10-d).
    pub label: String,
}

impl Marker {
    /// The file.
    pub fn to_text(&self) -> String {
        let note = if self.kind == PlaceKind::Stick { NOTE_STICK } else { NOTE_FOLDER };
        format!("zbundle 1 {}\r\nid: {}\r\nlabel: {}\r\n\r\n{note}", self.kind.name(), self.id, self.label)
    }

    /// Read a file (R10.10-a); `None` when it is not a marker of this version.
    pub fn from_text(text: &str) -> Option<Self> {
        let mut lines = text.lines();
        let kind = match lines.next()?.trim_end() {
            "zbundle 1 stick" => PlaceKind::Stick,
            "zbundle 1 folder" => PlaceKind::Folder,
            _ => return None,
        };
        let mut field = |name: &str| lines.next()?.strip_prefix(name).map(|value| value.trim().to_owned());
        let (id, label) = (from_hex(&field("id:")?)?, field("label:")?);
        is_label(&label).then_some(Self { id: PlaceId(id), kind, label })
    }
}

/// Whether `label` can stand on a marker: one short line.
pub fn is_label(label: &str) -> bool {
    let len = label.len();
    (1..=LABEL_LEN_MAX).contains(&len) && label.trim().len() == len && !label.chars().any(char::is_control)
}

/// A prepared place that is really there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// As it was named.
    pub root: PathBuf,
    /// Where bundles are written.
    pub files: PathBuf,
    /// What its marker says.
    pub marker: Marker,
    /// The volume it was on when it was recognised.
    volume: u64,
}

/// Why nothing was read or written in a place.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StickError {
    /// No marker, on a volume of its own or in a folder.
    #[error("{} has no {MARKER_NAME}{}", .path.display(), if *.own_disk { "; it is on this computer's own disk: is the stick mounted?" } else { "" })]
    NotPrepared {
        /// Where.
        path: PathBuf,
        /// Whether it is on the machine's own disk, as an empty mount point is.
        own_disk: bool,
    },
    /// A stick's place on the machine's own disk.
    #[error("{} is on this computer's own disk", .0.display())]
    NotMounted(PathBuf),
    /// A marker of another version, or no text.
    #[error("{}", .0.display())]
    MarkerUnknown(PathBuf),
    /// What bears the name of a stick's folder for bundles leads elsewhere, or is none.
    #[error("{} is no folder of this stick", .0.display())]
    FilesElsewhere(PathBuf),
    /// It has a marker already.
    #[error("{} is \"{label}\"", .path.display())]
    Prepared {
        /// Where.
        path: PathBuf,
        /// What it is called.
        label: String,
    },
    /// The medium lets nobody write.
    #[error("{}", .0.display())]
    ReadOnly(PathBuf),
    /// Another stick, or none, is where this one was.
    #[error("{} is not there any more", .0.display())]
    Gone(PathBuf),
    /// The system's reason.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Where.
        path: PathBuf,
        /// What it said.
        #[source]
        error: io::Error,
    },
}

impl StickError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::NotPrepared { .. } => Code::Z231,
            Self::NotMounted(_) => Code::Z232,
            Self::MarkerUnknown(_) | Self::FilesElsewhere(_) => Code::Z233,
            Self::ReadOnly(_) => Code::Z234,
            Self::Gone(_) => Code::Z237,
            Self::Prepared { .. } => Code::Z238,
            Self::Io { error, .. } if disk::is_denied(error) => Code::Z244,
            Self::Io { error, .. } if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Code::Z203,
            Self::Io { .. } => Code::Z201,
        }
    }

    fn io(path: &Path, error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::ReadOnlyFilesystem {
            return Self::ReadOnly(path.to_owned());
        }
        Self::Io { path: path.to_owned(), error }
    }
}

/// The place at `folder`, if it is one: prepared, and if it is a stick, mounted (R10.10-c).
///
/// # Errors
/// [`StickError`]; nothing was changed then.
pub fn recognise(disk: &dyn Disk, folder: &Path) -> Result<Place, StickError> {
    let missing = disk.look(folder).map_err(|error| StickError::io(folder, error))?.is_none();
    if missing {
        return Err(StickError::io(folder, io::ErrorKind::NotFound.into()));
    }
    let volume = volume(disk, folder)?;
    let own_disk = volume == self::volume(disk, Path::new(ROOT))?;
    match read_marker(disk, folder)? {
        Some(marker) if marker.kind == PlaceKind::Stick && own_disk => Err(StickError::NotMounted(folder.to_owned())),
        Some(marker) => Place::new(folder, marker, volume).readable(disk),
        None => Err(StickError::NotPrepared { path: folder.to_owned(), own_disk }),
    }
}

/// Prepare a place: its marker, and on a stick the folder for bundles; durable when this returns (R10.10-b).
///
/// # Errors
/// [`StickError`].
pub fn prepare(disk: &dyn Disk, folder: &Path, marker: &Marker) -> Result<Place, StickError> {
    let fail = |error| StickError::io(folder, error);
    if disk.look(folder).map_err(fail)?.is_none() {
        match marker.kind {
            PlaceKind::Stick => return Err(fail(io::ErrorKind::NotFound.into())), // it would be made on the machine's own disk
            PlaceKind::Folder => {
                disk.create_folder(folder).map_err(fail)?;
                disk.share_folder(folder, false); // who may write there is for whoever owns it to say
            }
        }
    }
    if marker.kind == PlaceKind::Stick && volume(disk, folder)? == volume(disk, Path::new(ROOT))? {
        return Err(StickError::NotMounted(folder.to_owned()));
    }
    if let Some(there) = read_marker(disk, folder)? {
        return Err(StickError::Prepared { path: folder.to_owned(), label: there.label });
    }
    let place = Place::new(folder, marker.clone(), volume(disk, folder)?);
    place.make_files(disk)?;
    let path = folder.join(MARKER_NAME);
    disk::replace(disk, &path, marker.to_text().as_bytes()).map_err(fail)?;
    disk.open(&path, Open::Read).map_err(fail)?.share();
    disk.sync_volume(folder).map_err(fail)?;
    Ok(place)
}

/// The marker in `folder`; `None` when there is none.
///
/// # Errors
/// [`StickError::MarkerUnknown`] when what bears its name is none.
pub fn read_marker(disk: &dyn Disk, folder: &Path) -> Result<Option<Marker>, StickError> {
    let path = folder.join(MARKER_NAME);
    let unknown = || StickError::MarkerUnknown(path.clone());
    let bytes = match disk::read_small(disk, &path, MARKER_LEN_MAX) {
        Ok(None) => return Ok(None),
        Ok(Some(bytes)) => bytes,
        Err(error) if matches!(error.kind(), io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput) => return Err(unknown()),
        Err(error) => return Err(StickError::io(&path, error)),
    };
    let text = std::str::from_utf8(&bytes).map_err(|_| unknown())?;
    Marker::from_text(text).map(Some).ok_or_else(unknown)
}

fn volume(disk: &dyn Disk, folder: &Path) -> Result<u64, StickError> {
    disk.volume(folder).map_err(|error| StickError::io(folder, error))
}

impl Place {
    fn new(root: &Path, marker: Marker, volume: u64) -> Self {
        let files = if marker.kind == PlaceKind::Stick { root.join(FILES_NAME) } else { root.to_owned() };
        Self { root: root.to_owned(), files, marker, volume }
    }

    /// A folder for bundles that this user may not look into is told (Z244): a search would pass it by as it does a system's own folders.
    fn readable(self, disk: &dyn Disk) -> Result<Self, StickError> {
        self.has_files(disk)?;
        match disk.free_space(&self.files) {
            Err(error) if disk::is_denied(&error) => Err(StickError::io(&self.files, error)),
            _ => Ok(self),
        }
    }

    /// Whether the folder for bundles is there: a real one, where the marker is. Through a link records would go to the machine's own disk, and everybody would
    /// believe they travel (R10.10-c). A shared folder is it itself, as it was named.
    fn has_files(&self, disk: &dyn Disk) -> Result<bool, StickError> {
        let failed = |error| StickError::io(&self.files, error);
        if self.marker.kind == PlaceKind::Folder {
            return Ok(true);
        }
        let Some(entry) = disk.look(&self.files).map_err(failed)? else { return Ok(false) };
        let is_here = entry.kind == Kind::Folder && disk.volume(&self.files).map_err(failed)? == self.volume;
        if is_here { Ok(true) } else { Err(StickError::FilesElsewhere(self.files.clone())) }
    }

    /// Make the folder for bundles again if somebody removed it; a place that can only be read stays as it is.
    ///
    /// # Errors
    /// [`StickError`].
    pub fn make_files(&self, disk: &dyn Disk) -> Result<(), StickError> {
        if self.has_files(disk)? {
            return Ok(());
        }
        match disk.create_folder(&self.files) {
            Ok(()) => disk.share_folder(&self.files, true), // a stick serves everybody it comes by (R10.5-h)
            Err(error) if error.kind() == io::ErrorKind::ReadOnlyFilesystem => {}
            Err(error) => return Err(StickError::io(&self.files, error)),
        }
        Ok(())
    }

    /// That it is still the same place: before anything is written to it and before anybody says "safe". A stick that was pulled leaves its mount
    /// point behind, and what is written there lands on the machine's own disk (R10.10-e).
    ///
    /// # Errors
    /// [`StickError::Gone`] when it is not; [`StickError::FilesElsewhere`].
    pub fn still_there(&self, disk: &dyn Disk) -> Result<(), StickError> {
        let gone = || StickError::Gone(self.root.clone());
        let marker = read_marker(disk, &self.root).ok().flatten().ok_or_else(gone)?;
        let volume = disk.volume(&self.root).map_err(|_| gone())?;
        if marker.id != self.marker.id || volume != self.volume {
            return Err(gone());
        }
        match self.has_files(disk) {
            Err(error @ StickError::FilesElsewhere(_)) => Err(error),
            Err(_) => Err(gone()),
            Ok(_) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ports::memory_disk::MemoryDisk;

    fn marker(kind: PlaceKind) -> Marker {
        Marker { id: PlaceId([7; 8]), kind, label: "ZB-07".to_owned() }
    }

    /// A machine's disk with a stick mounted at `/media/stick`.
    fn disk() -> (MemoryDisk, PathBuf) {
        let (disk, at) = (MemoryDisk::new(), PathBuf::from("/media/stick"));
        disk.create_folder(&at).unwrap();
        disk.mount(&at, 9);
        (disk, at)
    }

    fn code<T: fmt::Debug>(result: Result<T, StickError>) -> Code {
        result.unwrap_err().code()
    }

    /// R10.10-a, R10.10-b, R10.10-d.
    #[test]
    fn a_prepared_stick_is_recognised_and_tells_its_finder_nothing_but_its_id_and_label() {
        let (disk, at) = disk();
        let place = prepare(&disk, &at, &marker(PlaceKind::Stick)).unwrap();
        assert_eq!((recognise(&disk, &at).unwrap(), place.files.clone()), (place.clone(), at.join("zbundle")));
        disk.crash(1);
        assert!(disk.bytes(&at.join(MARKER_NAME)).is_some(), "prepared means durable");
        let text = String::from_utf8(disk.bytes(&at.join(MARKER_NAME)).unwrap()).unwrap();
        assert!(text.starts_with("zbundle 1 stick\r\nid: 0707070707070707\r\nlabel: ZB-07\r\n\r\nThis stick carries sealed mail"), "{text}");
        assert_eq!(Marker::from_text(&text.replace('\r', "")), Some(place.marker), "an editor may change the ends of lines");
        assert_eq!(code(prepare(&disk, &at, &marker(PlaceKind::Stick))), Code::Z238);
    }

    /// R10.10-c.
    #[test]
    fn a_mount_point_without_its_stick_is_refused_and_nothing_is_made_there() {
        let (disk, at) = disk();
        assert_eq!(code(recognise(&disk, &at)), Code::Z231, "a stranger's stick");
        prepare(&disk, &at, &marker(PlaceKind::Stick)).unwrap();
        disk.mount(&at, 0); // the marker was copied to the machine's own disk
        assert_eq!(code(recognise(&disk, &at)), Code::Z232);
        let empty = PathBuf::from("/media/other");
        disk.create_folder(&empty).unwrap();
        assert_eq!(code(recognise(&disk, &empty)), Code::Z231);
        assert_eq!(code(prepare(&disk, &empty, &marker(PlaceKind::Stick))), Code::Z232);
        assert_eq!(code(prepare(&disk, Path::new("/media/none"), &marker(PlaceKind::Stick))), Code::Z201);
        assert!(disk.list(&empty).unwrap().is_empty() && disk.look(Path::new("/media/none")).unwrap().is_none());
    }

    #[test]
    fn a_shared_folder_may_lie_anywhere_and_is_made() {
        let (disk, at) = (MemoryDisk::new(), Path::new("/srv/exchange"));
        let place = prepare(&disk, at, &marker(PlaceKind::Folder)).unwrap();
        assert_eq!((recognise(&disk, at).unwrap().files, place.root.as_path()), (at.to_owned(), at));
    }

    /// R10.10-e: after a stick is pulled its mount point is a folder of the machine's own disk.
    #[test]
    fn a_stick_that_was_pulled_or_changed_is_noticed() {
        let (disk, at) = disk();
        let place = prepare(&disk, &at, &marker(PlaceKind::Stick)).unwrap();
        place.still_there(&disk).unwrap();
        disk.mount(&at, 0);
        assert_eq!(code(place.still_there(&disk)), Code::Z237);
        disk.mount(&at, 9);
        place.still_there(&disk).unwrap();
        disk.edit(&at.join(MARKER_NAME), |bytes| bytes[21] = b'8');
        assert_eq!(code(place.still_there(&disk)), Code::Z237, "another stick on the same volume");
        disk.remove(&at.join(MARKER_NAME)).unwrap();
        assert_eq!(code(place.still_there(&disk)), Code::Z237);
    }

    /// R10.10-c, R10.10-e. A link, which this disk has none of, is told from a folder as a file is; `tests/folders` makes one.
    #[test]
    fn where_bundles_lie_on_a_stick_is_a_folder_of_that_stick() {
        let (disk, at) = disk();
        let place = prepare(&disk, &at, &marker(PlaceKind::Stick)).unwrap();
        disk.mount(&place.files, 0); // something else is mounted there
        assert_eq!([code(recognise(&disk, &at)), code(place.still_there(&disk)), code(place.make_files(&disk))], [Code::Z233; 3]);
        let (disk, at) = self::disk();
        disk.open(&at.join(FILES_NAME), Open::New).unwrap();
        assert_eq!(code(prepare(&disk, &at, &marker(PlaceKind::Stick))), Code::Z233);
        assert!(disk.bytes(&at.join(MARKER_NAME)).is_none(), "it is not prepared then");
    }

    #[test]
    fn what_is_no_marker_is_refused_and_left() {
        let texts = [
            "",
            "zbundle 2 stick\nid: 0707070707070707\nlabel: a",
            "zbundle 1 stick\nid: 07\nlabel: a",
            "zbundle 1 stick\nid: 0707070707070707\nlabel: ",
        ];
        let long = "x".repeat(MARKER_LEN_MAX + 1);
        for text in texts.iter().copied().chain([long.as_str(), "zbundle 1 stick\nid: 0707070707070707\nlabel: \u{1b}[2J"]) {
            let (disk, at) = disk();
            disk.open(&at.join(MARKER_NAME), Open::New).unwrap().write_at(text.as_bytes(), 0).unwrap();
            assert_eq!(code(recognise(&disk, &at)), Code::Z233, "{text:?}");
            assert_eq!(code(prepare(&disk, &at, &marker(PlaceKind::Stick))), Code::Z233, "{text:?}");
        }
    }

    #[test]
    fn a_label_is_one_short_line() {
        for (label, good) in [("ZB-07", true), ("Wangdue road", true), ("", false), (" a", false), ("a\nb", false), ("\u{1b}[2J", false)] {
            assert_eq!(is_label(label), good, "{label:?}");
        }
        assert!(is_label(&"x".repeat(LABEL_LEN_MAX)) && !is_label(&"x".repeat(LABEL_LEN_MAX + 1)));
    }
}
