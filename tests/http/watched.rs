//! What needs a person is told: by metrics, and by a program.

use crate::world::{self, Served};
use serde_json::{Value, json};

#[test]
fn metrics_are_lines_that_prometheus_reads() {
    let dir = world::hub();
    let served = Served::start(&dir.path(), &[]);
    let told = served.get("/metrics");
    assert!(told.header("content-type").starts_with("text/plain; version=0.0.4"));
    let documented = include_str!("../../docs/http-api.md");
    let (mut family, mut known) = ("", std::collections::BTreeSet::new());
    for line in told.text().lines() {
        if let Some((name, help)) = line.strip_prefix("# HELP ").map(|line| line.split_once(' ').unwrap()) {
            assert!(known.insert(name) && help.ends_with('.') && !help.contains('\\'), "each family once, with words: {line}");
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') && documented.contains(&format!("`{name}`")), "{name}");
            family = name;
        } else if let Some(told) = line.strip_prefix("# TYPE ") {
            assert_eq!(told, format!("{family} gauge"), "right behind its words");
        } else {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let label = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} is not of {family}"));
            let peer = label.strip_prefix("{peer=\"").map(|label| label.strip_suffix("\"}").unwrap());
            assert!(label.is_empty() || peer.is_some_and(|peer| !peer.contains(['"', '\\', '\n'])), "{line}");
            value.parse::<u64>().unwrap();
        }
    }
    assert_eq!(known.len(), documented.matches("`zbundle_").count(), "the document knows no others");
    let lag = |served: &Served| -> u64 {
        let told = served.get("/metrics");
        told.text()
            .lines()
            .find_map(|line| line.strip_prefix("zbundle_peer_lag_seconds{peer=\"lunana-bhu\"} ").map(str::to_owned))
            .unwrap()
            .parse()
            .unwrap()
    };
    assert!(lag(&served) < 3600, "everything it said it has came just now");
    assert!(served.get("/v1/peers").json()["peers"][0]["lag_ms"].as_u64().unwrap() < 3_600_000);
    for line in ["zbundle_conflicts 0", "zbundle_peer_events{peer=\"lunana-bhu\"} 1", "zbundle_peer_silent{peer=\"lunana-bhu\"} 0"] {
        assert!(told.text().lines().any(|told| told == line), "{line} in {}", told.text());
    }
}

/// R10.14-b
#[test]
fn a_program_is_told_of_a_silent_peer_and_only_then() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = world::hub();
    let program = dir.path().with_file_name("tell.sh");
    let heard = dir.path().with_file_name("told");
    std::fs::write(&program, format!("#!/bin/sh\nexec cat > '{}'\n", heard.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let check = |silent_after: &[&str], program: &str| world::ended(&dir.path(), &[&["status", "--check", "--exec", program], silent_after].concat());
    let (status, _) = check(&[], program.to_str().unwrap());
    assert_eq!((status, heard.exists()), (0, false), "nobody is silent yet");
    let (status, _) = check(&["--silent-after", "0s"], program.to_str().unwrap());
    let told: Value = serde_json::from_slice(&std::fs::read(&heard).unwrap()).unwrap();
    assert_eq!((status, &told["kind"], &told["about"]), (18, &json!("silent"), &json!("lunana-bhu")));
    let (status, said) = check(&["--silent-after", "0s"], "/nobody/is/here");
    assert!(status == 18 && said.contains("Z440"), "{status} {said}");
}

/// R10.14-b, R10.14-c: by a process that was started before programs were given up; one that fails is tried again.
#[test]
fn a_hub_tells_a_program_by_itself() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = world::hub();
    let at = |name: &str| dir.path().with_file_name(name);
    let (program, heard) = (at("tell.sh"), at("told"));
    // The first time it fails.
    std::fs::write(&program, format!("#!/bin/sh\ncat >> '{0}'\ntest -e '{0}.again' || {{ touch '{0}.again'; exit 1; }}\n", heard.display())).unwrap();
    std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
    let served = Served::start(&dir.path(), &["--alarm", program.to_str().unwrap(), "--alarm-every", "100ms"]);
    assert_eq!(served.get("/healthz").status, 200);
    let bundle =
        std::fs::read_dir(at("stick")).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|end| end == "zb"));
    let mut bytes = std::fs::read(bundle.unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(at("bad.zb"), bytes).unwrap();
    world::ended(&dir.path(), &["ingest", at("bad.zb").to_str().unwrap()]);
    let begun = std::time::Instant::now();
    let told = || std::fs::read_to_string(&heard).unwrap_or_default();
    while told().lines().count() < 2 {
        assert!(begun.elapsed() < std::time::Duration::from_mins(1), "{}", told());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    for line in told().lines() {
        let alarm: Value = serde_json::from_str(line).unwrap();
        assert_eq!((&alarm["kind"], &alarm["about"]), (&json!("quarantine"), &json!("1")));
    }
    // A record in conflict is told as well, and what was told before is not told with it.
    served.post("/v1/events?key=Patient%2FBT+1&base=none", "application/json", "{\"phone\":\"17600009\"}");
    while told().lines().count() < 3 {
        assert!(begun.elapsed() < std::time::Duration::from_mins(1), "{}", told());
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    let alarm: Value = serde_json::from_str(told().lines().last().unwrap()).unwrap();
    assert_eq!((&alarm["kind"], &alarm["about"]), (&json!("conflicts"), &json!("1")));
    served.end();
    assert_eq!(told().lines().count(), 3, "once it has been told, it is not told again");
    let (exit, said) = world::ended(&dir.path(), &["serve", "--http", "--alarm", "/nowhere/at/all"]);
    assert!(exit == 1 && said.contains("Z440"), "{exit} {said}");
}
