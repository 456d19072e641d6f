//! A stick made by somebody who wishes us ill, or by many who did not think.

use crate::place::{Place, seconds};
use crate::process::Ended;
use crate::world::{World, figure};
use rustix::fs::{CWD, FileType, Mode, makedev, mknodat};
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

/// Files that are no bundles and do not pretend.
const JUNK: usize = 100_000;
/// Most memory either command may take.
const MEMORY: u64 = 32 << 20;
/// Longest either command may take on a machine that does nothing else.
const TIME: Duration = seconds(5);

pub fn a_hostile_stick_is_done_with_soon_in_little_memory_and_the_good_bundles_are_taken() {
    let place = Place::new();
    let (first, second) = (place.bundle(30), place.bundle(20));
    let drop = &place.drop;
    let good = fs::read(&second).unwrap();
    fs::copy(&first, drop.join("b-last-years.zb")).unwrap();
    fs::copy(&second, drop.join("a-this-years.ZB")).unwrap(); // out of order, by name
    let told = fill(drop, &good, &first);
    for _ in 0..2 {
        let (ended, peak) = measured(&place, &["ingest", "drop", "--json"]);
        check(&place, &ended, peak, &told, "ingest");
    }
    let (ended, peak) = measured(&place, &["exchange", "drop", "--json"]);
    check(&place, &ended, peak, &told, "exchange");
    assert!(ended.out.contains("\"safe\":true"), "what was to be written is there, whatever else lies there");
    let (ended, peak) = measured(&place, &["watch", "--once", "drop", "--json", "--look-every", "100ms"]);
    let mut files = ended.objects("file");
    // What was read so soon after it was made that it may still have been arriving is read again when two ticks of FAT's clock are over (R10.11-c).
    std::thread::sleep(Duration::from_secs(u64::from(zbundle::carry::watch::TICK_S) + 1));
    let (again, _) = measured(&place, &["watch", "--once", "drop", "--json", "--look-every", "100ms"]);
    files.extend(again.objects("file"));
    figure!("watch --once: {} lines in {:.1} s, {} KiB", files.len(), ended.took.as_secs_f64(), peak >> 10);
    assert!(peak < MEMORY && ended.took < slack(TIME), "{peak} bytes, {:?}", ended.took);
    for (name, code) in &told {
        let of_it = files.iter().filter(|file| file["file"].as_str().unwrap() == format!("drop/{name}")).collect::<Vec<_>>();
        assert!(of_it.len() == 1 && of_it[0]["code"] == *code, "one line for {name}, {code}: {of_it:?}");
    }
    place.world.check_all("hub", "clinic", 50);
    assert!(place.drop.join("link.zb").symlink_metadata().unwrap().is_symlink(), "nothing was touched");
}

/// R10.10-c: written through the link, the records stayed in a folder of the node, and the stick was "safe to remove".
pub fn a_stick_whose_folder_is_a_link_is_refused_and_nothing_goes_where_it_leads() {
    let place = Place::new();
    let stick = tempfile::tempdir_in("/dev/shm").unwrap(); // a file system of its own, as a stick is
    let path = stick.path().to_str().unwrap();
    let prepared = place.world.run("clinic", &["stick", "init", path]);
    if prepared.status == Some(2) {
        figure!("not tried: /dev/shm is on the file system of /");
        return;
    }
    place.world.ok("clinic", &["push", "{}"]);
    let elsewhere = place.world.path("elsewhere");
    fs::create_dir(&elsewhere).unwrap();
    fs::remove_dir(stick.path().join("zbundle")).unwrap();
    symlink(&elsewhere, stick.path().join("zbundle")).unwrap();
    let ended = place.world.run("clinic", &["exchange", path]).expect(13);
    assert!(ended.err.contains("Z233") && ended.err.contains("zbundle is no folder of this stick"), "{ended:?}");
    assert!(!ended.out.contains("safe"), "{ended:?}");
    assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 0);
    fs::remove_file(stick.path().join("zbundle")).unwrap();
    let ended = place.world.run("clinic", &["exchange", path]).expect(0);
    assert!(ended.out.contains("Stick is safe to remove."), "the folder is made again: {ended:?}");
}

fn check(place: &Place, ended: &Ended, peak: u64, told: &[(String, &str)], what: &str) {
    figure!("{what}: {:.1} s, {} KiB", ended.took.as_secs_f64(), peak >> 10);
    assert_eq!(ended.status, Some(3), "{ended:?}");
    let files = ended.objects("file");
    for (name, code) in told {
        let of_it = files.iter().filter(|file| file["file"].as_str().unwrap() == format!("drop/{name}")).collect::<Vec<_>>();
        assert!(of_it.len() == 1 && of_it[0]["code"] == *code, "one line for {name}, {code}: {of_it:?}");
    }
    assert!(ended.err.len() + ended.out.len() < 512 * 1024, "{} bytes said", ended.out.len());
    assert!(!ended.out.contains('\u{1b}'), "control characters are escaped");
    assert!(peak < MEMORY, "{peak} bytes");
    assert!(ended.took < slack(TIME), "{:?}", ended.took);
    place.world.check_all("hub", "clinic", 50);
}

/// What must be told, by the end of its name, and by which row.
fn fill(drop: &Path, good: &[u8], other: &Path) -> Vec<(String, &'static str)> {
    let mut told = Vec::new();
    let mut tell = |name: &str, code| told.push((name.to_owned(), code));
    // Not regular files.
    symlink("/etc/passwd", drop.join("link.zb")).unwrap();
    symlink("loop.zb", drop.join("loop.zb")).unwrap();
    symlink("/", drop.join("root.zb")).unwrap();
    symlink("/proc", drop.join("proc")).unwrap();
    mknodat(CWD, drop.join("fifo.zb"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(drop.join("socket.zb")).unwrap();
    fs::create_dir(drop.join("folder.zb")).unwrap();
    for name in ["link.zb", "loop.zb", "root.zb", "fifo.zb", "socket.zb", "folder.zb"] {
        tell(name, "Z229");
    }
    if mknodat(CWD, drop.join("zero.zb"), FileType::CharacterDevice, Mode::RUSR, makedev(1, 5)).is_ok() {
        tell("zero.zb", "Z229");
    }
    // Sizes.
    File::create(drop.join("sparse.zb")).unwrap().set_len(8 << 30).unwrap();
    tell("sparse.zb", "Z211");
    let sparse = drop.join("sparse with a head.zb");
    fs::write(&sparse, &good[..200]).unwrap();
    File::options().write(true).open(&sparse).unwrap().set_len(8 << 30).unwrap();
    tell("sparse with a head.zb", "Z218");
    let sparse = drop.join("sparse just not too long.zb");
    fs::write(&sparse, &good[..good.len() - 100]).unwrap();
    File::options().write(true).open(&sparse).unwrap().set_len((1 << 32) - 1).unwrap();
    tell("sparse just not too long.zb", "Z213");
    // Damage.
    let mut bad = good.to_vec();
    bad[good.len() / 2] ^= 0x40;
    fs::write(drop.join("flipped.zb"), &bad).unwrap();
    tell("flipped.zb", "Z213");
    fs::write(drop.join("longer.zb"), [good, b"x"].concat()).unwrap();
    tell("longer.zb", "Z219");
    // Another domain's.
    let foreign = World::of(&["elsewhere"]);
    foreign.push("elsewhere", 5, "routine");
    foreign.ok("elsewhere", &["cut", "--to", "hub", "--out", "out"]);
    fs::copy(crate::place::only_file(&foreign.path("out")), drop.join("foreign.zb")).unwrap();
    tell("foreign.zb", "Z613");
    // Names.
    fs::write(drop.join(std::ffi::OsStr::from_bytes(b"\x1b]0;owned\x07\nevil\xff.zb")), b"x").unwrap();
    fs::write(drop.join("a..%2f..%2fetc.zb"), b"words").unwrap();
    tell("a..%2f..%2fetc.zb", "Z211");
    fs::write(drop.join(format!("{}.zb", "n".repeat(250))), b"words").unwrap();
    // Copies under every name that copies get, all the same and all good.
    for name in ["x (1).zb", "x - Copy.zb", "x.sync-conflict-20261125-101010-ABCDEFG.zb", "X.zb", "x.zb"] {
        fs::write(drop.join(name), good).unwrap();
    }
    fs::hard_link(drop.join("x.zb"), drop.join("linked.zb")).unwrap();
    // What systems leave behind, in silence.
    for name in ["._x.zb", ".DS_Store", "Thumbs.db", "desktop.ini", "autorun.inf", "x.zb.part", "x.zb~", ".x.zb.aBJUSF", "~syncthing~x.zb.tmp"] {
        fs::write(drop.join(name), b"litter").unwrap();
    }
    for name in ["System Volume Information", "$RECYCLE.BIN", ".Trashes", ".Spotlight-V100", "FOUND.000", "LOST.DIR"] {
        fs::create_dir(drop.join(name)).unwrap();
        fs::write(drop.join(name).join("1.dat"), b"litter").unwrap();
    }
    fs::copy(other, drop.join("LOST.DIR/0001.zb")).unwrap();
    // Depth and number.
    let mut deep = drop.join("deep");
    for _ in 0..200 {
        deep.push("d");
    }
    fs::create_dir_all(&deep).unwrap();
    fs::write(deep.join("unreachable.zb"), good).unwrap();
    fs::create_dir(drop.join("many")).unwrap();
    for number in 0..JUNK {
        File::create(drop.join("many").join(format!("{number}.jpg"))).unwrap();
    }
    for number in 0..200 {
        fs::create_dir_all(drop.join(format!("folders/{number}/inner"))).unwrap();
    }
    bombs(drop);
    told
}

/// The refused bundles of the fixtures are of a world whose keys the hub does not have: whatever is in them, it must not be opened.
fn bombs(drop: &Path) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bundles/reject");
    fs::create_dir(drop.join("fixtures")).unwrap();
    let mut count = 0;
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "zb") {
            fs::copy(&path, drop.join("fixtures").join(path.file_name().unwrap())).unwrap();
            count += 1;
        }
    }
    assert!(count > 10, "{count} fixtures");
}

/// Run it and learn the most memory it held: looked at until it ends.
fn measured(place: &Place, arguments: &[&str]) -> (Ended, u64) {
    let mut process = place.world.start("hub", arguments);
    let mut peak = 0;
    while !process.is_over() {
        peak = process.peak_memory_so_far().unwrap_or(0).max(peak);
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(peak > 0, "it was looked at");
    (process.end(seconds(1)), peak)
}

/// The program of tests is not optimised, and others are at work beside it.
fn slack(time: Duration) -> Duration {
    if cfg!(debug_assertions) { time * 3 } else { time }
}
