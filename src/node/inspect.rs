//! What a bundle shows: to anyone its outside, to a member names, to a recipient everything. Never writes. SPEC §6.1.

use super::View;
use super::error::NodeError;
use crate::carry::finding::{self, Candidate};
use crate::ports::Ports;
use crate::ports::disk::{Kind, Open};
use crate::ports::stream::FileReader;
use bundle_format::cbor::Reader;
use bundle_format::compress::Codec;
use bundle_format::envelope::{Header, MAGIC};
use bundle_format::error::Code;
use bundle_format::event::Event;
use bundle_format::ids::{EventId, Hash, Lane, NodeId, Origin};
use bundle_format::limits::HEADER_LEN_MAX;
use bundle_format::open::{OpenError, SealedBundle, VerifiedBundle};
use bundle_format::sign::VerifyingKey;
use std::path::{Path, PathBuf};

/// The outside of a whole, signed bundle.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Bytes.
    pub len: u64,
    /// First 4 bytes of its domain's id.
    pub domain_hint: [u8; 4],
    /// Who it says it is from.
    pub sender: NodeId,
    /// The key its signature verifies under.
    pub signing_key: VerifyingKey,
    /// One hint for each recipient, and the recipient's node when we know whose it is.
    pub recipients: Vec<([u8; 4], Option<NodeId>)>,
    /// Most urgent lane inside, if it says so.
    pub lane: Option<Lane>,
    /// Seconds since 1970 by the sender's clock, if it says so.
    pub created: Option<u64>,
    /// Sealed pieces.
    pub chunk_count: usize,
    /// Of everything before the trailer: what the signature is over.
    pub digest: Hash,
    /// Whether the roster knows this key as the sender's; `None` without a roster of its domain.
    pub sender_known: Option<bool>,
}

/// One range inside, with the events in it.
#[derive(Clone, Debug)]
pub struct Inside {
    /// Whose history.
    pub origin: Origin,
    /// First event.
    pub first: u64,
    /// Last event.
    pub last: u64,
    /// Chain hash at the last event.
    pub hash: Hash,
    /// Checkpoints that verified.
    pub checkpoint_count: usize,
    /// How its bytes are coded.
    pub codec: Codec,
}

/// Every bundle that `path` names or holds, for `inspect` and `verify`.
///
/// # Errors
/// When the path cannot be read.
pub fn bundles(ports: &Ports, path: &Path) -> Result<Vec<Candidate>, NodeError> {
    let fail = |error| NodeError::reading(path, error);
    match ports.disk.look(path).map_err(fail)?.map(|entry| entry.kind) {
        None => Err(fail(std::io::ErrorKind::NotFound.into())),
        Some(Kind::Folder) => finding::candidates(&*ports.disk, path).map_err(fail),
        Some(Kind::File) => Ok(vec![Candidate::File(path.to_owned())]),
        Some(Kind::Other) => Ok(vec![Candidate::NotAFile(path.to_owned())]),
    }
}

/// Read a bundle from end to end: structure, checksum, signature under the key it names. `view` adds names where it can.
///
/// # Errors
/// Why it is no whole, signed bundle.
pub fn outside(ports: &Ports, path: &Path, view: Option<&View>) -> Result<Outside, OpenError> {
    let sealed = SealedBundle::read(reader(ports, path)?)?;
    let header = sealed.header();
    let ours = view.filter(|view| view.keyring.pin().is_some() && header.domain_hint == view.roster.domain().hint());
    let recipient = |recipient: &bundle_format::envelope::Recipient| {
        let members = ours.into_iter().flat_map(|view| view.roster.members());
        let node = members.flat_map(|member| member.keys.iter().map(move |key| (member.node, key.sealing)));
        (recipient.hint, node.into_iter().find(|(_, sealing)| recipient.is_for(&sealing.0)).map(|(node, _)| node))
    };
    Ok(Outside {
        len: sealed.len(),
        domain_hint: header.domain_hint,
        sender: header.sender,
        signing_key: header.sender_key,
        recipients: header.recipients.iter().map(recipient).collect(),
        lane: header.best_lane,
        created: header.created,
        chunk_count: sealed.chunk_count(),
        digest: sealed.digest(),
        sender_known: ours.map(|view| view.roster.sender(&header.sender, &header.sender_key).is_some()),
    })
}

/// Who a bundle says it is from, by its first bytes alone.
pub fn sender(ports: &Ports, path: &Path) -> Option<NodeId> {
    let mut head = vec![0; MAGIC.len() + HEADER_LEN_MAX];
    let len = ports.disk.open(path, Open::Read).ok()?.read_at(&mut head, 0).ok()?;
    let header = head.get(..len)?.strip_prefix(&MAGIC)?;
    Header::read(&mut Reader::new(header)).ok().map(|header| header.sender)
}

fn reader(ports: &Ports, path: &Path) -> Result<FileReader, OpenError> {
    Ok(FileReader::new(ports.disk.open(path, Open::Read)?)?)
}

impl View {
    /// What is inside a bundle sealed for us: every range, and to `show` every event of it.
    ///
    /// # Errors
    /// Why it does not open here: Z611 when it is for somebody else.
    pub fn inside(&self, path: &Path, show: &mut dyn FnMut(&EventId, &Event<'_>)) -> Result<Vec<Inside>, OpenError> {
        let mut bundle = self.open_bundle(path)?;
        let mut ranges = Vec::new();
        while let Some(range) = bundle.next_range()? {
            for ((seq, bytes), digest) in range.events().zip(range.digests()) {
                if let Ok(event) = Event::from_bytes(bytes) {
                    show(&EventId::new(range.origin(), seq, digest), &event);
                }
            }
            let end = range.end();
            ranges.push(Inside {
                origin: range.origin(),
                first: range.first(),
                last: end.seq,
                hash: end.hash,
                checkpoint_count: range.checkpoints().len(),
                codec: range.codec(),
            });
        }
        bundle.finish()?;
        Ok(ranges)
    }

    fn open_bundle(&self, path: &Path) -> Result<VerifiedBundle<FileReader>, OpenError> {
        let sealed = SealedBundle::read(reader(&self.ports, path)?)?;
        sealed.check_domain(&self.roster.domain())?;
        let keys = self.keyring.sealing_keys();
        let unsealed = sealed.unseal(&keys.iter().collect::<Vec<_>>())?;
        unsealed.verify(&mut self.roster.clone())
    }
}

/// The row for a candidate that is no regular file.
pub fn not_a_file(path: &Path) -> (PathBuf, Code) {
    (path.to_owned(), Code::Z229)
}
