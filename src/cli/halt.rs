//! How a command ends early, and how that is told to a person: what happened, whether the data is safe, what to do.

use super::escape::plain;
use super::object::Object;
use crate::node::NodeError;
use bundle_format::error::{Code, Exit, Row};
use std::io;

/// Why a command stopped.
#[derive(Debug)]
pub enum Halt {
    /// A row of the table, and what exactly happened (may be empty: then the row says it all).
    Refused {
        /// Which row.
        code: Code,
        /// The detail, control characters not yet escaped.
        why: String,
    },
    /// Whoever read our output went away (`zbundle log | head`). Nobody is left to be told.
    PipeClosed,
}

impl Halt {
    /// A refusal with its detail.
    pub fn new(code: Code, why: impl Into<String>) -> Self {
        Self::Refused { code, why: why.into() }
    }

    /// A refusal by a room's error: its message and those of its causes that it does not repeat.
    pub fn by(code: Code, error: &dyn std::error::Error) -> Self {
        let mut why = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !why.contains(&text) {
                why = format!("{why}: {text}");
            }
            cause = error.source();
        }
        Self::new(code, why)
    }

    /// What writing to stdout ended with.
    pub fn output(error: &io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::PipeClosed,
            _ => Self::new(Code::Z111, error.to_string()),
        }
    }

    /// As an error of the node, for a room that asked us something.
    pub fn into_refusal(self) -> NodeError {
        match self {
            Self::Refused { code, why } => NodeError::refused(code, why),
            Self::PipeClosed => NodeError::refused(Code::Z100, "the output was closed"),
        }
    }

    /// How the process ends.
    pub fn exit(&self) -> Exit {
        match self {
            Self::Refused { code, .. } => code.row().exit,
            Self::PipeClosed => Exit::Done,
        }
    }
}

/// A refusal as a person reads it on stderr.
pub fn to_text(code: Code, why: &str, paint: impl Fn(&str) -> String) -> String {
    let row = code.row();
    let head = paint(&format!("error {code}:"));
    let why = if why.is_empty() || why == row.title { String::new() } else { format!("\n  Why       : {}", plain(why)) };
    format!("{head} {}{why}\n  Your data : {}\n  Do this   : {}\n  More      : zbundle error {code}", row.title, row.safe, row.hint)
}

/// A refusal as one JSON object.
pub fn to_object(code: Code, why: &str) -> Object {
    tell_row(Object::of("error"), code.row()).with("why", why)
}

/// A row of the table, told in an object.
pub fn tell_row(object: Object, row: &Row) -> Object {
    let object = object.with("code", row.code.as_str()).with("title", row.title).with("safe", row.safe).with("hint", row.hint);
    object.with("exit", row.exit as u8)
}

/// `From` for the error enums of the rooms, each of which names its row.
macro_rules! halts_on {
    ($($error:ty),* $(,)?) => {$(
        impl From<$error> for $crate::cli::halt::Halt {
            fn from(error: $error) -> Self {
                Self::by(error.code(), &error)
            }
        }
    )*};
}
pub(crate) use halts_on;

halts_on!(crate::ports::store::StoreError);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_says_what_happened_whether_data_is_safe_and_what_to_do() {
        let text = to_text(Code::Z602, "/keys/a\u{1b}[2J.key", str::to_owned);
        assert_eq!(
            text,
            "error Z602: the key file is not there\n\
             \x20 Why       : /keys/a\\u{1b}[2J.key\n\
             \x20 Your data : Nothing was changed.\n\
             \x20 Do this   : name it with --key-file; it lies outside the data directory\n\
             \x20 More      : zbundle error Z602"
        );
    }

    #[test]
    fn a_cause_already_told_is_not_told_twice() {
        let error = crate::ports::store::StoreError::Io { doing: "write log".into(), error: io::Error::other("it hangs") };
        let Halt::Refused { why, .. } = Halt::from(error) else { panic!("a refusal") };
        assert_eq!(why, "write log: it hangs");
    }
}
