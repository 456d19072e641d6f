//! A hub that hundreds dial at once, and one that hands out all it has.

use super::HUB_RSS_MAX;
use super::hub::{Hub, number};
use crate::Failure;
use crate::clinic;
use crate::measure::Input;
use crate::report::{Report, Unit, per_second, time};
use crate::walk::{Node, Zbundle};
use std::fs;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

/// Clinics that dial at once.
pub(super) const CLINIC_COUNT: usize = 250;
/// Events that the hub holds before.
pub(super) const HELD_COUNT: usize = 1_000_000;
/// Events that each clinic brings.
pub(super) const BROUGHT_COUNT: usize = 20;
/// Clinics whose ranges share syncs, with one event each.
const COMMIT_COUNT: usize = 50;
/// Ranges of many sessions share a sync: fewer than one for each. What the disk allows is not known here, so no more is promised.
const SYNCS_PER_RANGE_MAX: f64 = 1.0;
/// Events that a new node fetches.
const PULLED_COUNT: usize = 200_000;
/// `sync` could not reach the hub in time.
const EXIT_LINK: i32 = 16;
/// Peak memory of any command (DESIGN §14).
const RSS_MAX: f64 = 10e6;

/// `link/crowd/…`.
///
/// # Errors
/// When a command fails.
pub fn crowd(zbundle: &Zbundle, report: &mut Report) -> Result<(), Failure> {
    let place = zbundle.place("link-crowd")?;
    let node = place.authority("punakha-hub")?;
    let elder = place.member("elder", &node)?;
    elder.push(clinic::events(1, HELD_COUNT))?;
    elder.carry(&node)?;
    fs::remove_dir_all(&elder.dir)?;
    let away = elsewhere(&place);
    fs::create_dir_all(&away.scratch)?;
    let clinics = (0..CLINIC_COUNT).map(|at| away.member(&format!("clinic-{at}"), &node)).collect::<Result<Vec<_>, _>>()?;
    for (at, clinic) in clinics.iter().enumerate() {
        clinic.push(clinic::events(at as u64, BROUGHT_COUNT))?;
    }
    let hub = Hub::serve(&node)?;
    let all = at_once(&clinics, &hub)?;
    let rss = hub.rss_max()? as f64;
    hub.stop()?;
    let (fastest, slowest) = (all.took.iter().min().copied().unwrap_or_default(), all.took.iter().max().copied().unwrap_or_default());
    let said =
        format!("1 000 000 events held; {} events in {}, the clinics' processes on the same machine, their logs in memory", all.sent, time(all.wall));
    report.at_most_beside("link/crowd/250 clinics, peak memory of the hub", rss, HUB_RSS_MAX, Unit::Megabytes, &said);
    let ratio = slowest.as_secs_f64() / fastest.as_secs_f64().max(1e-3);
    report.note("link/crowd/250 clinics, slowest against fastest", format!("{ratio:.1} ×; {} and {}", time(slowest), time(fastest)));
    report.at_most("link/crowd/250 clinics, gave up for now", all.gave_up as f64, 0.0, Unit::Count);
    if all.gave_up == 0 && all.sent != (CLINIC_COUNT * BROUGHT_COUNT) as u64 {
        return Err(format!("{} events were acknowledged", all.sent).into());
    }
    let done = commits(&place, &node, &clinics[..COMMIT_COUNT], report);
    away.clear()?;
    done
}

/// Clinics have disks of their own: theirs are in memory here, where there is such a folder, so that only the hub's syncs reach the disk.
pub(super) fn elsewhere(place: &Zbundle) -> Zbundle {
    let memory = Path::new("/dev/shm");
    let scratch = if memory.is_dir() { memory.join(format!("zbundle-bench-{}", std::process::id())) } else { place.scratch.join("clinics") };
    Zbundle { program: place.program.clone(), scratch }
}

/// Syncs of the log for ranges that come at the same time.
fn commits(place: &Zbundle, node: &Node, clinics: &[Node], report: &mut Report) -> Result<(), Failure> {
    for clinic in clinics {
        clinic.run(["push", "{\"bp\":\"120/80\"}"], Input::Nothing)?;
    }
    let trace = place.scratch.join("strace");
    let hub = match Hub::traced(node, &trace) {
        Ok(hub) => hub,
        Err(error) => {
            report.note("link/crowd/fdatasync", format!("not measured: {error}"));
            return Ok(());
        }
    };
    let all = at_once(clinics, &hub)?;
    hub.stop()?;
    let text = fs::read_to_string(&trace)?;
    let syncs = |of: &str| text.lines().filter(|line| line.contains("sync(") && line.contains(of)).count();
    let (of_log, of_all) = (syncs("/log/"), syncs(""));
    let said = format!("{of_log} of the log for {} ranges, each of another clinic; {of_all} syncs of all files", all.sent);
    report.at_most_beside(
        "link/crowd/50 clinics, fdatasync of the log",
        of_log as f64 / all.sent.max(1) as f64,
        SYNCS_PER_RANGE_MAX,
        Unit::PerRange,
        &said,
    );
    Ok(())
}

/// What many syncs at once did.
pub(super) struct Together {
    pub wall: Duration,
    took: Vec<Duration>,
    pub sent: u64,
    new: u64,
    /// Syncs that ended with "link failed, try later".
    pub gave_up: usize,
}

/// All dial at the same time, as after a power cut.
pub(super) fn at_once(clinics: &[Node], hub: &Hub) -> Result<Together, Failure> {
    let address = hub.address.to_string();
    let begun = Instant::now();
    let spawn = |clinic: &Node| clinic.command(["sync", &address]).stdin(Stdio::null()).stdout(Stdio::piped()).spawn();
    let children = clinics.iter().map(spawn).collect::<Result<Vec<_>, _>>()?;
    let mut all = Together { wall: Duration::ZERO, took: Vec::new(), sent: 0, new: 0, gave_up: 0 };
    for child in children {
        let output = child.wait_with_output()?;
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        let summary: serde_json::Value = serde_json::from_str(last)?;
        match output.status.code() {
            Some(0) => {}
            Some(EXIT_LINK) => {
                all.gave_up += 1; // its next run goes on; on a loaded machine it may just not have got its turn
                continue;
            }
            _ => return Err(format!("a sync ended with {}: {last}", output.status).into()),
        }
        let number = |name: &str| summary[name].as_u64().unwrap_or_default();
        all.took.push(Duration::from_millis(number("took_ms")));
        all.sent += number("sent");
        all.new += number("new");
    }
    all.wall = begun.elapsed();
    Ok(all)
}

/// `link/pull/…`: new nodes that may see everything.
///
/// # Errors
/// When a command fails.
pub fn pull(zbundle: &Zbundle, report: &mut Report) -> Result<(), Failure> {
    let place = zbundle.place("link-pull")?;
    let node = place.authority("punakha-hub")?;
    let elder = place.member("elder", &node)?;
    elder.push(clinic::events(1, PULLED_COUNT))?;
    elder.carry(&node)?;
    fs::remove_dir_all(&elder.dir)?;
    let hubs = ["first", "second", "third", "fourth"].map(|name| place.member(name, &node)).into_iter().collect::<Result<Vec<_>, _>>()?;
    for hub in &hubs {
        node.run(["policy", &hub.name, "all"], Input::Nothing)?;
    }
    let hub = Hub::serve(&node)?;
    let cost = hubs[0].run(["sync", &hub.address.to_string()], Input::Nothing)?;
    let (new, len) = (number(&cost, "new")?, number(&cost, "bytes_received")?);
    let said = format!("{new} events in {}, {}, {:.1} B/event", time(cost.wall), per_second(new, cost.wall), len as f64 / new.max(1) as f64);
    report.at_most_beside("link/pull/200 000 events, peak memory of the hub", hub.rss_max()? as f64, HUB_RSS_MAX, Unit::Megabytes, &said);
    report.at_most("link/pull/200 000 events, peak memory of the new node", cost.rss as f64, RSS_MAX, Unit::Megabytes);
    let all = at_once(&hubs[1..], &hub)?;
    let said = format!("{} events in {}, {}", all.new, time(all.wall), per_second(all.new, all.wall));
    report.at_most_beside("link/pull/three new nodes at once, peak memory of the hub", hub.rss_max()? as f64, HUB_RSS_MAX, Unit::Megabytes, &said);
    hub.stop()
}
