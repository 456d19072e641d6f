//! What brings files, and how it looks from the folder.

use crate::place::{Place, program, seconds, text};
use crate::process::{Process, wait_for};
use crate::world::{SOON, figure};
use rustix::process::Signal;
use std::fs::{self, File, OpenOptions};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::Path;
use std::thread::sleep;
use std::time::Duration;

/// Between two pieces of a slow copy.
const PIECE: Duration = Duration::from_millis(120);

/// A way to bring the bundle `from` to `to`.
type Copier = (&'static str, fn(&Path, &Path));

const COPIERS: &[Copier] = &[
    ("cp", |from, to| program("cp", &[text(from), text(to)])),
    ("mv", |from, to| program("mv", &[text(from), text(to)])),
    ("ln", |from, to| program("ln", &[text(from), text(to)])),
    ("rsync", |from, to| program("rsync", &["-a", text(from), text(to)])),
    ("rsync --inplace, slow", |from, to| program("rsync", &["-a", "--inplace", "--bwlimit=40", text(from), text(to)])),
    ("rsync --partial, slow", |from, to| program("rsync", &["-a", "--partial", "--bwlimit=40", text(from), text(to)])),
    ("rsync -T elsewhere", |from, to| program("rsync", &["-a", "-T", text(from.parent().unwrap()), text(from), text(to)])),
    ("gio copy", |from, to| program("gio", &["copy", text(from), text(to)])),
    ("in pieces", |from, to| in_pieces(from, to, &[0, 1, 2, 3, 4, 5, 6, 7])),
    ("in pieces, the end first", |from, to| in_pieces(from, to, &[7, 6, 5, 4, 3, 2, 1, 0])),
    ("room first, then filled, twice opened", room_first),
    ("over an old file of the same name", over_an_old_one),
    ("an old date, as archives keep", |from, to| {
        program("cp", &[text(from), text(to)]);
        program("touch", &["-d", "1999-01-01", text(to)]);
    }),
];

/// Eighths of a file, in an order, slowly, in a file of full length from the first but the last-growing order.
fn in_pieces(from: &Path, to: &Path, order: &[usize]) {
    let bytes = fs::read(from).unwrap();
    let piece = bytes.len().div_ceil(order.len());
    let mut file = File::create(to).unwrap();
    for number in order {
        let (begin, end) = (number * piece, ((number + 1) * piece).min(bytes.len()));
        file.seek(SeekFrom::Start(begin as u64)).unwrap();
        file.write_all(&bytes[begin..end]).unwrap();
        sleep(PIECE);
    }
}

/// As a program of Windows copies: the size at once, closed, opened again, filled.
fn room_first(from: &Path, to: &Path) {
    let bytes = fs::read(from).unwrap();
    File::create(to).unwrap().set_len(bytes.len() as u64).unwrap();
    sleep(PIECE * 4);
    let mut file = OpenOptions::new().write(true).open(to).unwrap();
    for piece in bytes.chunks(bytes.len().div_ceil(5)) {
        file.write_all(piece).unwrap();
        sleep(PIECE);
    }
}

/// Something else lay there, of the same length; a file manager replaces it: temporary, then renamed.
fn over_an_old_one(from: &Path, to: &Path) {
    let len = usize::try_from(fs::metadata(from).unwrap().len()).unwrap();
    fs::write(to, vec![7; len]).unwrap();
    sleep(PIECE);
    let temporary = to.with_file_name(".goutputstream-AB12CD");
    program("cp", &[text(from), text(&temporary)]);
    fs::rename(temporary, to).unwrap();
}

pub fn every_copier_brings_a_bundle_once_and_no_verdict_comes_early() {
    let place = Place::new();
    let watch = place.watch(&["--look-every", "10s"]);
    let mut slowest = ("", Duration::ZERO);
    for (number, (name, copy)) in COPIERS.iter().enumerate() {
        let bundle = place.bundle(200);
        copy(&bundle, &place.drop.join(format!("bundle{number}.zb")));
        let begun = std::time::Instant::now();
        wait_for(&format!("what {name} brought"), SOON, || (taken(&watch) > number).then_some(()));
        if begun.elapsed() > slowest.1 {
            slowest = (name, begun.elapsed());
        }
    }
    place.wait_for_events(200 * COPIERS.len());
    figure!("{} copiers; the slowest to be taken after its end: {} {:.1} s", COPIERS.len(), slowest.0, slowest.1.as_secs_f64());
    let ended = end(watch);
    let files = ended.objects("file");
    assert_eq!(files.len(), COPIERS.len(), "each once, and nothing but what was taken: {ended:?}");
    assert!(files.iter().all(|file| file["outcome"] == "taken"), "{ended:?}");
}

pub fn a_bundle_replaced_again_and_again_while_it_is_read_is_never_called_damaged() {
    let place = Place::new();
    let (first, second) = (place.large_bundle(3_000_000), place.large_bundle(3_000_000));
    let watch = place.watch(&["--look-every", "1s"]);
    let target = place.drop.join("again.zb");
    // Written over in place, never whole for long, under the eyes of the watch.
    for round in 0..12 {
        let bytes = fs::read(if round % 2 == 0 { &first } else { &second }).unwrap();
        let mut file = OpenOptions::new().write(true).create(true).truncate(false).open(&target).unwrap();
        for piece in bytes.chunks(bytes.len() / 4) {
            file.write_all(piece).unwrap();
            sleep(Duration::from_millis(60));
        }
        file.set_len(bytes.len() as u64).unwrap();
    }
    wait_for("the last one", SOON, || (place.events() >= 2).then_some(()));
    let ended = end(watch);
    assert!(ended.objects("file").iter().all(|file| file["outcome"] == "taken"), "{ended:?}");
    assert!(!place.world.path("hub/quarantine").read_dir().unwrap().any(|_| true), "no copy was kept of what was still changing");
}

pub fn what_stops_arriving_is_told_once_and_taken_when_it_is_completed() {
    let place = Place::new();
    let bytes = fs::read(place.bundle(300)).unwrap();
    let watch = place.watch(&["--look-every", "500ms", "--stalled-after", "4s"]);
    let target = place.drop.join("half.zb");
    fs::write(&target, &bytes[..bytes.len() / 2]).unwrap();
    sleep(seconds(2));
    assert!(!watch.said().contains("\"file\""), "it may still be arriving: {}", watch.said());
    wait_for("it is told as stalled", SOON, || watch.said().contains("Z240").then_some(()));
    sleep(seconds(7));
    assert_eq!(watch.said().matches("Z240").count(), 1, "once: {}", watch.said());
    OpenOptions::new().append(true).open(&target).unwrap().write_all(&bytes[bytes.len() / 2..]).unwrap();
    place.wait_for_events(300);
    let ended = end(watch);
    let told: Vec<_> = ended.objects("file").iter().map(|file| file["outcome"].clone()).collect();
    assert_eq!(told, ["stalled", "taken"], "not refused: {ended:?}");
}

pub fn a_damaged_bundle_is_told_once_and_its_repair_is_taken() {
    let place = Place::new();
    let bytes = fs::read(place.bundle(50)).unwrap();
    let mut bad = bytes.clone();
    bad[bytes.len() / 2] ^= 1;
    let target = place.drop.join("bad.zb");
    fs::write(&target, &bad).unwrap();
    let watch = place.watch(&["--look-every", "500ms"]);
    wait_for("it is told", SOON, || watch.said().contains("Z213").then_some(()));
    sleep(seconds(3));
    assert_eq!(watch.said().matches("Z213").count(), 1, "once: {}", watch.said());
    end(watch);
    assert_eq!(place.once(&["--json"]).objects("file").len(), 0, "also by the next process");
    fs::write(&target, &bytes).unwrap();
    assert_eq!(place.once(&["--json"]).expect(0).summary().number("new"), 50);
}

/// Bundles it says it has taken.
fn taken(watch: &Process) -> usize {
    watch.said().matches("\"outcome\":\"taken\"").count()
}

/// Ended in order.
#[track_caller]
pub fn end(watch: Process) -> crate::process::Ended {
    watch.signal(Signal::TERM);
    watch.end(seconds(15)).expect(0)
}
