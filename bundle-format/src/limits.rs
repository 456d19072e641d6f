//! Every bound, in one place, each with its reason. SPEC §2.4.

/// Nesting of CBOR: our deepest value (a roster event inside its payload) needs 6. A parser without a bound can be made to overflow its stack.
pub const CBOR_DEPTH_MAX: usize = 8;
/// One encoded event, a part included: a receiver on a dying link must be able to keep what arrived. A 4 KiB part and its ext fit with room.
pub const EVENT_LEN_MAX: usize = 16 * 1024;
/// Payload bytes of one part; what is larger travels as parts of exactly this length but the last.
pub const PART_LEN: usize = 4 * 1024;
/// A whole payload: a scanned page or an X-ray preview fits, a video does not belong on a stick of records.
pub const PAYLOAD_LEN_MAX: usize = 16 * 1024 * 1024;
/// Parts of one payload.
pub const PART_COUNT_MAX: u64 = (PAYLOAD_LEN_MAX / PART_LEN) as u64;
/// Type of an event: `vitals`, `lab/result`, ….
pub const TYPE_LEN_MAX: usize = 128;
/// Key of a record.
pub const RECORD_KEY_LEN_MAX: usize = 200;
/// Content type, idempotency key, author.
pub const FIELD_LEN_MAX: usize = 200;
/// Event ids a write names as seen.
pub const BASE_COUNT_MAX: usize = 64;
/// Events in one range: a range is verified as a whole before any of it counts, so it is bounded in memory and in loss.
pub const RANGE_EVENT_COUNT_MAX: u64 = 4096;
/// Raw bytes of one range, the same reason; also the largest zstd output a reader must be ready for.
pub const RANGE_RAW_LEN_MAX: usize = 1 << 20;
/// Positions stay below 2^63, so that a signed 64-bit integer holds them in every language and database.
pub const SEQ_MAX: u64 = i64::MAX as u64;
/// Compressed bytes of one range: incompressible data grows a little.
pub const RANGE_DATA_LEN_MAX: usize = RANGE_RAW_LEN_MAX + 4096;
/// One range as it stands in a bundle: its data, a checkpoint of 80 bytes at every event, and room for its other keys and keys to come.
pub const RANGE_ITEM_LEN_MAX: usize = RANGE_DATA_LEN_MAX + 80 * 4096 + 4096;
/// Bytes of history a range may refer to (codecs 2 and 3).
pub const PREFIX_LEN_MAX: usize = 128 * 1024;
/// Raw bytes of one range in codec 3: as any range. A slow processor takes seconds for the longest, piece by piece.
pub const MIX_RAW_LEN_MAX: usize = RANGE_RAW_LEN_MAX;
/// Raw bytes of all ranges of a file in codec 3: they cost a thousand times what others do, twice (R6.1-c), while nobody else has a turn. A Pi takes 20 s
/// for so many; some 7 000 records of a clinic.
pub const MIX_FILE_RAW_LEN_MAX: u64 = 2 << 20;
/// zstd windows up to 2^20 bytes: a decoder on a Pi must hold one.
pub const ZSTD_WINDOW_LOG_MAX: u32 = 20;
/// Between two checkpoints of the origin: events.
pub const CHECKPOINT_EVENT_COUNT: u64 = 256;
/// Between two checkpoints of the origin: raw bytes. On a link that dies every 15 kB a compressed 32 KiB still fits.
pub const CHECKPOINT_RAW_LEN: usize = 32 * 1024;
/// Between two checkpoints inside a run of parts: parts (8 KiB that may not compress).
pub const CHECKPOINT_PART_COUNT: u64 = 2;
/// The clear header of a file: 64 recipients of 88 bytes and room for keys to come.
pub const HEADER_LEN_MAX: usize = 8 * 1024;
/// Recipients of one file.
pub const RECIPIENT_COUNT_MAX: usize = 64;
/// The manifest: a vector of some 50 000 origins.
pub const MANIFEST_LEN_MAX: usize = 1 << 20;
/// Plaintext of one chunk.
pub const CHUNK_LEN: usize = 64 * 1024;
/// Poly1305 tag.
pub const TAG_LEN: usize = 16;
/// Largest file: 2^32 − 1 bytes, the largest file FAT32 can hold, and sticks are FAT32.
pub const BUNDLE_LEN_MAX: u64 = (1 << 32) - 1;
/// Raw bytes a file may expand to: a floor for small files …
pub const EXPANSION_FLOOR: u64 = 1 << 20;
/// … and a factor of the file's size: records compress 5 to 30 times, never 200 times.
pub const EXPANSION_FACTOR: u64 = 200;
/// A remote clock this far ahead of our floor is data, never adopted.
pub const CLOCK_AHEAD_MS_MAX: u64 = 24 * 3600 * 1000;
/// One branch of a fork, past the fork point.
pub const FORK_BRANCH_LEN_MAX: u64 = 16 << 20;
/// Histories of one member, branches among them, that others take: four lanes, directed to some hundreds, in several lives. A vector holds those of a dozen
/// members who lie.
pub const HISTORY_COUNT_MAX: usize = 4096;
/// The same of a member that sees everything, and writes to everybody.
pub const HUB_HISTORY_COUNT_MAX: usize = 16 * 1024;
/// How often a peer's bare word that we have lost a part of our past begins a new life: more often than cards are put back in a bad year …
pub const LOSS_WORDS_MAX: u64 = 16;
/// … and how many of them each day gives back: a member that lies so every day fills up the histories others take of us (R6.2-j) in some years.
pub const LOSS_WORDS_A_DAY: u64 = 4;
/// One message on a link. The smallest range is what lies between two checkpoints, at most 48 KiB raw, and a hub holds one message of each peer.
pub const MESSAGE_LEN_MAX: usize = 96 * 1024;
/// Vector entries in one hello; a long vector goes in several, so that what is urgent need not wait for all of it.
pub const PAGE_LEN_MAX: usize = 1024;
/// Roster bytes for a peer that does not know our key, or whose key we do not know: some thirty events.
pub const INTRODUCTION_LEN_MAX: usize = 8 * 1024;
/// Bytes sent by a peer before we knew it, that are read past while its introduction is on the way.
pub const UNKNOWN_LEN_MAX: usize = 64 * 1024;

const _: () = assert!(RANGE_EVENT_COUNT_MAX == 4096, "the length of a range item counts a checkpoint at every event");
const _: () = assert!(PART_LEN * 2 < EVENT_LEN_MAX, "a part and its ext fit into one event");
const _: () = assert!(EVENT_LEN_MAX < CHECKPOINT_RAW_LEN, "a checkpoint interval holds at least one event");
const _: () = assert!(BUNDLE_LEN_MAX / (CHUNK_LEN as u64) < 1 << 32, "the chunk counter must not wrap inside one bundle");
