//! The keyring: what a node is, at rest. SPEC §8.6.
//!
//! `["zbundle/1 keyring", version, lock, salt: bstr .size 32, sealed: bstr]` and a CRC-32 of it, big-endian. `sealed` is a deterministic CBOR map
//! under ChaCha20-Poly1305: key = HKDF-SHA256(salt, the lock's key, "zbundle/1 keyring"), nonce zero (the salt is fresh for each write), associated
//! data = all before it. The CRC tells rot from a wrong key. Every save replaces the whole file; a refused open writes nothing.

use super::lock::{KeysError, Kind, Lock, Secret, reading, writing};
use super::member::Pin;
use super::roster::Roster;
use super::secrets::{DataKeys, NodeKeys};
use crate::ports::disk::{self, Disk};
use crate::ports::entropy::{Entropy, random};
use bundle_format::cbor::{self, Bytes, CborError, Keys, Reader};
use bundle_format::ids::{Incarnation, Name, NodeId};
use bundle_format::seal::SealingKey;
use bundle_format::sign::{SigningKey, VerifyingKey};
use chacha20poly1305::aead::{Aead as _, KeyInit as _, Payload};
use chacha20poly1305::{ChaCha20Poly1305, Key, Nonce};
use serde::ser::{Serialize, SerializeMap as _, Serializer};
use sha2::Sha256;
use std::io::ErrorKind;
use std::path::Path;
use zeroize::Zeroizing;

const TITLE: &str = "zbundle/1 keyring";
const VERSION: u64 = 1;
/// A keyring with some thousand key pairs; ours hold a few.
const KEYRING_LEN_MAX: usize = 256 * 1024;

/// What a join gives a node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joined {
    /// The member it is now.
    pub node: NodeId,
    /// Its name in the roster.
    pub name: Name,
    /// The number of its keys.
    pub key_number: u64,
    /// The domain.
    pub pin: Pin,
}

/// A node's name, keys and lives.
#[derive(Debug)]
pub struct Keyring {
    name: Name,
    node: NodeId,
    keys: Vec<NodeKeys>,
    pending: Option<NodeKeys>,
    data_keys: DataKeys,
    incarnation: Incarnation,
    earlier: Vec<Incarnation>,
    pin: Option<Pin>,
}

impl Keyring {
    /// A new node that has not joined.
    pub fn generate(name: Name, entropy: &dyn Entropy) -> Self {
        let keys = NodeKeys::generate(1, entropy);
        Self {
            name,
            node: keys.signing.verifying_key().node_id(),
            keys: vec![keys],
            pending: None,
            data_keys: DataKeys::generate(entropy),
            incarnation: Incarnation(random(entropy)),
            earlier: Vec::new(),
            pin: None,
        }
    }

    /// A new node that is the authority of its own new domain.
    pub fn generate_authority(name: Name, entropy: &dyn Entropy) -> Self {
        let mut keyring = Self::generate(name, entropy);
        let authority_key = keyring.current().signing.verifying_key();
        keyring.pin = Some(Pin { authority_key, incarnation: keyring.incarnation });
        keyring
    }

    /// The node's name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The node's id.
    pub fn node(&self) -> NodeId {
        self.node
    }

    /// The domain it has joined.
    pub fn pin(&self) -> Option<&Pin> {
        self.pin.as_ref()
    }

    /// Whether it is its domain's authority.
    pub fn is_authority(&self) -> bool {
        self.pin.is_some_and(|pin| pin.node() == self.node)
    }

    /// Its present keys.
    ///
    /// # Panics
    /// Never: a keyring without keys is not made or read.
    pub fn current(&self) -> &NodeKeys {
        self.keys.last().expect("generate makes one and read refuses none")
    }

    /// Its keys of this number, present or outgoing.
    pub fn keys(&self, number: u64) -> Option<&NodeKeys> {
        self.keys.iter().find(|keys| keys.number == number)
    }

    /// All sealing keys something may still be sealed to: present, outgoing, then asked for (R8.6-b).
    pub fn sealing_keys(&self) -> Vec<SealingKey> {
        self.keys.iter().rev().chain(&self.pending).map(|keys| keys.sealing.clone()).collect()
    }

    /// Its present signing key and the number of it.
    pub fn signing(&self) -> (&SigningKey, u64) {
        (&self.current().signing, self.current().number)
    }

    /// What names of our bundles are made with: the present data key.
    pub fn name_key(&self) -> &[u8; 32] {
        self.data_keys.current().1
    }

    /// Keys asked for and not yet in the roster.
    pub fn pending(&self) -> Option<&NodeKeys> {
        self.pending.as_ref()
    }

    /// Keys of the data at rest.
    pub fn data_keys(&self) -> &DataKeys {
        &self.data_keys
    }

    /// Use a new data key from now on; the caller saves.
    pub fn add_data_key(&mut self, entropy: &dyn Entropy) -> u32 {
        self.data_keys.add(entropy)
    }

    /// The life it writes in.
    pub fn incarnation(&self) -> Incarnation {
        self.incarnation
    }

    /// Its lives before, oldest first.
    pub fn earlier_incarnations(&self) -> &[Incarnation] {
        &self.earlier
    }

    /// Begin a new life, because a part of the past is lost; the caller saves before anything is written in it.
    ///
    /// # Panics
    /// When the generator of random bytes is dead: it must not reuse a life.
    pub fn begin_incarnation(&mut self, entropy: &dyn Entropy) -> Incarnation {
        let drawn = std::iter::repeat_with(|| Incarnation(random(entropy)));
        let fresh = drawn.take(64).find(|new| *new != self.incarnation && !self.earlier.contains(new));
        let fresh = fresh.expect("64 draws of 4 random bytes do not all repeat");
        self.earlier.push(std::mem::replace(&mut self.incarnation, fresh));
        fresh
    }

    /// Make new keys to ask for; asked for again they stay the same, so that a request can be made twice. The caller saves.
    pub fn prepare_rekey(&mut self, entropy: &dyn Entropy) -> &NodeKeys {
        let number = self.current().number + 1;
        let keys = self.pending.take().filter(|keys| keys.number == number).unwrap_or_else(|| NodeKeys::generate(number, entropy));
        self.pending.insert(keys)
    }

    /// What the roster says of this node's keys: which member it is, by which number. `None` when it holds no present key of any member.
    pub fn joined_by(&self, roster: &Roster) -> Option<Joined> {
        let ours = self.pending.iter().chain(self.keys.iter().rev()).map(|keys| keys.signing.verifying_key());
        let (member, key) = ours.into_iter().find_map(|ours| {
            let (member, _) = roster.holder(&ours)?;
            Some((member, member.current().filter(|key| key.signing == ours)?))
        })?;
        Some(Joined { node: member.node, name: member.name.clone(), key_number: key.number, pin: *roster.pin() })
    }

    /// Become the member a join file and its roster say. When that is another node id than before, the caller moves the events. Keys that were
    /// asked for become the present ones. The caller saves (R8.5-h).
    ///
    /// # Errors
    /// [`KeysError::Joined`] for another domain than the one joined; [`KeysError::ForeignKeys`] when the number fits no keys of ours.
    pub fn join(&mut self, joined: Joined, signing: &VerifyingKey) -> Result<(), KeysError> {
        if self.pin.is_some_and(|pin| pin != joined.pin) {
            return Err(KeysError::Joined);
        }
        if self.pending.as_ref().is_some_and(|keys| keys.signing.verifying_key() == *signing) {
            self.keys.extend(self.pending.take());
        }
        if self.current().signing.verifying_key() != *signing {
            return Err(KeysError::ForeignKeys);
        }
        if let Some(current) = self.keys.last_mut() {
            current.number = joined.key_number;
        }
        (self.node, self.name, self.pin) = (joined.node, joined.name, Some(joined.pin));
        Ok(())
    }

    /// The file's bytes under `lock`.
    pub fn to_bytes(&self, lock: &Lock, entropy: &dyn Entropy) -> Vec<u8> {
        let salt: [u8; 32] = random(entropy);
        let mut bytes = vec![0x85]; // array of 5
        bytes.extend(cbor::to_vec(TITLE));
        bytes.extend(cbor::to_vec(&VERSION));
        bytes.extend(cbor::to_vec(&lock.kind));
        bytes.extend(cbor::to_vec(&Bytes(&salt)));
        let mut plain = Zeroizing::new(Vec::with_capacity(KEYRING_LEN_MAX)); // never moved while it grows: no copy is left unwiped
        ciborium::into_writer(self, &mut *plain).unwrap_or_else(|_| unreachable!("a Vec takes every write and our types always serialise"));
        let sealed = cipher(lock, &salt).encrypt(&Nonce::default(), Payload { msg: &plain, aad: &bytes });
        let sealed = sealed.unwrap_or_else(|_| unreachable!("only plaintexts of 256 GiB are refused"));
        bytes.extend(cbor::to_vec(&Bytes(&sealed)));
        let crc = crc32fast::hash(&bytes);
        bytes.extend(crc.to_be_bytes());
        bytes
    }

    /// Open the file's bytes. `path` is only told in errors.
    ///
    /// # Errors
    /// [`KeysError::Version`], [`KeysError::Damaged`], [`KeysError::WrongKind`], [`KeysError::WrongKey`], in that order.
    pub fn from_bytes(bytes: &[u8], secret: &Secret, path: &Path) -> Result<(Self, Lock), KeysError> {
        let damaged = || KeysError::Damaged(path.to_owned());
        let (body, crc) = bytes.split_last_chunk::<4>().ok_or_else(damaged)?;
        if let Some(other) = version(body).filter(|version| *version != VERSION) {
            return Err(KeysError::Version(other));
        }
        if crc32fast::hash(body).to_be_bytes() != *crc {
            return Err(damaged());
        }
        let Shell { kind, salt, sealed, aad } = Shell::read(body).map_err(|_| damaged())?;
        let lock = Lock::open(kind, secret)?;
        let plain = cipher(&lock, &salt).decrypt(&Nonce::default(), Payload { msg: sealed, aad }).map_err(|_| KeysError::WrongKey)?;
        let keyring = Self::read(&Zeroizing::new(plain)).map_err(|_| damaged())?;
        Ok((keyring, lock))
    }

    /// Read the keyring at `path`.
    ///
    /// # Errors
    /// [`KeysError::NoKeyring`], [`KeysError::Io`]; see [`Keyring::from_bytes`].
    pub fn load(disk: &dyn Disk, path: &Path, secret: &Secret) -> Result<(Self, Lock), KeysError> {
        let bytes = match disk::read_small(disk, path, KEYRING_LEN_MAX) {
            Ok(bytes) => bytes.ok_or_else(|| KeysError::NoKeyring(path.to_owned()))?,
            Err(error) if error.kind() == ErrorKind::InvalidData => return Err(KeysError::Damaged(path.to_owned())),
            Err(error) => return Err(reading(path)(error)),
        };
        Self::from_bytes(&bytes, secret, path)
    }

    /// Put the keyring at `path`: after a power cut the old one stands there or the new one (R8.6-c).
    ///
    /// # Errors
    /// [`KeysError::Io`], also for what [`Keyring::load`] would refuse: after tens of thousands of lives.
    pub fn save(&self, disk: &dyn Disk, path: &Path, lock: &Lock, entropy: &dyn Entropy) -> Result<(), KeysError> {
        let bytes = self.to_bytes(lock, entropy);
        if bytes.len() > KEYRING_LEN_MAX {
            return Err(writing(path)(ErrorKind::FileTooLarge.into()));
        }
        disk::replace(disk, path, &bytes).map_err(writing(path))
    }

    /// Whether the keyring at `path` is locked by a passphrase, so that the right thing is asked for; `None` when it cannot be read.
    pub fn wants_passphrase(disk: &dyn Disk, path: &Path) -> Option<bool> {
        let bytes = disk::read_small(disk, path, KEYRING_LEN_MAX).ok()??;
        let shell = Shell::read(bytes.split_last_chunk::<4>()?.0).ok()?;
        Some(matches!(shell.kind, Kind::Passphrase { .. }))
    }

    fn read(plain: &[u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(plain);
        let reader = &mut reader;
        let (mut name, mut node, mut incarnation, mut pending, mut pin) = (None, None, None, None, None);
        let (mut node_keys, mut data_keys, mut earlier) = (Vec::<NodeKeys>::new(), DataKeys::default(), Vec::new());
        let mut keys = reader.map()?;
        while let Some(key) = keys.next(reader)? {
            match key {
                0 => name = Some(Name::new(reader.text()?).map_err(|_| CborError::Shape)?),
                2 => node = Some(NodeId(reader.bytes_exact()?)),
                4 => {
                    for _ in 0..reader.array()? {
                        node_keys.push(NodeKeys::read(reader)?);
                    }
                }
                6 => {
                    for _ in 0..reader.array()? {
                        reader.array_exact(2)?;
                        let id = u32::try_from(reader.uint()?).map_err(|_| CborError::Shape)?;
                        data_keys.insert(id, Zeroizing::new(reader.bytes_exact()?));
                    }
                }
                8 => incarnation = Some(Incarnation(reader.bytes_exact()?)),
                10 => {
                    for _ in 0..reader.array()? {
                        earlier.push(Incarnation(reader.bytes_exact()?));
                    }
                }
                12 => {
                    reader.array_exact(2)?;
                    let authority_key = VerifyingKey::new(reader.bytes_exact()?).map_err(|_| CborError::Shape)?;
                    pin = Some(Pin { authority_key, incarnation: Incarnation(reader.bytes_exact()?) });
                }
                14 => pending = Some(NodeKeys::read(reader)?),
                _ => Keys::unknown(key, reader)?,
            }
        }
        reader.finish()?;
        if node_keys.is_empty() || data_keys.is_empty() {
            return Err(CborError::Shape);
        }
        let (name, node) = (name.ok_or(CborError::MissingKey(0))?, node.ok_or(CborError::MissingKey(2))?);
        let incarnation = incarnation.ok_or(CborError::MissingKey(8))?;
        Ok(Self { name, node, keys: node_keys, pending, data_keys, incarnation, earlier, pin })
    }
}

impl Serialize for Keyring {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let earlier: Vec<_> = self.earlier.iter().map(|incarnation| Bytes(&incarnation.0)).collect();
        let mut map = serializer.serialize_map(Some(6 + usize::from(self.pin.is_some()) + usize::from(self.pending.is_some())))?;
        map.serialize_entry(&0, self.name.as_str())?;
        map.serialize_entry(&2, &Bytes(&self.node.0))?;
        map.serialize_entry(&4, &self.keys)?;
        map.serialize_entry(&6, &self.data_keys)?;
        map.serialize_entry(&8, &Bytes(&self.incarnation.0))?;
        map.serialize_entry(&10, &earlier)?;
        if let Some(pin) = &self.pin {
            map.serialize_entry(&12, &(Bytes(pin.authority_key.as_bytes()), Bytes(&pin.incarnation.0)))?;
        }
        if let Some(pending) = &self.pending {
            map.serialize_entry(&14, pending)?;
        }
        map.end()
    }
}

/// What stands around the sealed keyring.
struct Shell<'a> {
    kind: Kind,
    salt: [u8; 32],
    sealed: &'a [u8],
    aad: &'a [u8],
}

impl<'a> Shell<'a> {
    fn read(body: &'a [u8]) -> Result<Self, CborError> {
        let mut reader = Reader::new(body);
        reader.array_exact(5)?;
        if reader.text()? != TITLE || reader.uint()? != VERSION {
            return Err(CborError::Shape);
        }
        let (kind, salt) = (Kind::read(&mut reader)?, reader.bytes_exact()?);
        let aad = body.get(..reader.position()).ok_or(CborError::Short)?;
        let sealed = reader.bytes()?;
        reader.finish()?;
        Ok(Self { kind, salt, sealed, aad })
    }
}

/// The version a keyring of any version says; `None` when it is none.
fn version(body: &[u8]) -> Option<u64> {
    let mut reader = Reader::new(body);
    reader.array().ok()?;
    (reader.text().ok()? == TITLE).then_some(())?;
    reader.uint().ok()
}

fn cipher(lock: &Lock, salt: &[u8; 32]) -> ChaCha20Poly1305 {
    let mut key = Zeroizing::new([0; 32]);
    let hkdf = hkdf::Hkdf::<Sha256>::new(Some(salt), &*lock.key);
    hkdf.expand(b"zbundle/1 keyring", &mut *key).unwrap_or_else(|_| unreachable!("32 bytes are less than 255 blocks"));
    ChaCha20Poly1305::new(&Key::from(*key))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::fixture_disk::SmallDisk;
    use crate::ports::entropy::SeededEntropy;
    use bundle_format::error::Code;
    use std::cell::Cell;

    fn entropy() -> SeededEntropy {
        SeededEntropy(Cell::new(7))
    }

    fn key(byte: u8) -> Secret {
        Secret::Key(Zeroizing::new([byte; 32]))
    }

    fn words(text: &str) -> Secret {
        Secret::passphrase(text.into()).unwrap()
    }

    fn path() -> &'static Path {
        Path::new("/node/keyring")
    }

    /// A keyring with something in every field.
    fn lived() -> Keyring {
        let entropy = entropy();
        let mut keyring = Keyring::generate_authority(Name::new("hub").unwrap(), &entropy);
        keyring.begin_incarnation(&entropy);
        keyring.add_data_key(&entropy);
        keyring.prepare_rekey(&entropy);
        keyring
    }

    fn saved(keyring: &Keyring, secret: &Secret) -> SmallDisk {
        let disk = SmallDisk::default();
        keyring.save(&disk, path(), &Lock::new(secret, &entropy()), &entropy()).unwrap();
        disk.changes.set(0);
        disk
    }

    #[test]
    fn a_keyring_reads_back_under_a_key_file_and_under_a_passphrase() {
        let keyring = lived();
        for secret in [key(1), words("a long sentence nobody guesses")] {
            let disk = saved(&keyring, &secret);
            assert_eq!(Keyring::wants_passphrase(&disk, path()), Some(matches!(secret, Secret::Passphrase(_))));
            let (read, lock) = Keyring::load(&disk, path(), &secret).unwrap();
            assert_eq!(cbor::to_vec(&read), cbor::to_vec(&keyring));
            read.save(&disk, path(), &lock, &SeededEntropy(Cell::new(8))).unwrap();
            assert_eq!(cbor::to_vec(&Keyring::load(&disk, path(), &secret).unwrap().0), cbor::to_vec(&keyring));
            assert!(Keyring::load(&disk, path(), &secret.stretched(&lock)).is_ok(), "as often as one likes");
        }
    }

    #[test]
    fn a_wrong_key_opens_nothing_and_changes_nothing() {
        for (right, wrong) in [(key(1), key(2)), (key(1), words("x")), (words("right"), words("wrong")), (words("right"), key(1))] {
            let disk = saved(&lived(), &right);
            let before = disk.files.borrow().clone();
            let refused = Keyring::load(&disk, path(), &wrong).map(|_| ()).unwrap_err();
            assert_eq!(refused.code(), Code::Z601, "{refused}");
            assert_eq!((disk.changes.get(), &*disk.files.borrow()), (0, &before));
        }
    }

    #[test]
    fn every_damaged_byte_is_told_from_a_wrong_key() {
        let disk = saved(&lived(), &key(1));
        let good = disk.files.borrow()[path()].clone();
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 1;
            let code = Keyring::from_bytes(&bad, &key(1), path()).map(|_| ()).unwrap_err().code();
            let of_version = at == 1 + cbor::to_vec(TITLE).len();
            assert_eq!(code, if of_version { Code::Z105 } else { Code::Z307 }, "byte {at}");
            let cut = Keyring::from_bytes(&good[..at], &key(1), path()).map(|_| ()).unwrap_err().code();
            assert_eq!(cut, Code::Z307, "cut at {at}");
        }
    }

    #[test]
    fn tampering_that_mends_the_checksum_is_refused_as_a_wrong_key() {
        let good = lived().to_bytes(&Lock::new(&key(1), &entropy()), &entropy());
        let body = good.len() - 4;
        for at in [body - 1, body - 40, 30] {
            let mut bad = good[..body].to_vec();
            bad[at] ^= 1; // the tag, the ciphertext, the salt
            bad.extend(crc32fast::hash(&bad).to_be_bytes());
            assert_eq!(Keyring::from_bytes(&bad, &key(1), path()).map(|_| ()).unwrap_err().code(), Code::Z601, "byte {at}");
        }
    }

    #[test]
    fn a_keyring_of_another_version_is_left_alone() {
        let later = [cbor::to_vec(&(TITLE, 2, "whatever comes")), vec![0; 4]].concat();
        assert!(matches!(Keyring::from_bytes(&later, &key(1), path()), Err(KeysError::Version(2))));
        assert_eq!(KeysError::Version(2).code(), Code::Z105);
        assert_eq!(Keyring::load(&SmallDisk::default(), path(), &key(1)).map(|_| ()).unwrap_err().code(), Code::Z102);
    }

    #[test]
    fn a_disk_that_fails_while_saving_leaves_the_old_keyring() {
        let old = lived();
        let new = Keyring::generate(Name::new("new").unwrap(), &SeededEntropy(Cell::new(9)));
        let lock = Lock::new(&key(1), &entropy());
        for allowed in 0..4 {
            let disk = saved(&old, &key(1));
            disk.changes_left.set(Some(allowed));
            let refused = new.save(&disk, path(), &lock, &entropy()).unwrap_err();
            assert_eq!(refused.code(), Code::Z203);
            assert_eq!(Keyring::load(&disk, path(), &key(1)).unwrap().0.name(), old.name());
            assert_eq!(disk.files.borrow().len(), 1, "nothing half-written stays");
        }
    }

    /// R8.6-c: each life makes it longer.
    #[test]
    fn a_keyring_that_could_not_be_read_again_does_not_replace_the_one_that_can() {
        let lives = |count: u32| Keyring { earlier: (0..count).map(|life| Incarnation(life.to_be_bytes())).collect(), ..lived() };
        let disk = saved(&lives(50_000), &key(1));
        let refused = lives(60_000).save(&disk, path(), &Lock::new(&key(1), &entropy()), &entropy()).unwrap_err();
        assert_eq!(refused.code(), Code::Z202, "{refused}");
        assert_eq!(Keyring::load(&disk, path(), &key(1)).unwrap().0.earlier_incarnations().len(), 50_000);
    }

    /// R8.6-a.
    #[test]
    fn no_two_writes_share_a_salt_and_nothing_secret_is_printed() {
        let keyring = lived();
        let lock = Lock::new(&key(1), &entropy());
        let (one, two) = (keyring.to_bytes(&lock, &SeededEntropy(Cell::new(1))), keyring.to_bytes(&lock, &SeededEntropy(Cell::new(2))));
        let salt = |bytes: &[u8]| Shell::read(&bytes[..bytes.len() - 4]).unwrap().salt;
        assert_ne!(salt(&one), salt(&two));
        let shown = format!("{keyring:?} {lock:?} {:?} {:?}", key(9), words("hush"));
        let secrets = [&*keyring.current().signing.seed(), &*keyring.current().sealing.bytes(), keyring.name_key(), &[9; 32]].map(|secret| *secret);
        for secret in secrets {
            assert!(!shown.contains(&bundle_format::ids::hex(&secret)) && !shown.contains(&format!("{secret:?}")));
        }
        assert!(!shown.contains("hush"));
    }

    #[test]
    fn outgoing_and_awaited_keys_still_open_what_is_sealed_for_them() {
        let entropy = entropy();
        let mut keyring = Keyring::generate(Name::new("two").unwrap(), &entropy);
        let first = keyring.current().sealing.public();
        let second = keyring.prepare_rekey(&entropy).sealing.public();
        assert_eq!(keyring.prepare_rekey(&entropy).sealing.public(), second, "asked for twice, the same keys");
        let opens = |keyring: &Keyring| keyring.sealing_keys().iter().map(SealingKey::public).collect::<Vec<_>>();
        assert_eq!(opens(&keyring), [first, second]);
        let signing = keyring.pending().unwrap().signing.verifying_key();
        let pin = crate::keys::fixture::pin();
        let joined = Joined { node: keyring.node(), name: keyring.name().clone(), key_number: 2, pin };
        keyring.join(joined.clone(), &signing).unwrap();
        assert_eq!((opens(&keyring), keyring.signing().1), (vec![second, first], 2));
        assert!(matches!(keyring.join(joined.clone(), &crate::keys::fixture::signing(9)), Err(KeysError::ForeignKeys)));
        let elsewhere = Joined { pin: Pin { incarnation: Incarnation([9; 4]), ..pin }, ..joined };
        assert!(matches!(keyring.join(elsewhere, &signing), Err(KeysError::Joined)));
    }

    #[test]
    fn a_new_life_is_never_an_old_one() {
        let entropy = entropy();
        let mut keyring = Keyring::generate(Name::new("two").unwrap(), &entropy);
        let mut lives = vec![keyring.incarnation()];
        for _ in 0..5 {
            lives.push(keyring.begin_incarnation(&entropy));
        }
        assert_eq!(keyring.earlier_incarnations(), &lives[..5]);
        lives.sort_unstable();
        lives.dedup();
        assert_eq!(lives.len(), 6);
    }
}
