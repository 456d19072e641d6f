//! Spaces: the two network namespaces and the TUN device in each. They go when the value goes.

use super::Failure;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use std::fs::File;
use std::os::fd::AsFd as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use tun_rs::{DeviceBuilder, SyncDevice};

/// Where `ip netns` keeps its names.
const NAMES: &str = "/run/netns";
/// The character device behind every TUN device.
const TUN: &str = "/dev/net/tun";
/// The only interface, beside loopback, in each namespace.
const DEVICE: &str = "link0";
/// A's and B's address.
pub const ADDRESSES: [&str; 2] = ["10.77.0.1", "10.77.0.2"];

/// Two namespaces, of A and of B, named after this process.
pub struct Spaces {
    names: Vec<String>,
}

impl Spaces {
    /// Make both, each with a device that is up and leads to the other's address.
    ///
    /// # Errors
    /// [`Failure::Missing`] where this machine or this user cannot.
    pub fn new(mtu: u16, sysctls: &[(String, String)]) -> Result<(Self, [SyncDevice; 2]), Failure> {
        check_means()?;
        sweep();
        let mut spaces = Self { names: Vec::new() };
        let a = spaces.add("a", [ADDRESSES[0], ADDRESSES[1]], mtu, sysctls)?;
        let b = spaces.add("b", [ADDRESSES[1], ADDRESSES[0]], mtu, sysctls)?;
        Ok((spaces, [a, b]))
    }

    /// A command that runs in A's (0) or B's (1) namespace.
    pub fn command(&self, end: usize, words: &[String]) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.names[end]]).args(words);
        command
    }

    fn add(&mut self, end: &str, [own, other]: [&str; 2], mtu: u16, sysctls: &[(String, String)]) -> Result<SyncDevice, Failure> {
        let name = format!("netlab-{}-{end}", std::process::id());
        ip(&["netns", "add", &name]).map_err(|said| {
            Failure::Missing(format!("no network namespace can be made here ({said}): run as root on a machine, or in a privileged container"))
        })?;
        self.names.push(name.clone());
        let device = inside(&name, sysctls)?;
        for args in [
            &["link", "set", "lo", "up"][..],
            &["addr", "add", own, "peer", other, "dev", DEVICE],
            &["link", "set", DEVICE, "mtu", &mtu.to_string(), "up"],
        ] {
            ip(&[&["-n", &name], args].concat()).map_err(Failure::Broken)?;
        }
        Ok(device)
    }
}

impl Drop for Spaces {
    fn drop(&mut self) {
        for name in &self.names {
            if let Err(said) = ip(&["netns", "del", name]) {
                eprintln!("netlab: namespace {name} stays: {said}");
            }
        }
    }
}

/// What this needs and the machine may lack, each with the way to get it.
fn check_means() -> Result<(), Failure> {
    let missing = |what: &str| Err(Failure::Missing(what.to_owned()));
    if !rustix::process::geteuid().is_root() {
        return missing("network namespaces need root: run it with sudo");
    }
    if !Path::new(TUN).exists() {
        return missing("/dev/net/tun is missing: `modprobe tun`, or give the container `--device /dev/net/tun`");
    }
    if ip(&["-Version"]).is_err() {
        return missing("the program `ip` is missing: install the package iproute2");
    }
    Ok(())
}

/// Take away what a killed run left: namespaces named after processes that are no more.
fn sweep() {
    let Ok(names) = std::fs::read_dir(NAMES) else { return };
    for name in names.flatten().filter_map(|entry| entry.file_name().into_string().ok()) {
        let of = name.strip_prefix("netlab-").and_then(|rest| rest.strip_suffix("-a").or_else(|| rest.strip_suffix("-b")));
        let is_left = of.and_then(|id| id.parse::<u32>().ok()).is_some_and(|id| !PathBuf::from(format!("/proc/{id}")).exists());
        if is_left {
            let _ = ip(&["netns", "del", &name]); // another run may be faster
        }
    }
}

/// Open a device in the namespace: only a thread that lives there can, and only threads can leave the one they were born in.
fn inside(name: &str, sysctls: &[(String, String)]) -> Result<SyncDevice, Failure> {
    let broken = |what: &str, error: std::io::Error| Failure::Broken(format!("{what}: {error}"));
    let path = Path::new(NAMES).join(name);
    let work = || {
        let space = File::open(&path).map_err(|error| broken(name, error))?;
        move_into_link_name_space(space.as_fd(), Some(LinkNameSpaceType::Network)).map_err(|error| broken(name, error.into()))?;
        let set = |key: &str, value: &str| std::fs::write(Path::new("/proc/sys").join(key.replace('.', "/")), value);
        let _ = set("net.ipv6.conf.all.disable_ipv6", "1"); // quieter; absent where the kernel has no IPv6
        for (key, value) in sysctls {
            set(key, value).map_err(|error| broken(key, error))?;
        }
        let device = DeviceBuilder::new().name(DEVICE).inherit_enable_state().build_sync().map_err(|error| broken(TUN, error))?;
        device.set_nonblocking(true).map_err(|error| broken(TUN, error))?;
        Ok(device)
    };
    thread::scope(|scope| scope.spawn(work).join()).unwrap_or_else(|_| Err(Failure::Broken("the thread in the namespace died".to_owned())))
}

/// `ip` with these arguments; what it said if it failed.
fn ip(args: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(args).stdin(Stdio::null()).output().map_err(|error| format!("ip: {error}"))?;
    if output.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()) }
}
