//! `zbundle conflicts settle`: what the rules in config.toml say about records that differ.

use super::escape::{plain, plain_path};
use super::halt::Halt;
use super::object::Object;
use super::project::own_tables;
use super::{Context, Finished, ask_program, summary, units};
use crate::node::config::{Conflicts, Rule};
use crate::node::settling::{Decision, Outcome, Settled};
use crate::ports::Ports;
use crate::ports::disk::read_small;
use crate::ports::projection::Projection;
use bundle_format::error::{Code, Exit};
use bundle_format::ids::Hash;
use bundle_format::limits::PAYLOAD_LEN_MAX;
use sha2::{Digest as _, Sha256};
use std::time::Duration;

/// A program is hashed whole, so that what decided can be found again.
const PROGRAM_LEN_MAX: usize = 256 << 20;

/// What was done.
#[derive(Default)]
struct Count {
    settled: u64,
    left: u64,
    told: u64,
    failed: u64,
}

/// Decide, then write, some at a time. Programs run while nobody waits for the node.
pub fn run(context: &mut Context, dry_run: bool) -> Result<Finished, Halt> {
    context.view()?; // before the tables: without a node there are none
    let (mut index, mut count, mut after) = (own_tables(context)?, Count::default(), None::<String>);
    loop {
        let view = context.view()?;
        let rules = view.config()?.conflicts;
        view.project(&mut *index, false)?;
        let ports = context.ports.clone();
        let decisions = view.decide(&mut *index, &rules, after.as_deref(), &mut |rule, input| ask(&ports, rule, input))?;
        let Some(last) = decisions.last() else { break };
        after = Some(last.conflict.record_key.clone());
        for decision in &decisions {
            if let Some(why) = &decision.failed {
                context.console.warn(Code::Z415, &format!("{}: {why}", plain(&decision.conflict.record_key)))?;
                count.failed += 1;
            }
        }
        if dry_run { foretell(context, &decisions)? } else { write(context, &mut *index, &decisions, &rules, &mut count)? }
    }
    let Count { settled, left, told, failed } = count;
    if !dry_run {
        let told = if told > 0 { format!("; {} told", units::count(told, "writer")) } else { String::new() };
        context.console.line(&format!("{} settled, {left} left to a person{told}", units::count(settled, "record")))?;
    }
    let summary = summary("conflicts").with("settled", settled).with("left", left).with("told", told).with("failed", failed);
    Ok(Finished { exit: if failed > 0 { Exit::Partial } else { Exit::Done }, summary })
}

fn foretell(context: &mut Context, decisions: &[Decision]) -> Result<(), Halt> {
    for decision in decisions {
        let key = &decision.conflict.record_key;
        let word = match &decision.settled {
            None => "is left to a person",
            Some((Settled::Take(_), _)) => "would be settled by taking a version",
            Some((Settled::Merge(_), _)) => "would be settled by a new version",
        };
        context.console.result(&format!("{} {word}", plain(key)), || Object::of("decision").with("key", key).with("word", word))?;
    }
    Ok(())
}

fn write(context: &mut Context, index: &mut dyn Projection, decisions: &[Decision], rules: &Conflicts, count: &mut Count) -> Result<(), Halt> {
    let mut node = context.node()?;
    node.project(index, false)?;
    for decision in decisions {
        let key = &decision.conflict.record_key;
        match node.settle_by(index, decision, rules.disclose)? {
            Outcome::Settled(pushed) => {
                count.settled += 1;
                for id in node.pushed_ids(&pushed) {
                    context.console.result(&format!("{} {id}", plain(key)), || Object::of("settled").with("key", key).with("id", &id))?;
                }
            }
            Outcome::Left(notices) => {
                count.left += 1;
                count.told += notices;
            }
            Outcome::Changed => count.left += 1,
        }
    }
    Ok(())
}

fn ask(ports: &Ports, rule: &Rule, input: &[u8]) -> Result<(Vec<u8>, Hash), String> {
    let program = rule.program.as_deref().ok_or("the rule names no program")?;
    let failed = |error: std::io::Error| format!("{}: {error}", plain_path(program));
    let bytes =
        read_small(&*ports.disk, program, PROGRAM_LEN_MAX).map_err(failed)?.ok_or_else(|| format!("{}: it is not there", plain_path(program)))?;
    let answer = ask_program(program, input, Duration::from_secs(rule.timeout_s), PAYLOAD_LEN_MAX as u64 + 1024).map_err(failed)?;
    Ok((answer, Hash(Sha256::digest(&bytes).into())))
}
