//! Vectors: a reader and a writer in Python, made from SPEC.md alone, against our fixtures and against our program.
//!
//! The Python side lives in `tools/vectors/`. Its packages go into `target/venv`; nothing is installed outside the tree.

use crate::cargo::{build_all, target_dir};
use crate::run::{Failure, need_packages, run as command, works};
use crate::tree::Tree;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What the Python side needs, with versions; changing it renews the environment.
const REQUIREMENTS: &str = "tools/vectors/requirements.txt";
/// How `zbundle verify` ends for a bundle that is damaged or forged.
const EXIT_DAMAGED: i32 = 14;

/// The step.
pub fn run(tree: &Tree) -> Result<String, Failure> {
    if !tree.root.join("fixtures/bundles").is_dir() {
        return Ok("fixtures/bundles does not exist, so there is nothing to compare".to_owned());
    }
    for script in ["selftest.py", "zb_read.py", "zb_make.py", "check_cddl.py", "requirements.txt"] {
        if !tree.root.join("tools/vectors").join(script).is_file() {
            return Err(Failure(format!("fixtures/bundles is there, and tools/vectors/{script} is not")));
        }
    }
    let python = environment(tree)?;
    let script = |name: &str| {
        let mut command = Command::new(&python);
        command.current_dir(&tree.root).arg(format!("tools/vectors/{name}"));
        command
    };
    command(&mut script("selftest.py"))?;
    command(script("zb_read.py").args(["--fixtures", "fixtures"]))?;
    command(script("zb_make.py").args(["--check", "fixtures"]))?;
    command(&mut script("check_cddl.py"))?;
    cross_check(tree, &script)?;
    cross_check_messages(tree, &script)?;
    cross_check_logs(tree, &script)?;
    Ok("fixtures read, remade and checked; bundles, messages and logs of this build read".to_owned())
}

/// Logs that this build keeps, read by the independent reader: a test of the log's room lays them out.
fn cross_check_logs(tree: &Tree, script: &dyn Fn(&str) -> Command) -> Result<(), Failure> {
    let kept = emptied(tree, "vectors-logs")?;
    let mut writer = Command::new("cargo");
    writer.current_dir(&tree.root).args(["test", "--locked", "--quiet", "--package", "zbundle", "--lib", "wal::tests::written"]);
    command(writer.env("ZBUNDLE_LOGS", &kept))?;
    command(script("zb_read.py").arg("--logs").arg(&kept))
}

/// A folder of that name in the target folder, without what an earlier run left.
fn emptied(tree: &Tree, name: &str) -> Result<PathBuf, Failure> {
    let folder = target_dir(tree).join(name);
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(|error| Failure(format!("{} cannot be emptied: {error}", folder.display())))?;
    }
    Ok(folder)
}

/// What this build says on links, heard by the independent reader.
fn cross_check_messages(tree: &Tree, script: &dyn Fn(&str) -> Command) -> Result<(), Failure> {
    let said = emptied(tree, "vectors-messages")?;
    build_all(tree)?;
    command(Command::new(target_dir(tree).join("debug/examples/say")).arg(&said))?;
    let folder = std::fs::read_dir(&said).map_err(|error| Failure(format!("{} cannot be read: {error}", said.display())))?;
    let mut files: Vec<_> = folder.filter_map(Result::ok).map(|entry| entry.path()).collect();
    files.sort();
    command(script("zb_read.py").arg("--messages").args(&files))
}

/// Bundles that this build writes, read by the independent reader with keys that `demo` lays beside them.
fn cross_check(tree: &Tree, script: &dyn Fn(&str) -> Command) -> Result<(), Failure> {
    build_all(tree)?;
    let kept = emptied(tree, "vectors-demo")?;
    let zbundle = target_dir(tree).join("debug").join(format!("zbundle{}", std::env::consts::EXE_SUFFIX));
    command(Command::new(&zbundle).args(["demo", "--quiet", "--sticks-only", "--keep"]).arg(&kept))?;
    let keys = kept.join("keys-for-readers.json");
    if !keys.is_file() {
        return Err(Failure(format!("`zbundle demo --keep` wrote no {}", keys.display())));
    }
    let mut bundles = Vec::new();
    find_bundles(&kept, &mut bundles).map_err(|error| Failure(format!("{} cannot be read: {error}", kept.display())))?;
    bundles.sort();
    let mut good = Vec::new();
    for bundle in bundles {
        let verified = Command::new(&zbundle).args(["verify", "--quiet"]).arg(&bundle).stdout(Stdio::null()).status();
        match verified.ok().and_then(|status| status.code()) {
            Some(0) => good.push(bundle),
            Some(EXIT_DAMAGED) => {} // the demo damages bundles on their way
            other => return Err(Failure(format!("`zbundle verify {}` ended with {other:?}", bundle.display()))),
        }
    }
    if good.is_empty() {
        return Err(Failure(format!("`zbundle demo --keep` left no good bundle under {}", kept.display())));
    }
    let reader = || {
        let mut reader = script("zb_read.py");
        reader.arg("--keys").arg(&keys);
        reader
    };
    command(reader().args(&good))?;
    // What one side refuses, the other must refuse too.
    let cut = &kept.join("cut-short.zb");
    let whole = std::fs::read(&good[0]).map_err(|error| Failure(format!("{} cannot be read: {error}", good[0].display())))?;
    std::fs::write(cut, &whole[..whole.len() / 2]).map_err(|error| Failure(format!("{} cannot be written: {error}", cut.display())))?;
    let said = reader().arg(cut).output().map_err(|error| Failure(format!("zb_read.py does not start: {error}")))?;
    let said = String::from_utf8_lossy(&said.stdout).into_owned();
    if !said.contains(": Z212 ") {
        return Err(Failure(format!("zb_read.py does not say Z212 of {}: {said}", cut.display())));
    }
    println!("bundles of this build: {} opened by both sides, the one cut short is Z212", good.len());
    Ok(())
}

/// Bundles that lie in the open; what a node keeps for itself is not to be read by others.
fn find_bundles(folder: &Path, bundles: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            if !path.join("keyring").exists() {
                find_bundles(&path, bundles)?;
            }
        } else if path.extension().is_some_and(|extension| extension == "zb") {
            bundles.push(path);
        }
    }
    Ok(())
}

/// A Python with the packages of [`REQUIREMENTS`]; returns its path.
pub fn environment(tree: &Tree) -> Result<PathBuf, Failure> {
    let venv = target_dir(tree).join("venv");
    let python = venv.join("bin/python");
    let stamp = venv.join("requirements.installed");
    let wanted = std::fs::read_to_string(tree.root.join(REQUIREMENTS)).map_err(|error| Failure(format!("{REQUIREMENTS} cannot be read: {error}")))?;
    if works(Command::new(&python).arg("--version")) && std::fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(python);
    }
    if !works(Command::new("python3").args(["-c", "import ensurepip, venv"])) {
        need_packages(&["python3", "python3-venv"], "the independent reader needs Python with its venv module")?;
    }
    command(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&venv))?;
    command(Command::new(&python).current_dir(&tree.root).args([
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        "--requirement",
        REQUIREMENTS,
    ]))?;
    std::fs::write(&stamp, wanted).map_err(|error| Failure(format!("{} cannot be written: {error}", stamp.display())))?;
    Ok(python)
}
