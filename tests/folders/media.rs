//! Media that come and go, places that are none, disks that fill.

use crate::copiers::end;
use crate::place::{Place, STICK_MARKER, program, seconds, text};
use crate::process::wait_for;
use crate::world::{SOON, figure, ms};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread::sleep;

/// A file system in memory, mounted until it is dropped.
struct Mount(PathBuf);

impl Mount {
    /// None where this user may not.
    fn at(path: &Path, options: &str) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let done = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs", text(path)]).output().unwrap();
        if done.status.success() {
            return Some(Self(path.to_owned()));
        }
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        assert!(std::env::var_os("CI").is_none(), "this needs root, to mount a medium: {said}");
        println!("      a medium: NOT TRIED, this needs root to mount one: {said}");
        None
    }

    /// Without force: what keeps it open would show.
    #[track_caller]
    fn unmount(self) {
        program("umount", &[text(&self.0)]);
        std::mem::forget(self);
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status(); // what stays is said by whoever clears the folder
    }
}

pub fn a_stick_that_comes_and_goes_is_taken_up_each_time_and_can_be_unmounted() {
    let place = Place::new();
    let stick = place.world.path("stick");
    fs::create_dir(&stick).unwrap();
    let watch = place.world.start("hub", &["watch", "stick", "--json"]); // looked at every minute: the mounts must be noticed
    wait_for("it is away", SOON, || watch.said().contains("Z231").then_some(()));
    for round in 1..=3 {
        let Some(medium) = Mount::at(&stick, "size=8m") else { return };
        fs::create_dir(stick.join("zbundle")).unwrap();
        fs::write(stick.join("ZBUNDLE.TXT"), STICK_MARKER).unwrap();
        let bundle = place.bundle(10);
        let begun = std::time::Instant::now();
        program("cp", &[text(&bundle), text(&stick.join("zbundle/from-afar.zb"))]);
        place.wait_for_events(round * 10);
        figure!("stick {round}: taken {:.1} s after it was copied", begun.elapsed().as_secs_f64());
        if round == 3 {
            break;
        }
        medium.unmount();
        wait_for("it is away again", SOON, || (watch.said().matches("Z231").count() > round).then_some(()));
    }
    drop(watch);
}

pub fn a_full_disk_stops_the_taking_and_room_resumes_it() {
    let place = Place::new();
    let Some(disk) = Mount::at(&place.world.path("small"), "size=80m") else { return };
    program("cp", &["-a", text(&place.world.path("hub")), text(&place.world.path("small/hub"))]);
    fs::copy(place.world.path("hub.key"), place.world.path("small/hub.key")).unwrap();
    fs::write(place.world.path("small/filling"), vec![1; 72 << 20]).unwrap();
    let bundle = place.bundle(10);
    program("cp", &[text(&bundle), text(&place.drop.join("a.zb"))]);
    let ended = place.world.run("small/hub", &["watch", "--once", "drop"]);
    assert_eq!(ended.status, Some(15), "{ended:?}");
    assert!(ended.err.contains("Z242") && place.drop.join("a.zb").exists(), "{ended:?}");
    let watch = place.world.start("small/hub", &["watch", "drop", "--look-every", "500ms", "--json"]);
    wait_for("it is told", SOON, || watch.said().contains("Z242").then_some(()));
    sleep(seconds(2));
    assert_eq!(watch.said().matches("Z242").count(), 1, "once: {}", watch.said());
    fs::remove_file(place.world.path("small/filling")).unwrap();
    wait_for("taken", SOON, || watch.said().contains("\"taken\"").then_some(()));
    place.world.check_all("small/hub", "clinic", 10);
    end(watch);
    drop(disk);
}

pub fn a_wrong_folder_is_refused_and_an_empty_one_waited_for() {
    let place = Place::new();
    let wrong = place.world.path("wrong");
    fs::create_dir(&wrong).unwrap();
    fs::write(wrong.join("letter.txt"), b"not ours").unwrap();
    let ended = place.world.run("hub", &["watch", "wrong"]);
    assert_eq!(ended.status, Some(13), "{ended:?}");
    assert!(ended.err.contains("Z231") && ended.err.contains("stick init"), "{ended:?}");
    let ended = place.world.run("hub", &["watch", "--once", "nowhere"]);
    assert_eq!(ended.status, Some(3), "{ended:?}");
    assert!(ended.err.contains("Z243"), "{ended:?}");
    let watch = place.world.start("hub", &["watch", "nowhere", "drop", "--look-every", "500ms", "--json"]);
    wait_for("it is away", SOON, || watch.said().contains("Z243").then_some(()));
    let later = place.world.path("nowhere");
    fs::create_dir(&later).unwrap();
    fs::write(later.join("ZBUNDLE.TXT"), crate::place::FOLDER_MARKER).unwrap();
    wait_for("it is back", SOON, || watch.said().contains("\"back\"").then_some(()));
    let bundle = place.bundle(5);
    program("cp", &[text(&bundle), text(&later.join("a.zb"))]);
    place.wait_for_events(5);
    sleep(ms(1200));
    assert_eq!(watch.said().matches("Z243").count(), 1, "told once: {}", watch.said());
    end(watch);
}
