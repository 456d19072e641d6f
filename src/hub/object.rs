//! One JSON object on one line, its keys in the order they are told.

use serde::Serialize;

/// Built key by key; the first key is `type`, what the line is about.
#[derive(Clone, Debug)]
pub struct Object {
    text: String,
}

impl Object {
    /// `{"type":kind`.
    pub fn of(kind: &str) -> Self {
        Self { text: String::new() }.with("type", kind)
    }

    /// No key yet: for lines whose keys are told elsewhere.
    pub fn empty() -> Self {
        Self { text: String::new() }
    }

    /// One more key. A value that serde cannot tell in JSON (none of ours) is told as null.
    #[must_use]
    pub fn with(mut self, key: &str, value: impl Serialize) -> Self {
        self.text.push(if self.text.is_empty() { '{' } else { ',' });
        self.text.push_str(&json(key));
        self.text.push(':');
        self.text.push_str(&json(&value));
        self
    }

    /// One more key whose value is an object.
    #[must_use]
    pub fn with_object(mut self, key: &str, object: Self) -> Self {
        let brace = if self.text.is_empty() { "{" } else { "," };
        self.text.extend([brace, &json(key), ":", &object.into_line()]);
        self
    }

    /// One more key whose value is a list of objects.
    #[must_use]
    pub fn with_objects(mut self, key: &str, objects: impl Iterator<Item = Self>) -> Self {
        let brace = if self.text.is_empty() { "{" } else { "," };
        let list = objects.map(Self::into_line).collect::<Vec<_>>().join(",");
        self.text.extend([brace, &json(key), ":[", &list, "]"]);
        self
    }

    /// One more key when there is something to say.
    #[must_use]
    pub fn with_some(self, key: &str, value: Option<impl Serialize>) -> Self {
        match value {
            Some(value) => self.with(key, value),
            None => self,
        }
    }

    /// The line without its closing brace: its last value streams behind it.
    pub fn into_open_line(self) -> String {
        self.text
    }

    /// The line, without its newline.
    pub fn into_line(mut self) -> String {
        if self.text.is_empty() {
            self.text.push('{');
        }
        self.text.push('}');
        self.text
    }
}

fn json(value: &(impl Serialize + ?Sized)) -> String {
    serde_json::to_string(value).unwrap_or_else(|_| "null".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_stand_in_the_order_they_were_told() {
        let line = Object::of("ack").with("id", "b\"\n").with_some("line", Some(3)).with_some("to", None::<u8>).into_line();
        assert_eq!(line, r#"{"type":"ack","id":"b\"\n","line":3}"#);
    }
}
