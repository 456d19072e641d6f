//! The emulated 2G link: two network namespaces, the kernel's own TCP, 23 kbit/s, 300 ms one way; against what physics takes for the very bytes sent.

use super::{CUT_COST_S_MAX, DELAY_MS, HISTORY_COUNT, LINE_MAX, RATE_2G};
use crate::Failure;
use crate::clinic;
use crate::report::{Report, Unit, thousands};
use crate::walk::{Node, Zbundle};
use netlab::link::{self, ADDRESSES, Failure as LinkFailure, Options};
use netlab::units::Cut;
use std::fs;
use std::path::Path;

/// Events of each sync.
const COUNTS: [usize; 4] = [1, 20, 500, 5000];
/// When the link goes dark, and for how long.
const CUT: Cut = Cut { at: 5.0, lasts: 30.0, every: 0.0 };
/// Events under way then.
const CUT_COUNT: usize = 500;
/// What is sent again takes this long: one range, a second of the link.
const RANGE_S: f64 = 1.0;

/// `link/2G/…`.
///
/// # Errors
/// When a command fails.
pub fn air(zbundle: &Zbundle, report: &mut Report) -> Result<(), Failure> {
    let place = zbundle.place("link-air")?;
    let hub = place.authority("punakha-hub")?;
    let mut uncut = None;
    let steady = clinic_with_history(&place, "lunana-bhu", &hub)?;
    for (seed, count) in (3..).zip(COUNTS) {
        steady.push(clinic::events(seed, count))?; // never what was pushed before: that would be shorter
        let Some(flown) = fly(&steady, &hub, &place.scratch, &[], report)? else { return Ok(()) };
        let name = format!("link/2G/{}", thousands(count as u64));
        let said =
            format!("{:.2} s, the line is {:.2} s; {} B of IP up, {} B down", flown.took, flown.line, thousands(flown.up), thousands(flown.down));
        report.at_most_beside(name, flown.took / flown.line, LINE_MAX, Unit::Times, &said);
        if count == CUT_COUNT {
            uncut = Some(flown);
        }
    }
    let dark = clinic_with_history(&place, "laya-bhu", &hub)?;
    dark.push(clinic::events(3, 21))?;
    // Like the other one, it knows the link by then.
    let known = fly(&dark, &hub, &place.scratch, &[], report)?;
    dark.push(clinic::events(5, CUT_COUNT))?; // the same that went without a cut
    if let (Some(uncut), Some(_), Some(flown)) = (uncut, known, fly(&dark, &hub, &place.scratch, &[CUT], report)?) {
        let ideal = uncut.took + CUT.lasts;
        let said = format!(
            "{:.1} s where {ideal:.1} s would be ideal; {} dials; {} B up, {} B without a cut",
            flown.took,
            flown.dials,
            thousands(flown.up),
            thousands(uncut.up)
        );
        report.at_most_beside("link/2G/500, dark for 30 s after 5 s, lost to it", flown.took - ideal, CUT_COST_S_MAX + RANGE_S, Unit::Seconds, &said);
    }
    Ok(())
}

fn clinic_with_history(place: &Zbundle, name: &str, hub: &Node) -> Result<Node, Failure> {
    let clinic = place.member(name, hub)?;
    clinic.push(clinic::events(1, HISTORY_COUNT))?;
    clinic.carry(hub)?;
    Ok(clinic)
}

/// One sync over the air.
struct Flown {
    /// Seconds from dialling to the end.
    took: f64,
    /// Seconds that physics takes for the same bytes.
    line: f64,
    /// IP bytes.
    up: u64,
    down: u64,
    dials: u64,
}

/// `None` where this machine has no such link; that is said in the table.
fn fly(clinic: &Node, hub: &Node, scratch: &Path, cuts: &[Cut], report: &mut Report) -> Result<Option<Flown>, Failure> {
    let (trace, [told, served]) = (scratch.join("trace"), ["told", "served"].map(|name| scratch.join(name)));
    let address = format!("{}:7070", ADDRESSES[1]);
    let dial = into(&told, clinic, ["sync", &address]);
    let serve = into(&served, hub, ["serve", "--listen", &address]);
    let options = Options { cuts: cuts.to_vec(), b_wait: 1.0, linger: 0.5, trace: Some(trace.clone()), ..Options::default() };
    let run = match link::run(&options, &dial, &serve) {
        Err(LinkFailure::Missing(what)) => {
            report.note("link/2G", format!("not measured: {what}"));
            return Ok(None);
        }
        Err(LinkFailure::Broken(what)) => return Err(what.into()),
        Ok(run) => run,
    };
    let summary = fs::read_to_string(&told)?;
    if run.a_rc != Some(0) {
        return Err(format!("the sync over the air ended with {:?}: {summary}", run.a_rc).into());
    }
    let summary: serde_json::Value = serde_json::from_str(summary.lines().last().unwrap_or_default())?;
    let number = |name: &str| summary[name].as_u64().ok_or_else(|| format!("the summary has no {name}"));
    let took = number("took_ms")? as f64 / 1e3;
    let line = line(&fs::read_to_string(&trace)?).ok_or("the trace shows no conversation")?;
    Ok(Some(Flown { took, line, up: run.a_to_b.ip_bytes, down: run.b_to_a.ip_bytes, dials: number("dials")? }))
}

/// A command line whose stdout goes to a file.
fn into<'a>(file: &Path, node: &Node, args: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let inner = node.command(args);
    let text = |word: &std::ffi::OsStr| word.to_string_lossy().into_owned();
    let shell = ["sh", "-c", r#"out=$1; shift; exec "$@" >"$out""#, "sh"].map(str::to_owned);
    let words = [text(file.as_os_str()), text(inner.get_program())];
    shell.into_iter().chain(words).chain(inner.get_args().map(text)).collect()
}

/// A packet of a trace: when it entered the link, from whom, its length, flags, payload.
struct Packet<'a> {
    at: f64,
    from_a: bool,
    len: f64,
    flags: &'a str,
    payload: u64,
}

fn packets(trace: &str) -> impl Iterator<Item = Packet<'_>> {
    trace.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let [at, name, _, len, _, flags, _, payload] = words.as_slice() else { return None };
        Some(Packet { at: at.parse().ok()?, from_a: *name == "a_to_b", len: len.parse().ok()?, flags, payload: payload.parse().ok()? })
    })
}

/// Seconds that the bytes of a conversation take, from the SYN until the last thing A waited for: six one-way delays (TCP, TLS, data and its
/// acknowledgement), and one after the other SYN, SYN-ACK, B's first flight, everything A sent until then, B's last word. What B says meanwhile
/// travels beside it and costs nothing.
fn line(trace: &str) -> Option<f64> {
    let finish = packets(trace).find(|packet| packet.from_a && packet.flags.contains('F')).map_or(f64::INFINITY, |packet| packet.at);
    let said: Vec<_> = packets(trace).filter(|packet| !packet.from_a && packet.payload > 0 && packet.at < finish).collect();
    let (first, last) = (said.first()?, said.last()?);
    let syn_ack = packets(trace).find(|packet| !packet.from_a && packet.flags.contains('S'))?.len;
    let up: f64 = packets(trace).filter(|packet| packet.from_a && packet.at < last.at).map(|packet| packet.len).sum();
    Some(6.0 * DELAY_MS as f64 / 1e3 + (up + syn_ack + first.len + last.len) / RATE_2G as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_counts_what_had_to_pass_one_after_the_other() {
        let trace = "0.0 a_to_b len 60 flags S payload 0\n0.3 b_to_a len 60 flags SA payload 0\n0.6 a_to_b len 227 flags PA payload 175\n\
                     1.0 b_to_a len 403 flags PA payload 351\n1.4 a_to_b len 1440 flags PA payload 1388\n1.8 b_to_a len 52 flags A payload 0\n\
                     2.2 b_to_a len 100 flags PA payload 48\n2.5 a_to_b len 76 flags PA payload 24\n2.5 a_to_b len 52 flags FA payload 0\n\
                     2.9 b_to_a len 76 flags PA payload 24\n";
        let want = 1.8 + (60.0 + 227.0 + 1440.0 + 60.0 + 403.0 + 100.0) / 2875.0;
        assert!((line(trace).unwrap_or_default() - want).abs() < 1e-9);
    }
}
