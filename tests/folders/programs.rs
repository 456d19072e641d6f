//! The programs people carry folders with, killed half-way and resumed: the recipes of docs/sync-over-folders.md.

use crate::copiers::end;
use crate::place::{Place, program, seconds, text};
use crate::process::{Process, wait_for};
use crate::world::{SOON, figure};
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread::sleep;
use std::time::Instant;

/// Some seconds on a throttled copy.
const SCAN_LEN: usize = 1_500_000;

pub fn rsync_killed_half_way_and_resumed_brings_the_bundle() {
    let place = Place::new();
    let bundle = place.large_bundle(SCAN_LEN);
    let watch = place.watch(&["--look-every", "10s"]);
    let source = format!("{}/", text(bundle.parent().unwrap()));
    let arguments = ["-a", "--partial-dir=.zbp", &source, text(&place.drop)];
    half_way(&[&["rsync", "--bwlimit=300"], &arguments[..]].concat(), || place.drop.join(".zbp").exists() || has_temporary(&place.drop));
    sleep(seconds(1));
    assert!(!watch.said().contains("\"file\""), "half a file is no news: {}", watch.said());
    program("rsync", &arguments);
    place.wait_for_events(1);
    let ended = end(watch);
    assert_eq!(ended.objects("file").len(), 1, "{ended:?}");
}

pub fn rclone_killed_half_way_and_resumed_brings_the_bundle() {
    let place = Place::new();
    let bundle = place.large_bundle(SCAN_LEN);
    let watch = place.watch(&["--look-every", "10s"]);
    let config = place.world.path("rclone.conf");
    fs::write(&config, "").unwrap();
    let arguments = ["copy", "--config", text(&config), text(bundle.parent().unwrap()), text(&place.drop)];
    half_way(&[&["rclone", "--bwlimit", "300k"], &arguments[..]].concat(), || fs::read_dir(&place.drop).unwrap().count() > 1);
    sleep(seconds(1));
    assert!(!watch.said().contains("\"file\""), "half a file is no news: {}", watch.said());
    program("rclone", &arguments);
    place.wait_for_events(1);
    let ended = end(watch);
    assert_eq!(ended.objects("file").len(), 1, "{ended:?}");
}

/// Run it until something of the file is there, then kill it as a power cut would.
fn half_way(words: &[&str], mut is_begun: impl FnMut() -> bool) {
    let process = Process::start(Command::new(words[0]).args(&words[1..]));
    wait_for("it has begun", SOON, || is_begun().then_some(()));
    sleep(seconds(1));
    let ended = process.kill();
    assert_eq!(ended.status, None, "it was on its way: {ended:?}");
}

fn has_temporary(folder: &Path) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| entry.unwrap().file_name().to_string_lossy().starts_with('.'))
}

pub fn syncthing_carries_both_ways_and_its_temporaries_are_left_alone() {
    let place = Place::new();
    let clinic_folder = place.world.path("clinic-folder");
    fs::create_dir(&clinic_folder).unwrap();
    fs::write(clinic_folder.join("ZBUNDLE.TXT"), crate::place::FOLDER_MARKER).unwrap();
    let (hub, clinic) = (Thing::make(&place, "st-hub"), Thing::make(&place, "st-clinic"));
    hub.configure(&clinic, &place.drop);
    clinic.configure(&hub, &clinic_folder);
    let watch = place.watch(&["--look-every", "10s"]);
    let sending = clinic.start();
    let receiving = hub.start();
    let bundle = place.large_bundle(SCAN_LEN);
    let begun = Instant::now();
    program("cp", &[text(&bundle), text(&clinic_folder.join("one.zb"))]);
    wait_for("a temporary", SOON, || place.drop.join(".syncthing.one.zb.tmp").exists().then_some(()));
    sleep(seconds(1));
    receiving.kill();
    assert!(!watch.said().contains("\"file\""), "{}", watch.said());
    let receiving = hub.start();
    place.wait_for_events(1);
    figure!("syncthing, killed once: {:.0} s from folder to log", begun.elapsed().as_secs_f64());
    place.world.ok("hub", &["cut", "--to", "clinic", "--out", "drop"]);
    wait_for("the receipt is back", SOON, || {
        place.world.run("clinic", &["ingest", text(&clinic_folder)]);
        (place.world.acknowledged("clinic", "hub") > 0).then_some(())
    });
    let ended = end(watch);
    assert!(ended.objects("file").iter().all(|file| file["outcome"] == "taken" || file["code"] == "Z611"), "{ended:?}");
    drop((sending, receiving));
}

/// One syncthing, that speaks to another one and to nobody else.
struct Thing {
    home: std::path::PathBuf,
    id: String,
    port: u16,
}

impl Thing {
    fn make(place: &Place, name: &str) -> Self {
        let home = place.world.path(name);
        program("syncthing", &["generate", "--home", text(&home), "--no-default-folder", "--skip-port-probing"]);
        let id = Command::new("syncthing").args(["--device-id", "--home", text(&home)]).output().unwrap().stdout;
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Self { home, id: String::from_utf8(id).unwrap().trim().to_owned(), port }
    }

    fn configure(&self, peer: &Self, folder: &Path) {
        fs::create_dir(folder.join(".stfolder")).unwrap();
        let device = |thing: &Self| format!("<device id=\"{}\"><address>tcp://127.0.0.1:{}</address></device>", thing.id, thing.port);
        let config = format!(
            "<configuration version=\"36\"><folder id=\"drop\" path=\"{}\" type=\"sendreceive\" rescanIntervalS=\"2\" fsWatcherEnabled=\"false\">\
             <device id=\"{}\"/><device id=\"{}\"/><minDiskFree unit=\"%\">0</minDiskFree></folder>{}{}<gui enabled=\"false\"/><options>\
             <listenAddress>tcp://127.0.0.1:{}</listenAddress><globalAnnounceEnabled>false</globalAnnounceEnabled>\
             <localAnnounceEnabled>false</localAnnounceEnabled><relaysEnabled>false</relaysEnabled><natEnabled>false</natEnabled>\
             <startBrowser>false</startBrowser><urAccepted>-1</urAccepted><crashReportingEnabled>false</crashReportingEnabled>\
             <reconnectionIntervalS>1</reconnectionIntervalS><maxSendKbps>400</maxSendKbps><limitBandwidthInLan>true</limitBandwidthInLan>\
             <autoUpgradeIntervalH>0</autoUpgradeIntervalH></options></configuration>",
            text(folder),
            self.id,
            peer.id,
            device(self),
            device(peer),
            self.port
        );
        fs::write(self.home.join("config.xml"), config).unwrap();
    }

    fn start(&self) -> Process {
        Process::start(Command::new("syncthing").args(["serve", "--home", text(&self.home), "--no-browser", "--no-restart"]).env("HOME", &self.home))
    }
}
