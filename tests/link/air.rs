//! The emulated 2G link: the kernel's own TCP at both ends, and packets that are lost between them.

use crate::world::{World, figure};
use netlab::link::{ADDRESSES, Failure, Options, run};
use netlab::units::{Cut, Pair};

pub fn a_2g_link_with_loss_and_a_cut_brings_everything_once() {
    const EVENTS: usize = 300;
    let world = World::of(&["clinic"]);
    world.push("clinic", EVENTS, "routine");
    let place = format!("{}:7070", ADDRESSES[1]);
    let words = |node: &str, command: &str, out: &str| -> Vec<String> {
        let (binary, data_dir, out) = (env!("CARGO_BIN_EXE_zbundle"), world.path(node), world.path(out));
        let (data_dir, out) = (data_dir.display(), out.display());
        ["sh", "-c", &format!("exec {binary} {command} --json --data-dir {data_dir} >{out} 2>{out}.err")].map(str::to_owned).to_vec()
    };
    let options = Options {
        loss: Pair::same(0.01),
        cuts: vec![Cut { at: 6.0, lasts: 8.0, every: 0.0 }],
        timeout: 120.0,
        b_wait: 1.0,
        linger: 0.0,
        ..Options::default()
    };
    let report =
        match run(&options, &words("clinic", &format!("sync {place}"), "clinic.out"), &words("hub", &format!("serve --listen {place}"), "hub.out")) {
            Ok(report) => report,
            Err(Failure::Missing(what)) => {
                assert!(std::env::var_os("CI").is_none(), "{what}");
                println!("      the emulated link: NOT TRIED, {what}");
                return;
            }
            Err(Failure::Broken(what)) => panic!("{what}"),
        };
    let said = ["clinic.out", "clinic.out.err", "hub.out", "hub.out.err"].map(|name| std::fs::read_to_string(world.path(name)).unwrap_or_default());
    assert_eq!(report.a_rc, Some(0), "{report:?} {said:?}");
    let summary: serde_json::Value = serde_json::from_str(said[0].lines().last().unwrap()).unwrap();
    assert_eq!((&summary["complete"], &summary["sent"]), (&true.into(), &EVENTS.into()), "{summary}");
    assert!(report.a_to_b.cut + report.b_to_a.cut > 0, "the cut met packets: {report:?}");
    world.check_all("hub", "clinic", EVENTS);
    let (packets, ip_len) = (report.a_to_b.packets + report.b_to_a.packets, report.a_to_b.ip_bytes + report.b_to_a.ip_bytes);
    let (dials, seconds) = (&summary["dials"], report.a_s.unwrap_or_default());
    figure!("2G, 1 % lost, dark for 8 s: {EVENTS} events in {seconds:.1} s, {dials} dials, {packets} packets, {ip_len} bytes of IP");
}
