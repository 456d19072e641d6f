//! Say things on a link, as many as asked for, and lay them into files for another reader: `cargo run -p bundle-format --example say DIR [COUNT]`.
//!
//! Each file is what one end says from its first message on (SPEC §7.2, §7.3); what it says is drawn from its number, so the files are always the same.
//! `cargo xtask vectors` lets `tools/vectors` read them.
#![allow(clippy::disallowed_methods, reason = "writes files itself: it is no part of the product")]

use bundle_format::chain::{Position, Run};
use bundle_format::checkpoint::Checkpoint;
use bundle_format::compress::Compressor;
use bundle_format::error::CODES;
use bundle_format::event::{Event, Ext};
use bundle_format::hlc::Hlc;
use bundle_format::ids::{DomainId, Incarnation, Lane, NodeId, Origin};
use bundle_format::logs::LogTable;
use bundle_format::manifest::{ForkNotice, Manifest};
use bundle_format::message::{Again, Hello, Message, Reason, pages};
use bundle_format::range::{Coding, Range};
use bundle_format::sign::SigningKey;
use bundle_format::vector::{Salt, Tag, Told};
use sha2::{Digest as _, Sha256};
use std::error::Error;
use std::path::PathBuf;

fn main() -> Result<(), Box<dyn Error>> {
    let mut args = std::env::args().skip(1);
    let dir = PathBuf::from(args.next().ok_or("name a folder")?);
    let count: u64 = args.next().map_or(Ok(60), |text| text.parse())?;
    std::fs::create_dir_all(&dir)?;
    for number in 0..count {
        std::fs::write(dir.join(format!("{number:04}.bin")), Speaker::new(number)?.speak()?)?;
    }
    Ok(())
}

/// One end of a link.
struct Speaker {
    dice: Dice,
    numbers: LogTable,
    compressor: Compressor,
    said: Vec<u8>,
}

/// Block n is SHA-256(seed, n).
struct Dice(u64, u64);

impl Dice {
    fn bytes<const N: usize>(&mut self) -> [u8; N] {
        self.1 += 1;
        let block = Sha256::new().chain_update(self.0.to_be_bytes()).chain_update(self.1.to_be_bytes()).finalize();
        std::array::from_fn(|at| block[at])
    }

    fn below(&mut self, end: u64) -> u64 {
        u64::from_be_bytes(self.bytes()) % end
    }

    /// Any number, the edges of heads among them.
    fn number(&mut self) -> u64 {
        let edges = [0, 1, 23, 24, 255, 256, 65_535, 65_536, u64::from(u32::MAX), 1 << 32, i64::MAX.unsigned_abs()];
        edges[usize::try_from(self.below(edges.len() as u64)).unwrap_or(0)]
    }

    fn origin(&mut self) -> Origin {
        let lane = [Lane::Control, Lane::Urgent, Lane::Routine, Lane::Bulk][usize::from(self.bytes::<1>()[0] % 4)];
        let audience = (self.below(3) == 0).then(|| NodeId(self.bytes()));
        Origin { node: NodeId(self.bytes()), incarnation: Incarnation(self.bytes()), lane, audience }
    }
}

impl Speaker {
    fn new(seed: u64) -> Result<Self, Box<dyn Error>> {
        Ok(Self { dice: Dice(seed, 0), numbers: LogTable::default(), compressor: Compressor::new()?, said: Vec::new() })
    }

    fn say(&mut self, message: &Message) {
        self.said.extend(message.to_bytes(&self.numbers));
    }

    fn speak(mut self) -> Result<Vec<u8>, Box<dyn Error>> {
        self.hello();
        for _ in 0..self.dice.below(20) {
            match self.dice.below(8) {
                0..=3 => self.range()?,
                4 => {
                    let ends = (0..=self.dice.below(4)).map(|_| (self.dice.number(), self.dice.number().max(1))).collect();
                    self.say(&Message::Ack(ends));
                }
                5 => {
                    let reason = [Reason::Gap, Reason::Differs, Reason::Signer][usize::from(self.dice.bytes::<1>()[0] % 3)];
                    let again = Again { log: self.dice.number(), seq: self.dice.number(), tag: Tag(self.dice.bytes()), reason };
                    self.say(&Message::Again(again));
                }
                6 => self.say(&Message::Busy),
                _ => self.say(&Message::Done(0)),
            }
        }
        let code = CODES[usize::try_from(self.dice.below(CODES.len() as u64))?].code;
        let last = [Message::Bye(None), Message::Bye(Some(code)), Message::Lost(self.dice.number()), Message::Who];
        let last = last[usize::try_from(self.dice.below(4))?].clone();
        self.say(&last);
        Ok(self.said)
    }

    fn hello(&mut self) {
        let salt = Salt(self.dice.bytes());
        let mut vector = Vec::new();
        for _ in 0..self.dice.below(70) {
            let (origin, branches) = (self.dice.origin(), 1 + self.dice.below(5) / 4);
            vector.extend(
                (0..branches).map(|branch| Told::new(&salt, origin, &Position { seq: self.dice.number().max(1) + branch, hash: self.dice_hash() })),
            );
        }
        vector.retain(|told| told.seq < 1 << 63);
        let forks = vector.iter().take(2).map(|told| ForkNotice { origin: told.origin, seq: told.seq, digests: [[1; 8], [2; 8]] }).collect();
        let manifest = Manifest::new(vector, Some((Incarnation(self.dice.bytes()), self.dice.number())), forks, []);
        let (window, take) = (self.dice.number(), (self.dice.below(2) == 0).then(|| self.dice.number()));
        let pages = pages(manifest);
        let count = pages.len();
        for (index, manifest) in pages.into_iter().enumerate() {
            let origins: Vec<_> = manifest.vector.iter().map(|told| told.origin).collect();
            self.say(&Message::Hello(Hello { more: index + 1 < count, window, take, manifest }));
            for origin in origins {
                self.numbers.push(origin);
            }
        }
    }

    fn dice_hash(&mut self) -> bundle_format::ids::Hash {
        bundle_format::ids::Hash(self.dice.bytes())
    }

    /// A range of a history that has a number, or of one that gets the next.
    fn range(&mut self) -> Result<(), Box<dyn Error>> {
        let numbered = (self.dice.below(2) == 0 && !self.numbers.is_empty()).then(|| self.dice.below(self.numbers.len() as u64));
        let origin = numbered.and_then(|number| self.numbers.origin(number)).unwrap_or_else(|| self.dice.origin());
        let key = SigningKey::from_seed(&self.dice.bytes());
        let event = |count| Event { hlc: Hlc(count), kind: "visit", payload: br#"{"bp":"120/80"}"#, ext: Ext::default() }.to_bytes();
        let events = (0..=self.dice.below(5)).map(event).collect::<Result<Vec<_>, _>>()?;
        let start = Position { seq: self.dice.below(1 << 40) + 40, hash: self.dice_hash() };
        let run = Run::link(start, events.iter().map(Vec::as_slice).collect());
        let checkpoint = Checkpoint::sign(&key, &DomainId(self.dice.bytes()), &origin, self.dice.number(), &run.end());
        let checkpoints = [(events.len() as u64, checkpoint)];
        let mut range = if self.dice.below(3) == 0 {
            Range::build_primed(origin, &run, &checkpoints, (start.seq - 2, 2), &events.concat())?
        } else {
            Range::build(origin, &run, &checkpoints, Coding::Zstd, &mut self.compressor)?
        };
        range.base = range.base.filter(|_| self.dice.below(2) == 0);
        self.say(&Message::Range(range));
        self.numbers.named(origin);
        Ok(())
    }
}
