//! A stick in a file: made, mounted, pulled, put back.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

/// What sticks are formatted with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum System {
    Ext4,
    ExFat,
    Fat32,
}

pub const ALL: [System; 3] = [System::Ext4, System::ExFat, System::Fat32];

/// One stick; unmounted when dropped.
pub struct Stick {
    pub system: System,
    pub image: PathBuf,
    pub at: PathBuf,
    device: Option<String>,
}

/// Whether this machine lets us mount; says so when not, and fails where CI is set.
pub fn may_mount() -> bool {
    let root = Command::new("id").arg("-u").output().unwrap().stdout.trim_ascii() == b"0";
    assert!(root || std::env::var_os("CI").is_none(), "this needs root, to mount sticks made in files");
    if !root {
        println!("      NOT TRIED: this needs root, to mount sticks made in files");
    }
    root
}

/// Run, and expect that it does what it should.
pub fn run(program: &str, args: &[&str]) -> Output {
    let ended = Command::new(program).args(args).output().unwrap_or_else(|error| panic!("{program}: {error}"));
    assert!(ended.status.success(), "{program} {args:?}: {}", String::from_utf8_lossy(&ended.stderr));
    ended
}

impl Stick {
    /// A fresh one of `megabytes`, mounted in `folder`.
    pub fn make(folder: &Path, system: System, megabytes: u64) -> Self {
        let (image, at) = (folder.join("stick.img"), folder.join("stick"));
        std::fs::create_dir_all(&at).unwrap();
        std::fs::File::create(&image).unwrap().set_len(megabytes << 20).unwrap();
        let path = image.to_str().unwrap();
        match system {
            System::Ext4 => run("mkfs.ext4", &["-q", "-m", "0", path]),
            System::ExFat => run("mkfs.exfat", &[path]),
            System::Fat32 => run("mkfs.vfat", &["-F", "32", path]),
        };
        let mut stick = Self { system, image, at, device: None };
        stick.mount("rw");
        stick
    }

    pub fn mount(&mut self, how: &str) {
        let (image, at) = (self.image.to_str().unwrap(), self.at.to_str().unwrap());
        assert_eq!(std::fs::read_dir(at).unwrap().count(), 0, "nothing was written where the stick was pulled");
        if self.system == System::Fat32 {
            run("fusefat", &["-o", if how == "rw" { "rw+" } else { "ro" }, image, at]);
        } else {
            let device = String::from_utf8(run("losetup", &["-f", "--show", image]).stdout).unwrap().trim().to_owned();
            match self.system {
                System::Ext4 => run("mount", &["-o", how, &device, at]),
                _ => run("mount.exfat-fuse", &["-o", how, &device, at]),
            };
            self.device = Some(device);
        }
        assert!(self.is_mounted(), "{:?} is not mounted", self.system);
    }

    pub fn is_mounted(&self) -> bool {
        let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
        mounts.lines().any(|line| line.split(' ').nth(1) == self.at.to_str())
    }

    /// Unmount in order. A FUSE process writes its last sectors only after umount(8) has come back,
    /// so the stick is out when that process has ended.
    pub fn eject(&mut self) {
        run("umount", &[self.at.to_str().unwrap()]);
        self.let_go();
    }

    /// Take it out while it is used: the process of the file system is killed.
    pub fn pull(&mut self) {
        let pid = self.driver().expect("the process of the file system");
        run("kill", &["-9", &pid]);
        run("umount", &["--lazy", self.at.to_str().unwrap()]);
        self.let_go();
    }

    /// The FUSE process that serves this stick: the only one that has its image on its command line.
    fn driver(&self) -> Option<String> {
        if self.system == System::Ext4 {
            return None; // the kernel's own
        }
        let name = if self.system == System::Fat32 { self.image.to_str()? } else { self.device.as_deref()? };
        for entry in std::fs::read_dir("/proc").ok()?.flatten() {
            let command = std::fs::read(entry.path().join("cmdline")).unwrap_or_default();
            let words: Vec<_> = command.split(|byte| *byte == 0).map(String::from_utf8_lossy).collect();
            let serves = words.first().is_some_and(|word| word.contains("fat")) && words.iter().any(|word| word == name);
            if serves {
                return entry.file_name().into_string().ok();
            }
        }
        None
    }

    fn let_go(&mut self) {
        while self.driver().is_some() {
            std::thread::sleep(Duration::from_millis(5));
        }
        if let Some(device) = self.device.take() {
            for _ in 0..50 {
                if Command::new("losetup").args(["-d", &device]).status().is_ok_and(|status| status.success()) {
                    break;
                }
                std::thread::sleep(Duration::from_millis(20));
            }
        }
        while self.is_mounted() {
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What the file system's own checker says; FUSE drivers that were killed leave a dirty mark, which it may mend.
    pub fn is_clean(&self) -> bool {
        let image = self.image.to_str().unwrap();
        let (program, args): (_, &[&str]) = match self.system {
            System::Ext4 => ("e2fsck", &["-fn", image]),
            System::ExFat => ("fsck.exfat", &["-n", image]),
            System::Fat32 => ("fsck.vfat", &["-n", image]),
        };
        Command::new(program).args(args).output().unwrap().status.success()
    }

    /// Room for so many more bytes: the rest is filled.
    pub fn leave_room(&self, bytes: u64) {
        use std::io::Write as _;
        let path = self.at.join("holiday.mov");
        let mut film = std::fs::File::create(&path).unwrap();
        let piece = vec![7; 4096];
        let mut len = 0;
        while film.write_all(&piece).is_ok() && film.flush().is_ok() {
            len += piece.len() as u64;
        }
        let len = len.saturating_sub(bytes);
        drop(film);
        std::fs::OpenOptions::new().write(true).open(&path).unwrap().set_len(len).unwrap();
    }
}

impl Drop for Stick {
    fn drop(&mut self) {
        if self.is_mounted() {
            let _ = Command::new("umount").arg("--lazy").arg(&self.at).status();
            self.let_go();
        }
    }
}
