//! Days of watching: idle, crowded, killed, from cron, inside a hub.

use crate::copiers::end;
use crate::place::{Place, program, seconds, text};
use crate::process::{Process, wait_for};
use crate::world::{SOON, figure};
use rustix::process::Signal;
use std::fs;
use std::thread::sleep;
use std::time::{Duration, Instant};

/// Most memory an idle watch may ever have held. Its own share of it; the rest is pages of the program, larger where it is built for tests.
const IDLE_MEMORY: u64 = 6 << 20;
/// Files of one folder in the claim about old ones.
const OLD: usize = 10_000;

pub fn an_idle_watch_costs_nearly_nothing() {
    let place = Place::new();
    let bundle = place.bundle(20);
    program("cp", &[text(&bundle), text(&place.drop.join("a.zb"))]);
    let watch = place.watch(&["--look-every", "1s"]);
    place.wait_for_events(20);
    sleep(seconds(8)); // read once more, and then left
    let before = watch.processor_time();
    sleep(seconds(20));
    let spent = watch.processor_time().saturating_sub(before);
    let (own, peak) = (watch.own_memory(), watch.peak_memory());
    figure!("idle, looking every second: {spent:?} of processor in 20 s, {} KiB of its own, {} KiB peak", own >> 10, peak >> 10);
    assert!(spent < Duration::from_millis(200), "{spent:?}");
    assert!(own < IDLE_MEMORY, "{own}");
    end(watch);
}

pub fn ten_thousand_old_bundles_are_looked_at_again_in_no_time() {
    let place = Place::new();
    for _ in 0..5 {
        place.bundle(3);
    }
    for number in 0..OLD {
        let from = crate::place::only_file(&place.world.path(format!("out{}", number % 5)));
        fs::copy(from, place.drop.join(format!("old{number}.zb"))).unwrap();
    }
    program("find", &[text(&place.drop), "-name", "*.zb", "-exec", "touch", "-d", "2026-01-01", "{}", "+"]);
    let first = place.once(&["--json"]).expect(0);
    sleep(seconds(5));
    let second = place.once(&["--json"]).expect(0);
    let begun = Instant::now();
    let third = place.once(&["--json"]).expect(0);
    let took = begun.elapsed();
    figure!(
        "{OLD} files: first {:.2} s, again {:.2} s, looked at {:.2} s, which is what is left with nothing to read",
        first.took.as_secs_f64(),
        second.took.as_secs_f64(),
        took.as_secs_f64()
    );
    assert_eq!((first.summary().number("new"), third.summary().number("files")), (15, 0));
    assert!(took < seconds(1), "{took:?}");
}

pub fn thousands_of_files_at_once_are_all_taken() {
    const FILES: usize = 300;
    let place = Place::new();
    let watch = place.watch(&[]);
    for _ in 0..FILES / 60 {
        place.bundle(60);
    }
    let mut junk = Vec::new();
    for number in 0..3000 {
        junk.push(place.drop.join(format!("junk{number}.txt")));
        fs::write(junk.last().unwrap(), b"junk").unwrap();
    }
    for number in 0..FILES {
        let from = crate::place::only_file(&place.world.path(format!("out{}", number % (FILES / 60))));
        program("cp", &[text(&from), text(&place.drop.join(format!("x ({number}).zb")))]);
    }
    place.wait_for_events(FILES);
    end(watch);
}

/// More events than the kernel keeps for who does not read them: it is told so, and looks.
pub fn hints_that_were_lost_are_made_up_for_by_looking() {
    let place = Place::new();
    let bundle = place.bundle(10);
    let watch = place.watch(&[]);
    wait_for("it has begun", SOON, || place.world.path("hub/ctl.sock").exists().then_some(()));
    sleep(seconds(1));
    watch.signal(Signal::STOP);
    let most: usize = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    for number in 0..=most / 2 {
        fs::write(place.drop.join(format!("{number}.jpg")), b"").unwrap();
    }
    program("cp", &[text(&bundle), text(&place.drop.join("a.zb"))]);
    watch.signal(Signal::CONT);
    let begun = Instant::now();
    place.wait_for_events(10);
    assert!(begun.elapsed() < seconds(20), "sooner than the next look without a hint");
    end(watch);
}

pub fn a_watch_killed_again_and_again_loses_nothing_and_tells_nothing_twice() {
    let place = Place::new();
    let bad = place.drop.join("bad.zb");
    fs::write(&bad, vec![b'x'; 5000]).unwrap();
    program("touch", &["-d", "2026-01-01", text(&bad)]);
    let mut told = 0;
    for round in 0..8 {
        let watch = place.watch(&["--look-every", "500ms"]);
        let bundle = place.bundle(10);
        program("cp", &[text(&bundle), text(&place.drop.join(format!("{round}.zb")))]);
        sleep(Duration::from_millis(150 * round));
        told += watch.kill().out.matches("Z211").count();
    }
    let watch = place.watch(&["--look-every", "500ms"]);
    place.wait_for_events(80);
    wait_for("junk is told", SOON, || (told + watch.said().matches("Z211").count() > 0).then_some(()));
    sleep(seconds(2));
    told += end(watch).out.matches("Z211").count();
    assert!((1..=2).contains(&told), "a kill between telling and remembering may repeat it: {told} times");
}

pub fn cron_hears_nothing_when_all_is_well() {
    let place = Place::new();
    let said_nothing = |ended: &crate::process::Ended| ended.out.is_empty() && ended.err.is_empty();
    let ended = place.once(&[]).expect(0);
    assert!(said_nothing(&ended), "nothing there: {ended:?}");
    let bundle = place.bundle(10);
    program("cp", &[text(&bundle), text(&place.drop.join("a.zb"))]);
    let ended = place.once(&["--quiet"]).expect(0);
    assert_eq!(ended.out.lines().count(), 1, "what came: {ended:?}");
    for _ in 0..3 {
        let ended = place.once(&[]).expect(0);
        assert!(said_nothing(&ended), "{ended:?}");
    }
    fs::write(place.drop.join("junk.zb"), b"certainly not a bundle").unwrap();
    program("touch", &["-d", "2026-01-01", text(&place.drop.join("junk.zb"))]);
    let names = || {
        let mut names: Vec<_> = fs::read_dir(&place.drop).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        names.sort();
        names
    };
    assert_eq!(names(), ["ZBUNDLE.TXT", "a.zb", "junk.zb"], "no lock, no trace");
    fs::rename(place.drop.join("ZBUNDLE.TXT"), place.drop.join("gone.txt")).unwrap();
    let ended = place.once(&[]);
    assert_eq!(ended.status, Some(13), "{ended:?}");
    assert!(ended.err.contains("Z231"), "{ended:?}");
}

pub fn serve_watches_too_and_other_commands_work_beside_it() {
    let place = Place::new();
    let hub = place.world.start("hub", &["serve", "--listen", "127.0.0.1:0", "--watch", "drop", "--json"]);
    wait_for("listening", SOON, || hub.said().contains("listening").then_some(()));
    let bundle = place.bundle(40);
    place.world.ok("hub", &["push", "{\"beside\":1}"]);
    program("cp", &[text(&bundle), text(&place.drop.join("a.zb"))]);
    place.wait_for_events(40);
    let again = place.once(&["--json"]).expect(0);
    assert_eq!(again.summary().number("new"), 0, "a second pair of eyes borrows the node: {again:?}");
    let address = hub.said().lines().find_map(|line| serde_json::from_str::<serde_json::Value>(line).ok()?["address"].as_str().map(str::to_owned));
    place.world.sync("clinic", address.unwrap().parse().unwrap(), &[]).end(SOON).expect(0);
    let ended = end(hub);
    assert_eq!(ended.summary().number("watched_new"), 40, "{ended:?}");
}

/// R10.11-i: a drop folder between a hub and a clinic that looks after itself, until both have fallen silent.
pub fn a_hub_answers_in_its_drop_folder_by_itself_and_falls_silent() {
    let place = Place::new();
    let watch = place.watch(&["--exchange", "--look-every", "1s"]);
    for round in 1..=3 {
        let bundle = place.bundle(10);
        program("cp", &[text(&bundle), text(&place.drop.join(format!("{round}.zb")))]);
        place.wait_for_events(round * 10);
        place.world.ok("hub", &["push", "{\"from\":\"the hub\"}", "--lane", "urgent"]);
        wait_for("the receipt is there", SOON, || {
            place.world.run("clinic", &["ingest", "drop"]);
            (place.world.acknowledged("clinic", "hub") >= (round * 10) as u64).then_some(())
        });
    }
    sleep(seconds(3));
    let count = || fs::read_dir(&place.drop).unwrap().count();
    let (files, said) = (count(), watch.said().len());
    sleep(seconds(6));
    assert_eq!((count(), watch.said().len()), (files, said), "nothing more to say: {}", watch.said());
    figure!("{files} files in the folder, the marker and three of the clinic's included");
    end(watch);
}

impl Process {
    fn status_kib(&self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
        line.trim_matches([':', '\t', ' ']).trim_end_matches(" kB").parse::<u64>().unwrap()
    }

    /// Memory that no other process could share, now.
    fn own_memory(&self) -> u64 {
        self.status_kib("RssAnon") * 1024
    }

    /// Processor time in all, in the system's ticks of 10 ms.
    fn processor_time(&self) -> Duration {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.id())).unwrap();
        let fields: Vec<&str> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
        let ticks: u64 = [11, 12].iter().map(|at| fields[*at].parse::<u64>().unwrap()).sum();
        Duration::from_millis(ticks * 10)
    }
}
