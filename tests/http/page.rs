//! The page, as a server answers it and as a browser shows it.

use crate::world::{self, Served, by_tcp};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// Words that a page which does not escape would run or load.
const HOSTILE: [&str; 4] =
    ["<script>document.title='owned'</script>", "\"><img src=x onerror=document.title='owned'>", "'><svg/onload=alert(1)>", "\u{202e}</td></table>"];

/// A hub with conflicts, a refused bundle and hostile words in every field that people can fill.
fn hub() -> world::Folder {
    let dir = world::hub();
    for (number, words) in HOSTILE.iter().enumerate() {
        let key = format!("{words}{number}");
        for author in HOSTILE {
            let payload = serde_json::json!({ "words": words, "author": author }).to_string();
            world::zbundle(&dir.path(), &["push", &payload, "--key", &key, "--type", &words.replace('\u{202e}', ""), "--author", author]);
        }
        world::zbundle(&dir.path().with_file_name("clinic"), &["push", "{}", "--key", &key, "--type", "other", "--author", words]);
    }
    let stick = dir.path().with_file_name("stick 2");
    world::zbundle(&dir.path().with_file_name("clinic"), &["cut", "--to", "punakha-hub", "--out", stick.to_str().unwrap()]);
    world::zbundle(&dir.path(), &["ingest", stick.to_str().unwrap()]);
    let bundle = std::fs::read_dir(&stick).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|end| end == "zb"));
    let mut bytes = std::fs::read(bundle.unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let bad = dir.path().with_file_name("<img src=x onerror=alert(1)>.zb");
    std::fs::write(&bad, bytes).unwrap();
    world::ended(&dir.path(), &["ingest", bad.to_str().unwrap()]);
    dir
}

/// R10.13-g
#[test]
fn whatever_stands_in_a_record_is_text_on_the_page() {
    let dir = hub();
    let served = Served::start(&dir.path(), &[]);
    served.get("/v1/conflicts"); // the tables are up to date
    let page = served.get("/ui");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    let policy = page.header("content-security-policy");
    assert!(policy.starts_with("default-src 'none'; style-src 'self';") && !policy.contains("unsafe"), "{policy}");
    let text = page.text();
    for harm in ["<script", "<img", "onload=alert(1)>", "</table></td>", "\u{202e}", "style=", "http://"] {
        assert!(!text.contains(harm), "{harm} in {text}");
    }
    assert!(text.contains("&lt;script&gt;document.title='owned'&lt;/script&gt;"), "{text}");
    assert!(text.contains("4 records in conflict") && text.contains("lunana-bhu") && text.contains("1 bundle in quarantine"), "{text}");
    assert_eq!(served.get("/ui/style.css").header("content-type"), "text/css; charset=utf-8");
}

#[test]
fn a_person_types_the_token_as_password() {
    let dir = world::node();
    let served = Served::start(&dir.path(), &["--http", "127.0.0.1:0"]);
    let address = served.tcp.clone().unwrap();
    let token = std::fs::read_to_string(dir.path().join("http.token")).unwrap();
    let typed = |password: &str| format!("Basic {}", data_encoding::BASE64.encode(format!("nurse:{password}").as_bytes()));
    let ask = |shown: &str| by_tcp(&address, "/ui", &[("host", &address), ("authorization", shown)]);
    assert_eq!(ask(&typed(token.trim())).status, 200);
    let refused = ask(&typed("guess"));
    assert!(refused.status == 401 && refused.header("www-authenticate").contains("Basic realm="), "{refused:?}");
}

/// In a browser, at the size of a clinic's screen: nothing runs, everything has its place. `ZBUNDLE_SCREENSHOT` names a file to look at.
#[test]
fn the_page_is_whole_in_a_browser() {
    if !Command::new("chromium").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("CI").is_none(), "chromium is missing: cargo xtask check installs it");
        return;
    }
    let dir = hub();
    let served = Served::start(&dir.path(), &["--http", "127.0.0.1:0"]);
    served.get("/v1/conflicts");
    let token = std::fs::read_to_string(dir.path().join("http.token")).unwrap();
    let address = format!("http://nurse:{}@{}/ui", token.trim(), served.tcp.as_ref().unwrap());
    let profile = dir.path().with_file_name("profile");
    let dom = chromium(&profile, &["--dump-dom", &address]);
    assert!(dom.contains("<title>") && !dom.contains("<title>owned"), "{dom}");
    for (element, want) in [("<script", 0), ("<img", 0), ("<table", 3), ("</table>", 3), ("<link", 1)] {
        assert_eq!(dom.matches(element).count(), want, "{element} in {dom}");
    }
    if let Some(file) = std::env::var_os("ZBUNDLE_SCREENSHOT") {
        chromium(&profile, &["--window-size=1024,768", &format!("--screenshot={}", file.display()), &address]);
    }
}

fn chromium(profile: &Path, arguments: &[&str]) -> String {
    let out = profile.with_extension("html");
    let mut child = Command::new("chromium")
        .args(["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"])
        .args(["--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-quic"]) // it has the page to look at
        .arg(format!("--user-data-dir={}", profile.display()))
        .args(arguments)
        .stdout(std::fs::File::create(&out).unwrap())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let begun = Instant::now();
    while child.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_mins(2) {
            child.kill().unwrap();
            child.wait().unwrap();
            panic!("the browser does not end");
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    std::fs::read_to_string(out).unwrap()
}
