//! Conflicts settled by rules, and their writers told of those that are left. SPEC §11.3 (R11.3-c to R11.3-f).
//!
//! In: open conflicts, rules, what programs answer. Out: decisions; then events. Invariants: decided without the lock, written only where the heads are
//! still those decided on; a head is never lost; nobody is told another's words unless `disclose` says so. Not here: running programs (`cli`).

use super::config::{Conflicts, Disclose, How, Rule};
use super::conflicts::{Conflict, Resolution, heads_digest};
use super::error::NodeError;
use super::{Node, View};
use crate::ports::projection::{Projection, State, Version, id_text};
use crate::push::json::value;
use crate::push::{Fields, PushError, Pushed};
use bundle_format::error::Code;
use bundle_format::ids::{Hash, Lane, NodeId, hex};
use data_encoding::BASE64;
use serde_json::value::RawValue;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use std::collections::{BTreeMap, BTreeSet};

/// Authors of resolutions by rules begin so.
const BY_RULE: &str = "zbundle/";
/// The type of what tells a writer of a conflict.
pub const NOTICE_KIND: &str = "zbundle.conflict";
/// Payload bytes that a program is shown; a record with more is left to a person.
const SHOWN_LEN_MAX: u64 = 16 << 20;
/// Payload bytes in a notice.
const NOTICE_LEN_MAX: u64 = 64 * 1024;
/// Heads that are shown to anybody.
const HEAD_COUNT_MAX: u64 = 100;
/// Conflicts that are decided on before anything is written.
const DECIDED_AT_ONCE: u64 = 100;

/// Runs the program of a rule with JSON on its stdin: what it answered, and the SHA-256 of the program. Otherwise why not, for people.
pub type Ask<'a> = dyn FnMut(&Rule, &[u8]) -> Result<(Vec<u8>, Hash), String> + 'a;

/// What is to be done with an open conflict.
#[derive(Debug)]
pub struct Decision {
    /// Which, with its first heads.
    pub conflict: Conflict,
    /// Digest of all heads that were decided on.
    pub seen: Hash,
    /// By which rule.
    pub how: How,
    /// The resolution, and its author; none: a person decides.
    pub settled: Option<(Settled, String)>,
    /// Why a program did not decide.
    pub failed: Option<String>,
}

/// What a rule made of the heads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settled {
    /// One of them.
    Take(bundle_format::ids::EventId),
    /// Something made of them.
    Merge(Vec<u8>),
}

/// What became of a decision.
#[derive(Debug)]
pub enum Outcome {
    /// Settled by these events.
    Settled(Vec<Pushed>),
    /// Left to a person, and so many writers told for the first time.
    Left(u64),
    /// Its heads are others by now: the next run looks again.
    Changed,
}

impl View {
    /// Decide on open conflicts by `rules`, those whose key is behind `after`, asking programs where they say so: on so many that what is to be written fits
    /// in memory; none: there are no more. `tables` must have caught up.
    ///
    /// # Errors
    /// Z416 when we are no hub; what the log or the tables say.
    pub fn decide(&self, tables: &mut dyn Projection, rules: &Conflicts, after: Option<&str>, ask: &mut Ask<'_>) -> Result<Vec<Decision>, NodeError> {
        if !self.roster.hubs().any(|hub| hub.node == self.keyring.node()) {
            return Err(NodeError::refused(Code::Z416, self.keyring.name().to_string()));
        }
        let (mut decisions, mut held) = (Vec::new(), 0);
        for key in tables.records_in(State::Conflict, after, DECIDED_AT_ONCE)? {
            let conflict = self.conflict(tables, &key, HEAD_COUNT_MAX)?;
            let seen = heads_digest(tables, &key)?;
            let decision = self.decide_one(conflict, seen, rules, ask)?;
            held += if let Some((Settled::Merge(payload), _)) = &decision.settled { payload.len() as u64 } else { 0 };
            decisions.push(decision);
            if held > SHOWN_LEN_MAX {
                break;
            }
        }
        Ok(decisions)
    }

    fn decide_one(&self, conflict: Conflict, seen: Hash, rules: &Conflicts, ask: &mut Ask<'_>) -> Result<Decision, NodeError> {
        let (Some(shown), key) = (conflict.heads.first(), &conflict.record_key) else {
            return Ok(Decision { conflict, seen, how: How::Manual, settled: None, failed: None });
        };
        let (how, rule) = (rules.how(key, &shown.kind), rules.rule(key, &shown.kind));
        let (mut settled, mut failed) = (None, None);
        match (how, rule) {
            (How::Lww, _) => settled = Some((Settled::Take(shown.id), format!("{BY_RULE}lww"))),
            (How::Exec, Some(rule)) if !conflict.heads.iter().any(|head| self.is_of_anothers_rule(head)) => match self.shown_to_program(&conflict)? {
                Some(shown) => match ask(rule, &shown).and_then(|(answer, program)| Ok((answered(&answer, &conflict)?, program))) {
                    Ok((answer, program)) => settled = answer.map(|answer| (answer, format!("{BY_RULE}exec:{}", hex(&program.first::<8>())))),
                    Err(why) => failed = Some(why),
                },
                None => failed = Some("its versions are too many or too long to be shown to a program, or one of them has rotted".to_owned()),
            },
            _ => {}
        }
        Ok(Decision { conflict, seen, how, settled, failed })
    }

    /// R11.3-e: a program here and one there could contradict each other for ever.
    fn is_of_anothers_rule(&self, head: &Version) -> bool {
        head.id.origin.node != self.keyring.node() && head.author.as_ref().is_some_and(|author| author.starts_with(BY_RULE))
    }

    fn shown_to_program(&self, conflict: &Conflict) -> Result<Option<Vec<u8>>, NodeError> {
        if conflict.more() > 0 {
            return Ok(None);
        }
        let (mut left, mut heads) = (SHOWN_LEN_MAX, Vec::new());
        for head in &conflict.heads {
            let Some(payload) = self.source().readable_payload(&head.id, left)? else { return Ok(None) };
            left -= payload.len() as u64;
            let mut told = head_json(head, Some(&payload));
            told["node"] = json!(self.naming().node(&head.id.origin.node));
            told["time_ms"] = json!(head.hlc.ms());
            told["author"] = json!(head.author);
            heads.push(told);
        }
        Ok(Some(json!({"key": conflict.record_key, "heads": heads}).to_string().into_bytes()))
    }
}

/// A version in JSON; its payload as JSON where it is JSON and reading loses nothing of it.
fn head_json(head: &Version, payload: Option<&[u8]>) -> Value {
    let mut told = json!({"id": id_text(&head.id), "type": head.kind, "op": head.op.name()});
    match payload.map(|payload| (value(payload), payload)) {
        None => {}
        Some((Some(value), _)) => told["payload"] = value,
        Some((None, bytes)) => told["payload_base64"] = json!(BASE64.encode(bytes)),
    }
    told
}

/// What a program answered: `{"take": ID}`, `{"merge": JSON}`, or `{"leave": true}`.
fn answered(answer: &[u8], conflict: &Conflict) -> Result<Option<Settled>, String> {
    let wrong = || "its answer is not {\"take\": ID}, {\"merge\": JSON} or {\"leave\": true}".to_owned();
    let spelled: BTreeMap<String, &RawValue> = serde_json::from_slice(answer).map_err(|_| wrong())?;
    let lossy = "reading its answer would lose something of it: a number of too many digits, or a name that stands twice";
    let told = value(answer).ok_or(lossy)?;
    let mut fields = spelled.iter().map(|(name, spelled)| (name.as_str(), spelled.get(), &told[name]));
    match (fields.next(), fields.next()) {
        (Some(("leave", _, Value::Bool(true))), None) => Ok(None),
        (Some(("merge", spelled, _)), None) => Ok(Some(Settled::Merge(spelled.as_bytes().to_vec()))),
        (Some(("take", _, Value::String(id))), None) => {
            let head = conflict.heads.iter().find(|head| id_text(&head.id) == *id);
            head.map(|head| Some(Settled::Take(head.id))).ok_or_else(|| format!("it took {id:?}, which is none of the versions"))
        }
        _ => Err(wrong()),
    }
}

impl Node {
    /// Do what was decided, durably. `tables` must have caught up.
    ///
    /// # Errors
    /// What the log or the tables say.
    pub fn settle_by(&mut self, tables: &mut dyn Projection, decision: &Decision, disclose: Disclose) -> Result<Outcome, NodeError> {
        let Decision { conflict, seen, how, settled, .. } = decision;
        if tables.state(&conflict.record_key)? != Some(State::Conflict) || heads_digest(tables, &conflict.record_key)? != *seen {
            return Ok(Outcome::Changed);
        }
        match settled {
            Some((Settled::Take(id), author)) => {
                self.resolve(tables, &conflict.record_key, &Resolution::Take(*id), Some(author.clone())).map(Outcome::Settled)
            }
            Some((Settled::Merge(payload), author)) => {
                self.resolve(tables, &conflict.record_key, &Resolution::Merge(payload), Some(author.clone())).map(Outcome::Settled)
            }
            None if *how == How::Append => Ok(Outcome::Left(0)),
            None => Ok(Outcome::Left(self.tell_writers(tables, conflict, disclose)?)),
        }
    }

    /// R11.3-f
    fn tell_writers(&mut self, tables: &mut dyn Projection, conflict: &Conflict, disclose: Disclose) -> Result<u64, NodeError> {
        let (mut writers, heads) = writers(tables, &conflict.record_key)?;
        let me = self.keyring.node();
        writers.retain(|node, _| self.roster.member(node).is_some_and(|member| !member.is_revoked()) && !self.roster.is_hub(node) && *node != me);
        let mut told = 0;
        for (writer, own) in writers {
            let notice = self.notice(conflict, own, disclose)?;
            let about = [&[u8::from(disclose == Disclose::Payload)][..], conflict.record_key.as_bytes(), &heads.0].concat();
            told += u64::from(self.tell(tables, writer, &about, &notice)?);
        }
        Ok(told)
    }

    /// R11.3-b: these writers of heads may not see what was decided. Only a hub would be believed.
    pub(super) fn tell_decided(&mut self, tables: &mut dyn Projection, conflict: &Conflict, untold: &BTreeSet<NodeId>) -> Result<(), NodeError> {
        if untold.is_empty() || !self.roster.is_hub(&self.keyring.node()) {
            return Ok(());
        }
        let (writers, heads) = writers(tables, &conflict.record_key)?;
        for (writer, own) in writers.into_iter().filter(|(writer, _)| untold.contains(writer)) {
            let mut notice = self.notice(conflict, own, Disclose::Notice)?;
            notice["decided"] = true.into();
            self.tell(tables, writer, &[b"decided", conflict.record_key.as_bytes(), &heads.0].concat(), &notice)?;
        }
        Ok(())
    }

    /// Tell a writer, durably; not once more of what `about` says. Whether it was new.
    fn tell(&mut self, tables: &mut dyn Projection, writer: NodeId, about: &[u8], notice: &Value) -> Result<bool, NodeError> {
        let named = Sha256::new_with_prefix(self.keyring.name_key()).chain_update(about).finalize(); // ids are in it, and a guess could be tried against them
        let idempotency_key = Some(format!("{NOTICE_KIND}:{}>{writer}", hex(&named[..16])));
        let fields = Fields { kind: NOTICE_KIND.to_owned(), idempotency_key, ..Fields::default() };
        let (streams, payload) = (self.push_streams(Lane::Routine, &[writer])?, notice.to_string().into_bytes());
        let sha256 = Hash(Sha256::digest(&payload).into());
        if self.repeated_in(tables, &streams, &fields, &sha256)?.missing.is_empty() {
            return Ok(false);
        }
        self.with_pusher(&streams, |pusher| {
            pusher.push(&fields, payload.len() as u64, &mut payload.as_slice())?;
            pusher.sync()?;
            Ok::<_, PushError>(())
        })?;
        Ok(true)
    }

    fn notice(&self, conflict: &Conflict, (own, count): Own, disclose: Disclose) -> Result<Value, NodeError> {
        let mut notice = json!({"key": conflict.record_key, "others": conflict.folded.head_count - count, "yours": own});
        if disclose == Disclose::Payload {
            let (mut left, mut heads) = (NOTICE_LEN_MAX, Vec::new());
            for head in &conflict.heads {
                let payload = self.source().readable_payload(&head.id, left)?;
                left -= payload.as_ref().map_or(0, |payload| payload.len() as u64);
                heads.push(head_json(head, payload.as_deref()));
            }
            notice["heads"] = heads.into();
        }
        Ok(notice)
    }
}

/// Heads of one writer: the first of them, and how many.
type Own = (Vec<String>, u64);

/// Who wrote heads of a record, and which; digest of all heads.
fn writers(tables: &mut dyn Projection, key: &str) -> Result<(BTreeMap<NodeId, Own>, Hash), NodeError> {
    let mut writers: BTreeMap<NodeId, Own> = BTreeMap::new();
    tables.each_head(key, &mut |head| {
        let (own, count) = writers.entry(head.origin.node).or_default();
        *count += 1;
        if *count <= HEAD_COUNT_MAX {
            own.push(id_text(&head));
        }
        true
    })?;
    Ok((writers, heads_digest(tables, key)?))
}
