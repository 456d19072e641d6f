//! The units of tools/packaging: understood by systemd, and closed as tightly as they say.

use crate::world::figure;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Highest exposure, in tenths, as systemd rates it.
const EXPOSURE_MAX: u32 = 15;

pub fn every_service_that_reads_strangers_files_is_closed_tightly() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/packaging/systemd");
    let mut units: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    units.sort();
    assert_eq!(units.len(), 4, "{units:?}");
    for unit in units.iter().filter(|unit| !unit.to_str().unwrap().contains("mount")) {
        let done = Command::new("systemd-analyze").args(["security", "--offline=yes", "--no-pager"]).arg(unit).output().unwrap();
        let said = String::from_utf8_lossy(&done.stdout).into_owned();
        let verdict = said.lines().find(|line| line.contains("Overall exposure level")).unwrap_or_else(|| panic!("{}: {done:?}", unit.display()));
        let rated = verdict.split_whitespace().find_map(|word| word.parse::<f64>().ok()).unwrap();
        figure!("{}: {rated}", unit.file_name().unwrap().to_string_lossy());
        assert!((rated * 10.0).round() <= f64::from(EXPOSURE_MAX), "{said}");
    }
}

pub fn systemd_understands_every_line_of_the_units() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/packaging/systemd");
    for entry in std::fs::read_dir(folder).unwrap() {
        let unit = entry.unwrap().path();
        let done = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&unit).output().unwrap();
        let said = String::from_utf8_lossy(&done.stderr).into_owned();
        // That the program is not installed where this runs, and what other units of the machine say, is no fault of ours.
        let ours = said.lines().filter(|line| line.contains("zbundle") && !line.contains("is not executable") && !line.contains("not found"));
        assert_eq!(ours.collect::<Vec<_>>(), Vec::<&str>::new(), "{}", unit.display());
    }
}
