//! The page, as a server answers it and as a browser shows it.

use crate::browser::{self, Door};
use crate::world::{self, Served, by_tcp};
use std::path::Path;

/// Words that a page which does not escape would run or load.
const HOSTILE: [&str; 5] = [
    "<script>document.title='owned'</script>",
    "\"><img src=x onerror=document.title='owned'>",
    "'><svg/onload=alert(1)>",
    "\u{202e}</td></table>",
    "\u{1b}[31m\u{7}</style>",
];

/// A hub with conflicts, a refused bundle and hostile words in every field that people can fill.
fn hub() -> world::Folder {
    let dir = world::hub();
    for (number, words) in HOSTILE.iter().enumerate() {
        let key = format!("{words}{number}");
        for author in HOSTILE {
            let payload = serde_json::json!({ "words": words, "author": author, "long": "W".repeat(10_000) }).to_string();
            world::zbundle(&dir.path(), &["push", &payload, "--key", &key, "--type", &plain(words), "--author", &plain(author)]);
        }
        world::zbundle(&dir.path().with_file_name("clinic"), &["push", "{}", "--key", &key, "--type", "other", "--author", &plain(words)]);
    }
    let long = "W".repeat(200); // as long as a key may be, and nowhere to break it
    for at in ["node", "clinic"] {
        world::zbundle(&dir.path().with_file_name(at), &["push", at, "--key", &long, "--type", &"W".repeat(128), "--author", &long]);
    }
    let stick = dir.path().with_file_name(format!("{}{}", HOSTILE[2].replace('/', ""), "\u{202e}\u{1b}[31m"));
    world::zbundle(&dir.path().with_file_name("clinic"), &["cut", "--to", "punakha-hub", "--out", stick.to_str().unwrap()]);
    world::zbundle(&dir.path(), &["ingest", stick.to_str().unwrap()]);
    fork(&dir, &stick);
    let bundle = std::fs::read_dir(&stick).unwrap().map(|entry| entry.unwrap().path()).find(|path| path.extension().is_some_and(|end| end == "zb"));
    let mut bytes = std::fs::read(bundle.unwrap()).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    for name in ["<img src=x onerror=alert(1)>.zb".to_owned(), format!("\u{202e}\u{1b}[31m{}.zb", "W".repeat(240))] {
        *bytes.last_mut().unwrap() ^= 1; // each is another
        let bad = dir.path().with_file_name(name);
        std::fs::write(&bad, &bytes).unwrap();
        world::ended(&dir.path(), &["ingest", bad.to_str().unwrap()]);
    }
    dir
}

/// Words as a type or an author may hold them: no character that controls anything.
fn plain(words: &str) -> String {
    words.replace(['\u{202e}', '\u{1b}', '\u{7}'], "")
}

/// The clinic's card was cloned, and both copies go on: its history forks at the hub.
fn fork(dir: &world::Folder, stick: &Path) {
    let at = |name: &str| dir.path().with_file_name(name);
    let copied = std::process::Command::new("cp").args(["-r"]).args([at("clinic"), at("clone")]).status().unwrap();
    assert!(copied.success());
    std::fs::copy(at("clinic.key"), at("clone.key")).unwrap();
    for (name, payload) in [("clinic", "1"), ("clone", "2")] {
        world::zbundle(&at(name), &["push", payload]);
        let folder = stick.join(name);
        world::zbundle(&at(name), &["cut", "--to", "punakha-hub", "--out", folder.to_str().unwrap()]);
        world::ended(&dir.path(), &["ingest", folder.to_str().unwrap()]);
    }
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
    for harm in ["<script>", "<img", "onload=alert(1)>", "</table></td>", "</style>", "\u{202e}", "\u{1b}", "\u{7}", "style=", "http://"] {
        assert!(!text.contains(harm), "{harm} in {text}");
    }
    assert!(text.contains("&lt;script&gt;document.title='owned'&lt;/script&gt;"), "{text}");
    assert!(text.contains("6 records in conflict") && text.contains("lunana-bhu") && text.contains("2 bundles in quarantine"), "{text}");
    assert!(text.contains("<strong>Fork</strong> ") && text.contains("one history was written twice") && text.contains("Z228"), "{text}");
    assert!(text.contains("folder ") && text.contains("\\u{202e}\\u{1b}[31m"), "by which folder it was heard is text: {text}");
    assert!(text.contains("W…") && !text.contains(&format!("{}<", "W".repeat(121))), "what is long is cut: {text}");
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
    if !browser::is_there() {
        return;
    }
    let dir = hub();
    let served = Served::start(&dir.path(), &["--http", "127.0.0.1:0"]);
    served.get("/v1/conflicts");
    let token = std::fs::read_to_string(dir.path().join("http.token")).unwrap();
    let address = format!("http://nurse:{}@{}/ui", token.trim(), served.tcp.as_ref().unwrap());
    let profile = dir.path().with_file_name("profile");
    let dom = browser::ended(&profile, &["--dump-dom", &address]);
    assert!(dom.contains("<title>") && !dom.contains("<title>owned"), "{dom}");
    for (element, want) in [("<script", 1), ("<img", 0), ("<table", 3), ("</table>", 3), ("<link", 1)] {
        assert_eq!(dom.matches(element).count(), want, "{element} in {dom}");
    }
    if let Some(file) = std::env::var_os("ZBUNDLE_SCREENSHOT") {
        browser::ended(&profile, &["--window-size=1024,768", &format!("--screenshot={}", file.display()), &address]);
        let (record, file) = (form(&[("key", &format!("{}0", HOSTILE[0]))]), Path::new(&file).with_extension("record.png"));
        let address = address.replace("/ui", &format!("/ui/record?{record}"));
        browser::ended(&profile, &["--window-size=1024,768", &format!("--screenshot={}", file.display()), &address]);
    }
}

/// The page stood still under an address that holds a name and a password: a browser fetches nothing relative to one.
#[test]
fn the_page_shows_what_has_come_also_under_an_address_with_a_password() {
    if !browser::is_there() {
        return;
    }
    let dir = world::node();
    let served = Served::start(&dir.path(), &["--http", "127.0.0.1:0"]);
    let token = std::fs::read_to_string(dir.path().join("http.token")).unwrap();
    let door = Door::before(served.tcp.as_ref().unwrap());
    let _open = browser::Open::at(&dir.path().with_file_name("profile"), &format!("http://nurse:{}@{}/ui", token.trim(), door.address));
    door.wait_for("GET /ui ");
    door.wait_for("GET /ui/live ");
    door.wait_for("GET /ui "); // whatever came between the two: a page was old for a minute
    served.post("/v1/events", "application/json", "1");
    door.wait_for("GET /ui ");
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
    assert_eq!(open(), serde_json::json!(6));
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
    assert_eq!(open(), serde_json::json!(6), "nothing was stored");
    let decided = served.post("/ui/record", FORM, &good);
    assert_eq!((decided.status, decided.header("location")), (303, "/ui"));
    assert_eq!(open(), serde_json::json!(5));
    assert_eq!(served.post("/ui/record", FORM, &good).json()["code"], "Z441", "it has been decided already");
    let record = served.get(&format!("/v1/records/{}", form(&[("", &key)]).trim_start_matches('='))).json();
    assert_eq!((&record["state"], &record["heads"][0]["author"]), (&serde_json::json!("settled"), &serde_json::json!("Dr <Wangmo>")), "{record}");
    // Another one, by hand.
    let page = served.get(&format!("/ui/record?{}", form(&[("key", &format!("{}1", HOSTILE[1]))])));
    let shown = |name: &str| field(page.text(), name);
    let body = form(&[("token", &token), ("seen", &shown("seen")), ("key", &shown("key")), ("take", "by hand"), ("merged", "{\"agreed\":1}")]);
    assert_eq!(served.post("/ui/record", FORM, &body).status, 303);
    assert_eq!(open(), serde_json::json!(4));
}

/// R10.13-i
#[test]
fn who_decides_sees_every_difference() {
    let dir = world::hub();
    let push = |key: &str, payload: &str| world::zbundle(&dir.path(), &["push", payload, "--key", key, "--base", "none"]);
    for (key, payloads) in [
        ("number", ["{\"id\":98765432109876543210987}", "{\"id\":98765432109876543210988}"]),
        ("twice", ["{\"dose\":1,\"dose\":20}", "{\"dose\":20}"]),
        ("unseen", ["{\"name\":\"Kar\u{200b}ma\"}", "{\"name\":\"Karma\"}"]),
        ("kind", ["{\"age\":\"7\"}", "{\"age\":7}"]),
    ] {
        for payload in payloads {
            push(key, payload);
        }
    }
    let served = Served::start(&dir.path(), &["--http", "127.0.0.1:0"]);
    let page = |key: &str| served.get(&format!("/ui/record?{}", form(&[("key", key)]))).text().to_owned();
    for (key, shown, is_offered) in [
        ("number", ["98765432109876543210987", "98765432109876543210988"], false),
        ("twice", ["{&quot;dose&quot;:1,&quot;dose&quot;:20}", "{&quot;dose&quot;:20}"], false), // the one shown first would survive
        ("unseen", ["Kar\\u200bma", "Karma"], true),
        ("kind", ["<code>&quot;7&quot;</code>", "<code>7</code>"], true),
    ] {
        let page = page(key);
        assert!(shown.iter().all(|shown| page.contains(shown)), "{key}: {page}");
        assert_eq!(page.contains("<textarea"), is_offered, "{key}");
    }
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
