//! The hub as people run it: hundreds dial at once, while applications push and follow, pages are looked at, and the tables keep in step.

use super::HUB_RSS_MAX;
use super::crowd::{BROUGHT_COUNT, CLINIC_COUNT, HELD_COUNT, at_once, elsewhere};
use super::hub::Hub;
use crate::Failure;
use crate::clinic;
use crate::http::{Line, ask, line, push};
use crate::measure::Input;
use crate::report::{Report, Unit, time};
use crate::walk::Zbundle;
use std::fs;
use std::io::{BufRead as _, Write as _};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};

/// Who follows the stream meanwhile.
const LISTENER_COUNT: usize = 50;
/// What others look at, over and over.
const LOOKED_AT: [&str; 7] = ["/ui", "/metrics", "/v1/status", "/v1/peers", "/v1/conflicts", "/v1/events?limit=1000", "/v1/records/Patient%2F1"];

/// `link/full/…`.
///
/// # Errors
/// When a command or a request fails.
pub fn full(zbundle: &Zbundle, report: &mut Report) -> Result<(), Failure> {
    let place = zbundle.place("link-full")?;
    let node = place.authority("punakha-hub")?;
    let elder = place.member("elder", &node)?;
    elder.push(clinic::events(1, HELD_COUNT))?;
    elder.carry(&node)?;
    fs::remove_dir_all(&elder.dir)?;
    let cost = node.run(["project"], Input::Nothing)?;
    report.note("link/full/project, 1 000 000 events of one clinic", format!("{}, peak {:.1} MB", time(cost.wall), cost.rss as f64 / 1e6));
    let away = elsewhere(&place);
    fs::create_dir_all(&away.scratch)?;
    let clinics = (0..CLINIC_COUNT).map(|at| away.member(&format!("clinic-{at}"), &node)).collect::<Result<Vec<_>, _>>()?;
    for (at, clinic) in clinics.iter().enumerate() {
        clinic.push(clinic::events(at as u64, BROUGHT_COUNT))?;
    }
    let hub = Hub::serve_all(&node)?;
    let socket = node.dir.join("http.sock");
    let stop = Arc::new(AtomicBool::new(false));
    let after = end(&mut line(&socket)?)?;
    let listeners = (0..LISTENER_COUNT).map(|_| listen(&socket, &after)).collect::<Result<Vec<_>, _>>()?;
    let lookers = [look(&socket, &stop)?, apply(&socket, &stop)?];
    let all = at_once(&clinics, &hub);
    stop.store(true, Ordering::Relaxed);
    let mut done = Vec::new();
    for looker in lookers {
        done.push(looker.join().map_err(|_| "a reader of pages or a writer failed")??);
    }
    let (rss, of_files) = (hub.rss_max()? as f64, hub.rss_of_files()? as f64);
    hub.stop()?;
    let all = all?;
    let mut told = Vec::new();
    for listener in listeners {
        told.push(listener.join().map_err(|_| "a listener failed")?);
    }
    let said = format!(
        "of which {:.1} MB are pages of the program and its libraries; 1 000 000 events held; {} events in {}, {} of {CLINIC_COUNT} gave up for now; meanwhile {} pages shown, {} events pushed by HTTP, {} to {} told to each of {LISTENER_COUNT} streams",
        of_files / 1e6,
        all.sent,
        time(all.wall),
        all.gave_up,
        done[0],
        done[1],
        told.iter().min().copied().unwrap_or_default(),
        told.iter().max().copied().unwrap_or_default(),
    );
    report.at_most_beside("link/full/250 clinics, API, page, tables and streams, peak memory of the hub", rss, HUB_RSS_MAX, Unit::Megabytes, &said);
    let new = node.run(["project"], Input::Nothing)?.number("new");
    report.note("link/full/events that the tables lacked when it ended", format!("{}", new.unwrap_or_default()));
    away.clear()
}

/// The end of the feed: events of a record that nobody has are passed over by the thousand.
fn end(line: &mut Line) -> Result<String, Failure> {
    let mut after = "0".to_owned();
    loop {
        let (status, page) = ask(line, "GET", &format!("/v1/events?key=nobody&limit=1000&after={after}"), "-", b"")?;
        let page: serde_json::Value = serde_json::from_slice(&page)?;
        page["next"].as_str().ok_or_else(|| format!("{status}: a page has no next"))?.clone_into(&mut after);
        if page["more"] == false {
            return Ok(after);
        }
    }
}

/// One who follows until the stream ends; how many events he was told.
fn listen(socket: &Path, after: &str) -> Result<JoinHandle<u64>, Failure> {
    let mut stream = line(socket)?;
    stream.get_mut().write_all(format!("GET /v1/stream?after={after} HTTP/1.1\r\nhost: zbundle\r\n\r\n").as_bytes())?;
    Ok(thread::spawn(move || stream.lines().map_while(Result::ok).filter(|line| line.starts_with("id: ")).count() as u64))
}

fn look(socket: &Path, stop: &Arc<AtomicBool>) -> Result<JoinHandle<Result<u64, String>>, Failure> {
    let (mut line, stop) = (line(socket)?, Arc::clone(stop));
    Ok(thread::spawn(move || {
        let mut count = 0;
        for path in LOOKED_AT.iter().cycle() {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            ask(&mut line, "GET", path, "-", b"").map_err(|error| format!("{path}: {error}"))?;
            count += 1;
        }
        Ok(count)
    }))
}

fn apply(socket: &Path, stop: &Arc<AtomicBool>) -> Result<JoinHandle<Result<u64, String>>, Failure> {
    let (mut line, stop) = (line(socket)?, Arc::clone(stop));
    Ok(thread::spawn(move || {
        let mut count = 0;
        for event in clinic::events(5, usize::MAX) {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            push(&mut line, "application/json", event.as_bytes()).map_err(|error| error.to_string())?;
            count += 1;
        }
        Ok(count)
    }))
}
