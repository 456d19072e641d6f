//! Rust as tokens: the paths a file names, its macro calls and attributes, with their lines.
//!
//! proc-macro2 takes comments and strings out of the way and leaves macro bodies in, so a path inside `assert!` counts like any other.

use super::Breach;
use crate::tree::Text;
use proc_macro2::{Delimiter, Ident, TokenStream, TokenTree};

/// A path as written, `use` groups taken apart: `["crate", "wal", "Wal"]`.
#[derive(Debug)]
pub struct Mention {
    /// Its words; a glob is `*`.
    pub path: Vec<String>,
    /// The module it stands in, from the crate's root.
    pub module: Vec<String>,
    /// Where.
    pub line: usize,
}

/// What tidy wants to know of a file.
pub struct Source {
    /// The file.
    pub path: String,
    /// Every path.
    pub mentions: Vec<Mention>,
    /// Every macro called, and where.
    pub macros: Vec<(String, usize)>,
    /// The first word of every attribute, and where.
    pub attributes: Vec<(String, usize)>,
    /// The first word of every item at the top of the file, `pub` and attributes left out, and where.
    pub items: Vec<(String, usize)>,
}

impl Source {
    /// Read one file.
    pub fn read(text: &Text) -> Result<Self, Breach> {
        let stream: TokenStream =
            text.text.parse().map_err(|_| Breach { path: text.path.clone(), line: 0, rule: "this cannot be read as Rust".to_owned() })?;
        let mut source = Self { path: text.path.clone(), mentions: Vec::new(), macros: Vec::new(), attributes: Vec::new(), items: Vec::new() };
        source.items = items(&stream);
        source.walk(stream, &module_of(&text.path));
        Ok(source)
    }

    fn walk(&mut self, stream: TokenStream, module: &[String]) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            match &tokens[at] {
                TokenTree::Ident(word) => {
                    if let (true, Some(TokenTree::Ident(name)), Some(TokenTree::Group(body))) =
                        (*word == "mod", tokens.get(at + 1), tokens.get(at + 2))
                    {
                        let inner: Vec<String> = module.iter().cloned().chain([plain(name)]).collect();
                        self.walk(body.stream(), &inner);
                        at += 3;
                    } else {
                        at = self.path(&tokens, at, Vec::new(), module);
                    }
                }
                TokenTree::Punct(punct) if punct.as_char() == '#' => {
                    let bang = usize::from(is_punct(tokens.get(at + 1), '!'));
                    if let Some(TokenTree::Group(group)) = tokens.get(at + 1 + bang)
                        && let Some(TokenTree::Ident(first)) = group.stream().into_iter().next()
                    {
                        self.attributes.push((plain(&first), line(&first)));
                    }
                    at += 1;
                }
                TokenTree::Group(group) => {
                    self.walk(group.stream(), module);
                    at += 1;
                }
                TokenTree::Punct(_) | TokenTree::Literal(_) => at += 1,
            }
        }
    }

    /// Read the path whose next word is at `at`; `prefix` comes before it. Returns where to go on.
    fn path(&mut self, tokens: &[TokenTree], mut at: usize, prefix: Vec<String>, module: &[String]) -> usize {
        let mut path = prefix;
        let mut where_ = 0;
        loop {
            match tokens.get(at) {
                Some(TokenTree::Ident(word)) => {
                    path.push(plain(word));
                    where_ = line(word);
                    at += 1;
                }
                Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace && where_ > 0 => {
                    self.group(group.stream(), &path, module);
                    return at + 1;
                }
                Some(TokenTree::Punct(punct)) if punct.as_char() == '*' && where_ > 0 => {
                    path.push("*".to_owned());
                    at += 1;
                    break;
                }
                _ => break,
            }
            if !(is_punct(tokens.get(at), ':') && is_punct(tokens.get(at + 1), ':')) {
                if is_punct(tokens.get(at), '!')
                    && matches!(tokens.get(at + 1), Some(TokenTree::Group(_)))
                    && let Some(name) = path.last()
                {
                    self.macros.push((name.clone(), where_));
                }
                break;
            }
            at += 2;
        }
        self.mentions.push(Mention { path, module: module.to_vec(), line: where_ });
        at
    }

    /// `a::{b, c::{d, e}}`: what is between the braces, each with `prefix` before it.
    fn group(&mut self, stream: TokenStream, prefix: &[String], module: &[String]) {
        let tokens: Vec<TokenTree> = stream.into_iter().collect();
        for branch in tokens.split(|token| is_punct(Some(token), ',')) {
            match branch.first() {
                Some(TokenTree::Ident(word)) if *word == "self" => {
                    self.mentions.push(Mention { path: prefix.to_vec(), module: module.to_vec(), line: line(word) });
                }
                Some(TokenTree::Ident(_)) => {
                    self.path(branch, 0, prefix.to_vec(), module);
                }
                Some(TokenTree::Punct(star)) => {
                    let path = prefix.iter().cloned().chain(["*".to_owned()]).collect();
                    self.mentions.push(Mention { path, module: module.to_vec(), line: star.span().start().line });
                }
                _ => {}
            }
        }
    }
}

impl Mention {
    /// The path from the crate's root, for paths that begin with `crate`, `self` or `super`.
    pub fn rooted(&self) -> Option<Vec<&str>> {
        let words = || self.path.iter().map(String::as_str);
        match self.path.first()?.as_str() {
            "crate" => Some(words().skip(1).collect()),
            "self" | "super" => {
                let ups = words().filter(|word| *word == "super").count();
                let kept = self.module.len().checked_sub(ups)?;
                Some(self.module.iter().take(kept).map(String::as_str).chain(words().skip_while(|word| matches!(*word, "self" | "super"))).collect())
            }
            _ => None,
        }
    }
}

/// `src/cut/plan.rs` is module `cut::plan`; `src/lib.rs` and what is not under a `src/` is the root.
fn module_of(path: &str) -> Vec<String> {
    let inside = path.split_once("src/").map_or("", |(_, inside)| inside);
    let stem = inside.strip_suffix(".rs").unwrap_or_default();
    stem.split('/').filter(|word| !matches!(*word, "" | "mod" | "lib" | "main")).map(str::to_owned).collect()
}

/// The first words of the items at the top of a file.
fn items(stream: &TokenStream) -> Vec<(String, usize)> {
    let tokens: Vec<TokenTree> = stream.clone().into_iter().collect();
    let mut items = Vec::new();
    let mut fresh = true;
    let mut at = 0;
    while at < tokens.len() {
        match &tokens[at] {
            TokenTree::Punct(punct) if punct.as_char() == '#' => at += usize::from(is_punct(tokens.get(at + 1), '!')) + 1,
            TokenTree::Ident(word) if fresh && *word == "pub" => at += usize::from(matches!(tokens.get(at + 1), Some(TokenTree::Group(_)))),
            TokenTree::Ident(word) if fresh => {
                items.push((plain(word), line(word)));
                fresh = false;
            }
            TokenTree::Punct(punct) if punct.as_char() == ';' => fresh = true,
            TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => fresh = true,
            _ => {}
        }
        at += 1;
    }
    items
}

fn is_punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(punct)) if punct.as_char() == wanted)
}

fn plain(word: &Ident) -> String {
    word.to_string().trim_start_matches("r#").to_owned()
}

fn line(word: &Ident) -> usize {
    word.span().start().line
}
