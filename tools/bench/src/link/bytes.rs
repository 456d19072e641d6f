//! Exact bytes and round trips on loopback, through a proxy at 2G pace.

use super::hub::{Flight, Hub, Way};
use super::{
    DELAY_MS, HISTORY_COUNT, IDLE_LEN_MAX, ONE_LEN_MAX, ONE_TRIPS_MAX, PER_EVENT_2G_MAX, PER_EVENT_MAX, RATE_2G, WARM_LEN_MAX, WARM_TRIPS_MAX,
};
use crate::Failure;
use crate::benches::Corpus;
use crate::measure::Input;
use crate::report::{Report, Unit, thousands, time};
use crate::walk::{Node, Zbundle};
use netlab::proxy::Faults;
use std::process::{Child, Stdio};
use std::thread;
use std::time::{Duration, Instant};

/// Events of each sync, one after the other at the same clinic.
const COUNTS: [usize; 5] = [0, 1, 20, 500, 5000];
/// A link on which nothing passes for so long is settled.
const SETTLED: Duration = Duration::from_secs(3);
/// A conversation that is not settled by then never will be.
const SETTLED_MAX: Duration = Duration::from_mins(1);

/// `link/bytes/…` and `link/trips/…`.
///
/// # Errors
/// When a command fails, or the program counts otherwise than the proxy.
pub fn bytes(zbundle: &Zbundle, report: &mut Report, corpora: &[Corpus]) -> Result<(), Failure> {
    for corpus in corpora.iter().filter(|corpus| corpus.judged) {
        if corpus.file.as_ref().is_some_and(|file| !file.is_file()) {
            report.note(format!("link/bytes/{}", corpus.name), format!("not measured: {} is not there (`--data`)", corpus.name));
            continue;
        }
        let place = zbundle.place("link-bytes")?;
        let node = place.authority("punakha-hub")?;
        let [paced, fresh, fast] = ["lunana-bhu", "laya-bhu", "gasa-bhu"].map(|name| place.member(name, &node));
        let (paced, fresh, fast) = (paced?, fresh?, fast?);
        for clinic in [&paced, &fast] {
            clinic.push(lines(corpus, 0, HISTORY_COUNT)?.into_iter())?;
            clinic.carry(&node)?;
        }
        let hub = Hub::serve(&node)?;
        // Two at a time: each waits for its link, hardly for the processor.
        let (flights, alone) = thread::scope(|scope| {
            let flights = scope.spawn(|| at_2g(&hub, &paced, corpus).map_err(|error| error.to_string()));
            let alone = scope.spawn(|| alone(&hub, &fresh, corpus).map_err(|error| error.to_string()));
            (flights.join(), alone.join())
        });
        let died = |_| "a bench died";
        tell_paced(report, &corpus.name, &flights.map_err(died)??);
        let alone = alone.map_err(died)??;
        let name = format!("link/bytes/{}/5 000 at 2G pace, a clinic's first", corpus.name);
        report.at_most_beside(name, per_event(&alone, 5000), PER_EVENT_2G_MAX, Unit::BytesPerEvent, &said(&alone));
        let way = Way::to(&hub, Faults::default())?;
        fast.push(lines(corpus, HISTORY_COUNT, 5000)?.into_iter())?;
        let flight = way.sync(&fast)?;
        let name = format!("link/bytes/{}/5 000 at full speed", corpus.name);
        report.at_most_beside(name, per_event(&flight, 5000), PER_EVENT_MAX, Unit::BytesPerEvent, &said(&flight));
        if corpus.file.is_none() {
            trips(&hub, &fast, report, corpus)?;
            warm(&hub, &fast, report)?;
        }
        hub.stop()?;
    }
    Ok(())
}

fn lines(corpus: &Corpus, skip: usize, count: usize) -> Result<Vec<String>, Failure> {
    Ok(corpus.lines(skip + count)?.skip(skip).collect())
}

fn paced() -> Faults {
    Faults::both_ways(|way| (way.rate, way.delay) = (Some(RATE_2G), Duration::from_millis(DELAY_MS)))
}

fn delayed() -> Faults {
    Faults::both_ways(|way| way.delay = Duration::from_millis(DELAY_MS))
}

fn at_2g(hub: &Hub, clinic: &Node, corpus: &Corpus) -> Result<Vec<(usize, Flight)>, Failure> {
    let way = Way::to(hub, paced())?;
    let mut skip = HISTORY_COUNT;
    let mut flights = Vec::new();
    for count in COUNTS {
        if count > 0 {
            clinic.push(lines(corpus, skip, count)?.into_iter())?;
        }
        skip += count;
        flights.push((count, way.sync(clinic)?));
    }
    Ok(flights)
}

/// A clinic that never met the hub, with all its events at once.
fn alone(hub: &Hub, clinic: &Node, corpus: &Corpus) -> Result<Flight, Failure> {
    clinic.push(lines(corpus, 0, 5000)?.into_iter())?;
    Way::to(hub, paced())?.sync(clinic)
}

fn per_event(flight: &Flight, count: usize) -> f64 {
    flight.len() as f64 / count as f64
}

fn said(flight: &Flight) -> String {
    format!("{} B up, {} B down, {}", thousands(flight.up), thousands(flight.down), time(flight.took))
}

fn tell_paced(report: &mut Report, corpus: &str, flights: &[(usize, Flight)]) {
    for (count, flight) in flights {
        let name = format!("link/bytes/{corpus}/{} at 2G pace", thousands(*count as u64));
        let (len, said) = (flight.len() as f64, said(flight));
        match count {
            0 => report.at_most_beside(name, len, IDLE_LEN_MAX, Unit::Bytes, &said),
            1 => report.at_most_beside(name, len, ONE_LEN_MAX, Unit::Bytes, &said),
            5000 => report.at_most_beside(name, per_event(flight, 5000), PER_EVENT_2G_MAX, Unit::BytesPerEvent, &said),
            _ => report.note(name, format!("{} B, {:.1} B/event; {said}", thousands(flight.len()), per_event(flight, *count))),
        }
    }
}

/// Delay alone: what remains of the time is round trips. The proxy accepts at once, so TCP's own is added.
fn trips(hub: &Hub, clinic: &Node, report: &mut Report, corpus: &Corpus) -> Result<(), Failure> {
    let way = Way::to(hub, delayed())?;
    let trips = |flight: &Flight| (flight.took.as_secs_f64() * 1e3 / (2 * DELAY_MS) as f64).floor() + 1.0;
    let idle = way.sync(clinic)?;
    report.note("link/trips/idle", format!("{:.0}; {}", trips(&idle), time(idle.took)));
    clinic.push(lines(corpus, 9000, 1)?.into_iter())?;
    let one = way.sync(clinic)?;
    report.at_most_beside("link/trips/1, to its durable acknowledgement", trips(&one), ONE_TRIPS_MAX, Unit::Trips, &time(one.took));
    Ok(())
}

/// One urgent event into a conversation that stands.
fn warm(hub: &Hub, clinic: &Node, report: &mut Report) -> Result<(), Failure> {
    let way = Way::to(hub, delayed())?;
    let standing = Standing::begin(clinic, &way)?;
    let mut rounds = Vec::new();
    for round in 0..5 {
        let before = Standing::settled(&way)?;
        clinic.run(["push", "{\"allergy\":\"penicillin\",\"reaction\":\"anaphylaxis\"}", "--lane", "urgent"], Input::Nothing)?;
        let (mut left, mut back) = (None, None);
        let since = Instant::now();
        while back.is_none() && since.elapsed() < SETTLED_MAX {
            let (up, down) = way.counted();
            let now = Instant::now();
            left = left.or((up > before.0).then_some(now));
            back = back.or((down > before.1).then_some(now));
            thread::sleep(Duration::from_millis(1));
        }
        let after = Standing::settled(&way)?;
        // The proxy takes what comes down as the hub says it: one delay after the event left; the way back is the same again.
        let took = left.zip(back).map(|(left, back)| back - left + Duration::from_millis(DELAY_MS)).ok_or("no acknowledgement came")?;
        if round > 0 {
            rounds.push((after.0 - before.0 + after.1 - before.1, took)); // the first of a lane brings its name
        } else {
            report.note("link/warm/a lane's first event", format!("{} B", after.0 - before.0 + after.1 - before.1));
        }
    }
    standing.end()?;
    let worst = rounds.iter().map(|(len, _)| *len).max().unwrap_or_default();
    let best = rounds.iter().map(|(_, took)| *took).min().unwrap_or_default();
    let trips = (best.as_secs_f64() * 1e3 / (2 * DELAY_MS) as f64 * 10.0).floor() / 10.0;
    report.at_most("link/warm/1 urgent event", worst as f64, WARM_LEN_MAX, Unit::Bytes);
    report.at_most_beside("link/warm/to its durable acknowledgement", trips, WARM_TRIPS_MAX, Unit::Trips, &time(best));
    Ok(())
}

/// A `sync --every` that stays.
struct Standing {
    child: Child,
}

impl Standing {
    fn begin(clinic: &Node, way: &Way) -> Result<Self, Failure> {
        let address = way.address();
        let child = clinic.command(["sync", &address, "--every", "1h"]).stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        Ok(Self { child })
    }

    /// Wait until nothing passes any more; what has passed so far.
    fn settled(way: &Way) -> Result<(u64, u64), Failure> {
        let begun = Instant::now();
        let (mut last, mut since) = (way.counted(), Instant::now());
        while begun.elapsed() < SETTLED_MAX {
            thread::sleep(Duration::from_millis(20));
            let now = way.counted();
            if now != last {
                (last, since) = (now, Instant::now());
            }
            if last.1 > 0 && since.elapsed() > SETTLED {
                return Ok(last);
            }
        }
        Err("the link never falls silent".into())
    }

    fn end(mut self) -> Result<(), Failure> {
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(self.child.id().cast_signed()), nix::sys::signal::Signal::SIGTERM)?;
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("`sync --every` ended with {status}").into()) }
    }
}

impl Drop for Standing {
    fn drop(&mut self) {
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            let _ = self.child.kill(); // it may end in this moment
            let _ = self.child.wait();
        }
    }
}
