//! `zbundle conflicts settle`: what the rules in config.toml say about records that differ.

use super::escape::{plain, plain_path};
use super::halt::Halt;
use super::object::Object;
use super::project::tables;
use super::{Context, Finished, ask_program, summary};
use crate::node::config::{How, Rule};
use crate::node::layout::Layout;
use crate::node::settling::{Outcome, Settled};
use crate::ports::Ports;
use crate::ports::disk::read_small;
use bundle_format::error::{Code, Exit};
use bundle_format::ids::Hash;
use bundle_format::limits::PAYLOAD_LEN_MAX;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// A program is hashed whole, so that what decided can be found again.
const PROGRAM_LEN_MAX: usize = 256 << 20;

/// Decide, then write. Programs run while nobody waits for the node.
pub fn run(context: &mut Context, dry_run: bool) -> Result<Finished, Halt> {
    let (view, index) = (context.view()?, Layout::new(&context.data_dir()).index());
    let rules = view.config()?.conflicts;
    let mut index = tables(&index, false)?;
    view.project(&mut *index, false)?;
    let ports = context.ports.clone();
    let decisions = view.decide(&mut *index, &rules, &mut |rule, input| ask(&ports, rule, input))?;
    let (mut settled, mut left, mut told, mut failed) = (0u64, 0u64, 0u64, 0u64);
    let mut node = None;
    for decision in &decisions {
        let key = &decision.conflict.record_key;
        if let Some(why) = &decision.failed {
            context.console.warn(Code::Z415, &format!("{}: {why}", plain(key)))?;
            failed += 1;
        }
        if dry_run {
            let word = match &decision.settled {
                None if decision.how == How::Append => "stands side by side",
                None => "is left to a person",
                Some((Settled::Take(_), _)) => "would be settled by taking a version",
                Some((Settled::Merge(_), _)) => "would be settled by a new version",
            };
            context.console.result(&format!("{} {word}", plain(key)), || Object::of("decision").with("key", key).with("word", word))?;
            continue;
        }
        if node.is_none() {
            let opened = context.node()?;
            opened.project(&mut *index, false)?;
            node = Some(opened);
        }
        let Some(node) = &mut node else { continue };
        match node.settle_by(&mut *index, decision, rules.disclose)? {
            Outcome::Settled(pushed) => {
                settled += 1;
                for id in node.pushed_ids(&pushed) {
                    context.console.result(&format!("{} {id}", plain(key)), || Object::of("settled").with("key", key).with("id", &id))?;
                }
            }
            Outcome::Left(notices) => {
                left += u64::from(decision.how != How::Append);
                told += notices;
            }
            Outcome::Changed => left += 1,
        }
    }
    let summary = summary("conflicts").with("settled", settled).with("left", left).with("told", told).with("failed", failed);
    Ok(Finished { exit: if failed > 0 { Exit::Partial } else { Exit::Done }, summary })
}

fn ask(ports: &Ports, rule: &Rule, input: &[u8]) -> Result<(Vec<u8>, Hash), String> {
    let program = rule.program.as_deref().ok_or("the rule names no program")?;
    let failed = |error: std::io::Error| format!("{}: {error}", plain_path(program));
    let bytes =
        read_small(&*ports.disk, program, PROGRAM_LEN_MAX).map_err(failed)?.ok_or_else(|| format!("{}: it is not there", plain_path(program)))?;
    let answer = ask_program(program, input, Duration::from_secs(rule.timeout_s), PAYLOAD_LEN_MAX as u64 + 1024).map_err(failed)?;
    Ok((answer, Hash(Sha256::digest(&bytes).into())))
}
