//! What locks the keyring: a key file that lies outside the data directory, or a passphrase. SPEC §8.6.

use crate::ports::disk::{self, Disk, replace};
use crate::ports::entropy::{Entropy, random};
use bundle_format::cbor::{Bytes, CborError, Reader};
use bundle_format::error::Code;
use bundle_format::ids::{from_hex, hex};
use serde::ser::{Serialize, Serializer};
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Largest key file: one line of hexadecimal, and room for a person's comments.
const KEY_FILE_LEN_MAX: usize = 4096;
/// First word of the line that holds the key.
const KEY_FILE_WORD: &str = "zbundle-key-1";

/// Argon2id for new passphrases: 19 MiB, 2 passes, 1 lane (OWASP's second choice), not 64 MiB and 3 passes: every command of a cron job pays
/// it, and on a Pi with 512 MB beside a database 64 MiB may not be there when the clinic needs it. Stored, so that it can grow.
const NEW_COST: (u32, u32) = (19 * 1024, 2);
/// The costs are read before they can be authenticated; a forged file must not eat the machine.
const MEMORY_KIB_MAX: u32 = 256 * 1024;
const PASSES_MAX: u32 = 16;

/// Why the keyring was not opened, made or saved.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeysError {
    /// The key file is not there.
    #[error("no key file at {}", .0.display())]
    NoKeyFile(PathBuf),
    /// The key file is there and no key can be taken from it, or others can read it.
    #[error("{}: {why}", .path.display())]
    BadKeyFile {
        /// Where.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// An empty passphrase locks nothing.
    #[error("the passphrase is empty")]
    EmptyPassphrase,
    /// Another key or passphrase made this keyring, or it was tampered with.
    #[error("the key or passphrase does not open the keyring")]
    WrongKey,
    /// A key file was given and the keyring wants a passphrase, or the other way round.
    #[error("the keyring is locked by a {wanted}")]
    WrongKind {
        /// What it wants.
        wanted: &'static str,
    },
    /// The keyring was written by another version.
    #[error("the keyring is of version {0}")]
    Version(u64),
    /// The keyring's bytes are damaged: no key could open it.
    #[error("{} is damaged", .0.display())]
    Damaged(PathBuf),
    /// No keyring where one must be.
    #[error("no keyring at {}", .0.display())]
    NoKeyring(PathBuf),
    /// The disk said no.
    #[error("{doing} {}: {error}", .path.display())]
    Io {
        /// What we were doing.
        doing: &'static str,
        /// With which file.
        path: PathBuf,
        /// The system's reason.
        #[source]
        error: io::Error,
    },
    /// A join file names keys this node does not hold.
    #[error("the keys in the roster are not this node's")]
    ForeignKeys,
    /// The node belongs to a domain already.
    #[error("the node has joined another domain already")]
    Joined,
}

impl KeysError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        match self {
            Self::WrongKey | Self::WrongKind { .. } => Code::Z601,
            Self::NoKeyFile(_) => Code::Z602,
            Self::BadKeyFile { .. } | Self::EmptyPassphrase => Code::Z603,
            Self::Version(_) => Code::Z105,
            Self::Damaged(_) => Code::Z307,
            Self::NoKeyring(_) => Code::Z102,
            Self::Io { error, .. } if matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded) => Code::Z203,
            Self::Io { doing, .. } if *doing == READING => Code::Z201,
            Self::Io { .. } => Code::Z202,
            Self::ForeignKeys => Code::Z606,
            Self::Joined => Code::Z618,
        }
    }
}

const READING: &str = "reading";
const WRITING: &str = "writing";

pub(super) fn reading(path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    move |error| KeysError::Io { doing: READING, path: path.to_owned(), error }
}

pub(super) fn writing(path: &Path) -> impl FnOnce(io::Error) -> KeysError {
    move |error| KeysError::Io { doing: WRITING, path: path.to_owned(), error }
}

/// What a person gives to open a keyring.
pub enum Secret {
    /// The 32 bytes of a key file.
    Key(Zeroizing<[u8; 32]>),
    /// A passphrase, as typed.
    Passphrase(Zeroizing<Vec<u8>>),
    /// What a passphrase was stretched to before: a process that opens its keyring again and again neither pays each time nor keeps the words.
    Stretched(Lock),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Key(_) => "Secret::Key(…)",
            Self::Passphrase(_) => "Secret::Passphrase(…)",
            Self::Stretched(_) => "Secret::Stretched(…)",
        })
    }
}

impl Secret {
    /// A passphrase; the caller has taken off the line's end.
    ///
    /// # Errors
    /// [`KeysError::EmptyPassphrase`].
    pub fn passphrase(text: Vec<u8>) -> Result<Self, KeysError> {
        if text.is_empty() { Err(KeysError::EmptyPassphrase) } else { Ok(Self::Passphrase(Zeroizing::new(text))) }
    }

    /// The same secret for the keyring that `lock` locks.
    #[must_use]
    pub fn stretched(self, lock: &Lock) -> Self {
        match self {
            Self::Passphrase(_) => Self::Stretched(lock.clone()),
            secret => secret,
        }
    }

    /// Where the key file of `data_dir` lies unless the user says otherwise: beside it, `<data-dir>.key`.
    pub fn default_key_file(data_dir: &Path) -> PathBuf {
        let mut name = data_dir.components().as_path().as_os_str().to_owned(); // without a trailing slash
        name.push(".key");
        PathBuf::from(name)
    }

    /// Read a key file (R8.6-d).
    ///
    /// # Errors
    /// [`KeysError::NoKeyFile`], [`KeysError::BadKeyFile`], [`KeysError::Io`].
    pub fn read_key_file(disk: &dyn Disk, path: &Path) -> Result<Self, KeysError> {
        let bad = |why: &str| KeysError::BadKeyFile { path: path.to_owned(), why: why.to_owned() };
        let text = match disk::read_small(disk, path, KEY_FILE_LEN_MAX) {
            Ok(Some(bytes)) => Zeroizing::new(bytes),
            Ok(None) => return Err(KeysError::NoKeyFile(path.to_owned())),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => return Err(bad("too long to be a key file")),
            Err(error) => return Err(reading(path)(error)),
        };
        if let Some(fault) = disk.privacy(path).map_err(reading(path))?.fault() {
            return Err(bad(&fault));
        }
        let text = std::str::from_utf8(&text).map_err(|_| bad("not a text"))?;
        let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
        let [line] = lines.collect::<Vec<_>>()[..] else { return Err(bad("it must hold one line with the key")) };
        let digits = line.strip_prefix(KEY_FILE_WORD).map(str::trim_start).ok_or_else(|| bad("it does not hold a zbundle key"))?;
        let key = from_hex::<32>(digits).ok_or_else(|| bad("its key is not 64 hexadecimal digits"))?;
        Ok(Self::Key(Zeroizing::new(key)))
    }

    /// Make a key file with a new key; one that is there already is read, never replaced.
    ///
    /// # Errors
    /// See [`Secret::read_key_file`].
    pub fn make_key_file(disk: &dyn Disk, path: &Path, entropy: &dyn Entropy) -> Result<Self, KeysError> {
        if disk.look(path).map_err(reading(path))?.is_some() {
            return Self::read_key_file(disk, path);
        }
        let key = Zeroizing::new(random::<32>(entropy));
        let digits = Zeroizing::new(hex(&*key));
        let text = Zeroizing::new(format!(
            "# Key of a zbundle node. Without it the node cannot be opened: keep a copy away from this computer, and show it to nobody.\n\
             {KEY_FILE_WORD} {}\n",
            *digits
        ));
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        // Whole or not there: half a key file would be in the way of every later try.
        let write = || disk.create_folder(folder).and_then(|()| replace(disk, path, text.as_bytes()));
        write().map_err(writing(path))?;
        Ok(Self::Key(key))
    }
}

/// How the key under the keyring is found, as the keyring says in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    KeyFile,
    Passphrase { cost: (u32, u32), salt: [u8; 16] },
}

impl Serialize for Kind {
    /// `[0] / [1, memory KiB, passes, salt: bstr .size 16]`.
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::KeyFile => [0u8].serialize(serializer),
            Self::Passphrase { cost: (memory_kib, passes), salt } => (1u8, memory_kib, passes, Bytes(salt)).serialize(serializer),
        }
    }
}

impl Kind {
    pub(super) fn read(reader: &mut Reader<'_>) -> Result<Self, CborError> {
        let count = reader.array()?;
        match (count, reader.uint()?) {
            (1, 0) => Ok(Self::KeyFile),
            (4, 1) => {
                let mut bounded = |max: u32| u32::try_from(reader.uint()?).ok().filter(|n| (1..=max).contains(n)).ok_or(CborError::Shape);
                let cost = (bounded(MEMORY_KIB_MAX)?, bounded(PASSES_MAX)?);
                Ok(Self::Passphrase { cost, salt: reader.bytes_exact()? })
            }
            _ => Err(CborError::Shape),
        }
    }
}

/// The opened lock: the key that wraps keyrings, kept while the node runs so that a passphrase is stretched once. Wiped when dropped.
#[derive(Clone)]
pub struct Lock {
    pub(super) kind: Kind,
    pub(super) key: Zeroizing<[u8; 32]>,
}

impl fmt::Debug for Lock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Lock(…)")
    }
}

impl Lock {
    /// What opens it again without the words, where it was made of a passphrase.
    pub fn stretched(&self) -> Option<Secret> {
        matches!(self.kind, Kind::Passphrase { .. }).then(|| Secret::Stretched(self.clone()))
    }

    /// A lock for a new keyring, or a new lock for an old one.
    pub fn new(secret: &Secret, entropy: &dyn Entropy) -> Self {
        let kind = match secret {
            Secret::Key(_) => Kind::KeyFile,
            Secret::Passphrase(_) => Kind::Passphrase { cost: NEW_COST, salt: random(entropy) },
            Secret::Stretched(lock) => lock.kind.clone(),
        };
        Self::open(kind, secret).unwrap_or_else(|_| unreachable!("the kind was made from the secret, its cost is a constant"))
    }

    /// Whether the key comes from a passphrase.
    pub fn is_passphrase(&self) -> bool {
        matches!(self.kind, Kind::Passphrase { .. })
    }

    pub(super) fn open(kind: Kind, secret: &Secret) -> Result<Self, KeysError> {
        let key = match (&kind, secret) {
            (Kind::KeyFile, Secret::Key(key)) => key.clone(),
            (Kind::Passphrase { cost, salt }, Secret::Passphrase(text)) => stretch(*cost, salt, text).ok_or(KeysError::WrongKey)?,
            (kind, Secret::Stretched(lock)) if lock.kind == *kind => lock.key.clone(),
            (Kind::Passphrase { .. }, Secret::Stretched(_)) => return Err(KeysError::WrongKey),
            (Kind::KeyFile, Secret::Passphrase(_) | Secret::Stretched(_)) => return Err(KeysError::WrongKind { wanted: "key file" }),
            (Kind::Passphrase { .. }, Secret::Key(_)) => return Err(KeysError::WrongKind { wanted: "passphrase" }),
        };
        Ok(Self { kind, key })
    }
}

fn stretch((memory_kib, passes): (u32, u32), salt: &[u8; 16], text: &[u8]) -> Option<Zeroizing<[u8; 32]>> {
    let params = argon2::Params::new(memory_kib, passes, 1, Some(32)).ok()?;
    let argon = argon2::Argon2::new(argon2::Algorithm::Argon2id, argon2::Version::V0x13, params);
    let mut key = Zeroizing::new([0; 32]);
    argon.hash_password_into(text, salt, &mut *key).ok()?;
    Some(key)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixture_disk::SmallDisk;
    use crate::ports::entropy::SeededEntropy;
    use std::cell::Cell;

    fn path() -> &'static Path {
        Path::new("/etc/zbundle/node.key")
    }

    fn made() -> SmallDisk {
        let disk = SmallDisk::default();
        Secret::make_key_file(&disk, path(), &SeededEntropy(Cell::new(3))).unwrap();
        disk
    }

    fn bytes(secret: &Secret) -> [u8; 32] {
        match secret {
            Secret::Key(key) => **key,
            _ => panic!("a key file gives a key"),
        }
    }

    #[test]
    fn a_key_file_is_made_once_and_read_ever_after() {
        let disk = made();
        let first = bytes(&Secret::read_key_file(&disk, path()).unwrap());
        let again = Secret::make_key_file(&disk, path(), &SeededEntropy(Cell::new(4))).unwrap();
        assert_eq!(bytes(&again), first, "a key file that is there is used, never replaced");
    }

    #[test]
    fn what_is_no_usable_key_file_is_refused_with_its_code() {
        assert_eq!(Secret::read_key_file(&SmallDisk::default(), path()).unwrap_err().code(), Code::Z602);
        let shared = made();
        shared.shared_with_others.set(true);
        assert_eq!(Secret::read_key_file(&shared, path()).unwrap_err().code(), Code::Z603);
        let digits = "ab".repeat(32);
        let cases = [
            (String::new(), false),
            (format!("{KEY_FILE_WORD} {digits}"), true),
            (format!("# mine\r\n\r\n  {KEY_FILE_WORD}   {digits}  \r\n"), true),
            (format!("{KEY_FILE_WORD} {}", &digits[2..]), false),
            (format!("{KEY_FILE_WORD} {digits}00"), false),
            (format!("{KEY_FILE_WORD} {}", digits.to_uppercase()), false),
            (format!("{KEY_FILE_WORD} {digits}\n{KEY_FILE_WORD} {digits}"), false),
            (digits.clone(), false),
            (format!("zbundle-key-2 {digits}"), false),
            ("#".repeat(KEY_FILE_LEN_MAX + 1), false),
        ];
        for (text, good) in cases {
            let disk = made();
            disk.files.borrow_mut().insert(path().into(), text.clone().into_bytes());
            match Secret::read_key_file(&disk, path()) {
                Ok(secret) => assert!(good && bytes(&secret) == [0xab; 32], "{text:?}"),
                Err(error) => {
                    assert!(!good && error.code() == Code::Z603, "{text:?}: {error}");
                    assert!(!error.to_string().contains(&digits[..8]), "no part of a key is ever told");
                }
            }
        }
    }

    #[test]
    fn the_key_file_lies_beside_the_data_directory() {
        for data_dir in ["/var/lib/zbundle", "/var/lib/zbundle/"] {
            assert_eq!(Secret::default_key_file(Path::new(data_dir)), Path::new("/var/lib/zbundle.key"));
        }
    }

    #[test]
    fn a_passphrase_locks_as_argon2id_says_and_an_empty_one_does_not() {
        assert!(matches!(Secret::passphrase(vec![]), Err(KeysError::EmptyPassphrase)));
        let lock = Lock::open(Kind::Passphrase { cost: (64, 2), salt: [1; 16] }, &Secret::passphrase(b"hush".to_vec()).unwrap()).unwrap();
        assert_eq!(hex(&*lock.key), "dea7c9b9c92230a39a8eaf5ba3b63e7facc04a75f081b801b6b035f97f3edf02");
    }

    #[test]
    fn a_forged_cost_cannot_eat_the_machine() {
        for (memory_kib, passes, good) in
            [(19 * 1024, 2, true), (MEMORY_KIB_MAX, PASSES_MAX, true), (MEMORY_KIB_MAX + 1, 2, false), (8, PASSES_MAX + 1, false), (0, 1, false)]
        {
            let bytes = bundle_format::cbor::to_vec(&Kind::Passphrase { cost: (memory_kib, passes), salt: [0; 16] });
            assert_eq!(Kind::read(&mut Reader::new(&bytes)).is_ok(), good, "{memory_kib} KiB, {passes} passes");
        }
    }
}
