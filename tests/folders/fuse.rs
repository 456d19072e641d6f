//! File systems that a process serves: the kernel tells of no change that comes by way of the process, and the process may die.

use crate::bed::{Stick, System, may_mount};
use crate::copiers::end;
use crate::place::{FOLDER_MARKER, Place, STICK_MARKER, program, text};
use crate::process::{Process, wait_for};
use crate::world::{SOON, figure};
use std::fs;
use std::path::Path;
use std::process::Command;

/// What files of a FUSE file system stand on, as `statfs` says it.
const FUSE: u64 = 0x6573_5546;

/// A folder seen through a process that serves it, as network drives are: unmounted when dropped.
struct Window {
    at: std::path::PathBuf,
    serving: Option<Process>,
}

impl Window {
    fn onto(behind: &Path, at: &Path) -> Self {
        fs::create_dir_all(at).unwrap();
        let mut rclone = Command::new("rclone");
        rclone.args([
            "mount",
            "--config",
            "/dev/null",
            "--read-only",
            "--dir-cache-time",
            "500ms",
            "--attr-timeout",
            "500ms",
            "--poll-interval",
            "0",
        ]);
        let serving = Process::start(rclone.args([behind, at]));
        let window = Self { at: at.to_owned(), serving: Some(serving) };
        wait_for("a mounted window", SOON, || is_fuse(at).then_some(()));
        window
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
        if let Some(serving) = self.serving.take() {
            serving.end(SOON);
        }
    }
}

fn is_fuse(at: &Path) -> bool {
    rustix::fs::statfs(at).is_ok_and(|stat| u64::try_from(stat.f_type) == Ok(FUSE))
}

/// R10.11-f: nothing hints at these files, and the watch is told to look once in ten minutes: it knows by itself that here it must look oftener.
pub fn what_comes_unseen_by_the_kernel_is_found_by_looking() {
    if !may_mount() {
        return;
    }
    let place = Place::new();
    let behind = place.world.path("behind");
    fs::create_dir(&behind).unwrap();
    fs::write(behind.join("ZBUNDLE.TXT"), FOLDER_MARKER).unwrap();
    let window = Window::onto(&behind, &place.world.path("window"));
    let watch = place.world.start("hub", &["watch", "window", "--look-every", "10m", "--json"]);
    for round in 1..=2 {
        let bundle = place.bundle(10);
        let begun = std::time::Instant::now();
        program("cp", &[text(&bundle), text(&behind.join(format!("{round}.zb")))]);
        place.wait_for_events(round * 10);
        figure!("found by looking alone, {:.1} s after it came", begun.elapsed().as_secs_f64());
    }
    end(watch);
    drop(window);
}

/// R10.11-f: an exFAT stick is such a file system. Taken up, let go of, and taken out while it is watched.
pub fn an_exfat_stick_that_comes_and_goes_is_taken_up_each_time() {
    if !may_mount() {
        return;
    }
    let place = Place::new();
    let mut stick = Stick::make(place.drop.parent().unwrap(), System::ExFat, 40);
    assert!(is_fuse(&stick.at), "exFAT is FUSE here");
    fs::create_dir(stick.at.join("zbundle")).unwrap();
    fs::write(stick.at.join("ZBUNDLE.TXT"), STICK_MARKER).unwrap();
    let watch = place.world.start("hub", &["watch", "stick", "--look-every", "10m", "--json"]);
    for round in 1..=4 {
        let bundle = place.bundle(10);
        program("cp", &[text(&bundle), text(&stick.at.join(format!("zbundle/{round}.zb")))]);
        place.wait_for_events(round * 10);
        match round {
            1 | 3 => stick.eject(), // without force: what keeps it open would show
            _ => stick.pull(),
        }
        wait_for("it is away", SOON, || (watch.said().matches("Z231").count() >= round).then_some(()));
        stick.mount("rw");
        wait_for("it is back", SOON, || (watch.said().matches("\"back\"").count() >= round).then_some(()));
    }
    assert_eq!(end(watch).objects("file").iter().filter(|file| file["outcome"] != "taken").count(), 0, "nothing on it was doubted");
}
