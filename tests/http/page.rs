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
    assert_eq!(text.matches("<script").count(), 1, "our own: {text}");
    for harm in ["<script>", "<img", "onload=alert(1)>", "</table></td>", "\u{202e}", "style=", "http://"] {
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
    for (element, want) in [("<script", 1), ("<img", 0), ("<table", 3), ("</table>", 3), ("<link", 1)] {
        assert_eq!(dom.matches(element).count(), want, "{element} in {dom}");
    }
    if let Some(file) = std::env::var_os("ZBUNDLE_SCREENSHOT") {
        chromium(&profile, &["--window-size=1024,768", &format!("--screenshot={}", file.display()), &address]);
        let (record, file) = (form(&[("key", &format!("{}0", HOSTILE[0]))]), Path::new(&file).with_extension("record.png"));
        let address = address.replace("/ui", &format!("/ui/record?{record}"));
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

/// What stands in a field of the form on a page.
fn field(page: &str, name: &str) -> String {
    let behind = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap_or_else(|| panic!("{name} in {page}")).1;
    behind.split_once('"').unwrap().0.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"").replace("&amp;", "&")
}

fn form(fields: &[(&str, &str)]) -> String {
    let spell = |text: &str| text.bytes().map(|byte| format!("%{byte:02x}")).collect::<Vec<_>>().concat();
    fields.iter().map(|(name, value)| format!("{name}={}", spell(value))).collect::<Vec<_>>().join("&")
}

/// R10.13-h
#[test]
fn a_conflict_is_decided_by_a_form_that_we_made_about_what_it_showed() {
    const FORM: &str = "application/x-www-form-urlencoded";
    let dir = hub();
    let served = Served::start(&dir.path(), &["--http", "127.0.0.1:0"]);
    let open = || served.get("/v1/conflicts").json()["count"].clone();
    assert_eq!(open(), serde_json::json!(4));
    let key = format!("{}0", HOSTILE[0]);
    let address = format!("/ui/record?{}", form(&[("key", &key)]));
    let page = served.get(&address);
    assert_eq!(page.status, 200);
    for harm in ["<script", "<img", "<svg", "onload=alert(1)>"] {
        assert!(!page.text().contains(harm), "{harm} in {}", page.text());
    }
    let shown = |name: &str| field(page.text(), name);
    assert_eq!(shown("key"), key);
    let (token, seen, take) = (shown("token"), shown("seen"), shown("take"));
    let with = |token: &str, seen: &str, more: &[(&str, &str)]| {
        form(&[&[("token", token), ("seen", seen), ("key", &key), ("author", "Dr <Wangmo>")], more].concat())
    };
    let guess = "0".repeat(64);
    for (body, code) in [
        (with(&guess, &seen, &[("take", &take)]), "Z441"),
        (with(&token, &guess, &[("take", &take)]), "Z441"),
        (with(&token, &seen, &[]), "Z433"),
        (with(&token, &seen, &[("take", "by hand"), ("merged", "{")]), "Z431"),
        (with(&token, &seen, &[("take", "nobody/routine:1")]), "Z406"),
        ("%".to_owned(), "Z433"),
    ] {
        assert_eq!(served.post("/ui/record", FORM, &body).json()["code"], code, "{body}");
    }
    let good = with(&token, &seen, &[("take", &take)]);
    let foreign = [("content-type", FORM), ("sec-fetch-site", "cross-site")];
    assert_eq!(served.send("POST", "/ui/record", &foreign, good.as_bytes()).status, 421, "from another page");
    assert_eq!(open(), serde_json::json!(4), "nothing was stored");
    let decided = served.post("/ui/record", FORM, &good);
    assert_eq!((decided.status, decided.header("location")), (303, "/ui"));
    assert_eq!(open(), serde_json::json!(3));
    assert_eq!(served.post("/ui/record", FORM, &good).json()["code"], "Z441", "it has been decided already");
    let record = served.get(&format!("/v1/records/{}", form(&[("", &key)]).trim_start_matches('='))).json();
    assert_eq!((&record["state"], &record["heads"][0]["author"]), (&serde_json::json!("settled"), &serde_json::json!("Dr <Wangmo>")), "{record}");
    // Another one, by hand.
    let page = served.get(&format!("/ui/record?{}", form(&[("key", &format!("{}1", HOSTILE[1]))])));
    let shown = |name: &str| field(page.text(), name);
    let body = form(&[("token", &token), ("seen", &shown("seen")), ("key", &shown("key")), ("take", "by hand"), ("merged", "{\"agreed\":1}")]);
    assert_eq!(served.post("/ui/record", FORM, &body).status, 303);
    assert_eq!(open(), serde_json::json!(2));
}

#[test]
fn the_page_is_told_when_something_has_come() {
    let dir = world::node();
    let served = Served::start(&dir.path(), &[]);
    let mut lines = std::io::BufRead::lines(served.stream("/ui/live", None));
    assert!(lines.next().unwrap().unwrap().starts_with(':'));
    served.post("/v1/events", "application/json", "1");
    assert_eq!(lines.nth(1).unwrap().unwrap(), "data: look");
    let script = served.get("/ui/live.js");
    assert!(script.header("content-type").starts_with("text/javascript") && script.text().contains("/ui/live"));
}
