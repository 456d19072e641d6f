//! The working tree as the checks see it: every text file that belongs to the project, none that a build made.

use crate::run::Failure;
use std::path::{Path, PathBuf};

/// Folders that hold nothing of ours.
const SKIPPED: &[&str] = &["target", ".git", ".venv", "__pycache__", "node_modules"];
/// What the checks read.
const EXTENSIONS: &[&str] = &["rs", "toml", "md", "py", "sh", "cddl", "txt", "yml", "yaml", "json"];
/// Read although they have no such extension.
const NAMES: &[&str] = &["run", ".gitignore", ".gitattributes", ".editorconfig"];
/// Longer files are data.
const LEN_MAX: u64 = 1 << 20;

/// One file.
pub struct Text {
    /// Relative to the root, with `/`.
    pub path: String,
    /// All of it.
    pub text: String,
}

impl Text {
    /// Whether it is Rust.
    pub fn is_rust(&self) -> bool {
        self.has_extension("rs")
    }

    /// Whether its name ends in `.extension`.
    pub fn has_extension(&self, extension: &str) -> bool {
        Path::new(&self.path).extension().is_some_and(|found| found == extension)
    }
}

/// The project's folder and its text files, by path.
pub struct Tree {
    /// The folder that holds the workspace's Cargo.toml.
    pub root: PathBuf,
    /// Its text files.
    pub texts: Vec<Text>,
}

impl Tree {
    /// The tree this program was built in.
    pub fn find() -> Result<Self, Failure> {
        let here = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = here.ancestors().nth(2).filter(|root| root.join("Cargo.toml").is_file());
        let root = root.ok_or_else(|| Failure("the project's folder is gone; build xtask again".to_owned()))?.to_owned();
        let mut texts = Vec::new();
        collect(&root, "", &mut texts).map_err(|(path, error)| Failure(format!("{path} cannot be read: {error}")))?;
        texts.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Self { root, texts })
    }

    /// The text of one file.
    pub fn text(&self, path: &str) -> Option<&str> {
        self.texts.iter().find(|text| text.path == path).map(|text| text.text.as_str())
    }
}

fn collect(folder: &Path, prefix: &str, texts: &mut Vec<Text>) -> Result<(), (String, std::io::Error)> {
    let told = |error| (format!("./{prefix}"), error);
    for entry in std::fs::read_dir(folder).map_err(told)? {
        let entry = entry.map_err(told)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{prefix}{name}");
        let kind = entry.file_type().map_err(told)?;
        if kind.is_dir() {
            if !SKIPPED.contains(&name.as_str()) {
                collect(&entry.path(), &format!("{path}/"), texts)?;
            }
        } else if kind.is_file() && is_text(&name) && entry.metadata().map_err(told)?.len() <= LEN_MAX {
            let bytes = std::fs::read(entry.path()).map_err(|error| (path.clone(), error))?;
            if let Ok(text) = String::from_utf8(bytes) {
                texts.push(Text { path, text });
            }
        }
    }
    Ok(())
}

fn is_text(name: &str) -> bool {
    NAMES.contains(&name)
        || Path::new(name).extension().and_then(|extension| extension.to_str()).is_some_and(|extension| EXTENSIONS.contains(&extension))
}
