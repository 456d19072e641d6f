//! A JSON Schema that payloads must fit to be pushed through one door: one `push`, or the HTTP of one `serve`. Pure.
//!
//! In: the schema's text, payloads. Out: whether they fit, and where not. Invariants: nothing is fetched, whatever the schema refers to (R10.15-b);
//! patterns take time linear in the text; what is told of a payload that does not fit are places and rules, never its values. Not here: replication,
//! which knows no schema (R10.15-a).

use super::spool::Spool;
use boon::{Compiler, ErrorKind, SchemaIndex, Schemas, UrlLoader, ValidationError};
use bundle_format::error::Code;
use serde_json::Value;
use std::error::Error;

/// Longest schema: FHIR's has 3.4 MB.
pub const SCHEMA_LEN_MAX: usize = 4 << 20;
/// Longest payload that is looked at: as a tree it takes up to thirty times its length in memory. What a spool holds without a file.
pub const CHECKED_LEN_MAX: usize = 256 * 1024;
/// Deepest nesting that is looked at: each level costs some kilobytes of stack, more where the schema has many words for it.
const DEPTH_MAX: usize = 64;
/// Characters of a place or a rule that are told.
const TOLD_LEN_MAX: usize = 200;
/// What the schema is called where it has not named itself.
const OWN_NAME: &str = "zbundle:///schema";

/// A schema, ready to be asked.
pub struct Schema {
    all: Schemas,
    root: SchemaIndex,
}

impl std::fmt::Debug for Schema {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Schema")
    }
}

/// Why a text is no schema: Z439.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaError {
    /// It is not JSON.
    #[error("it is not JSON: {0}")]
    NotJson(#[source] serde_json::Error),
    /// It is JSON, and not a schema that can be used here.
    #[error("{0}")]
    NotASchema(String),
}

impl SchemaError {
    /// Its row in the table.
    pub fn code(&self) -> Code {
        Code::Z439
    }
}

/// Where a payload does not fit: Z438.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// JSON pointer (RFC 6901) into the payload; empty is all of it.
    pub pointer: String,
    /// Which rule it breaks; of the payload it names nothing but kinds and numbers of things.
    pub why: String,
}

impl std::fmt::Display for Violation {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let at = if self.pointer.is_empty() { "the payload" } else { &self.pointer };
        write!(out, "{at} {}", self.why)
    }
}

/// Refers to nothing.
struct Nowhere;

impl UrlLoader for Nowhere {
    fn load(&self, _: &str) -> Result<Value, Box<dyn Error>> {
        Err("references to other files and addresses are not followed".into())
    }
}

impl Schema {
    /// From its text; drafts 4 to 2020-12, the last where it names none.
    ///
    /// # Errors
    /// [`SchemaError`].
    pub fn compile(text: &[u8]) -> Result<Self, SchemaError> {
        let document = serde_json::from_slice(text).map_err(SchemaError::NotJson)?;
        let (mut all, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.use_loader(Box::new(Nowhere));
        compiler.enable_format_assertions(); // a schema that says `"format": "date"` means it
        let said = |error: boon::CompileError| SchemaError::NotASchema(short(&format!("{error:#}").replace('\n', " ")));
        compiler.add_resource(OWN_NAME, document).map_err(said)?;
        let root = compiler.compile(OWN_NAME, &mut all).map_err(said)?;
        Ok(Self { all, root })
    }

    /// [`Schema::check`] of what is in `spool`.
    ///
    /// # Errors
    /// As there.
    pub fn check_in(&self, spool: &Spool) -> Result<(), Violation> {
        spool.in_memory().map_or_else(|| Err(too_large()), |payload| self.check(payload))
    }

    /// Whether `payload` fits.
    ///
    /// # Errors
    /// [`Violation`]: the first that was found.
    pub fn check(&self, payload: &[u8]) -> Result<(), Violation> {
        let whole = |why: String| Violation { pointer: String::new(), why };
        if payload.len() > CHECKED_LEN_MAX {
            return Err(too_large());
        }
        if depth(payload) > DEPTH_MAX {
            return Err(whole(format!("is nested more than {DEPTH_MAX} deep")));
        }
        let value: Value = serde_json::from_slice(payload)
            .map_err(|error| whole(format!("cannot be read as JSON at line {}, column {}", error.line(), error.column())))?;
        self.all.validate(&value, self.root).map_err(|error| {
            let first = first(&error);
            Violation { pointer: short(&first.instance_location.to_string()), why: short(&rule(&first.kind)) }
        })
    }
}

/// How deep arrays and objects stand in one another in a text that is JSON.
fn depth(text: &[u8]) -> usize {
    let (mut depth, mut deepest, mut quoted, mut escaped) = (0_usize, 0, false, false);
    for byte in text {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b'[' | b'{' if !quoted => depth += 1,
            b']' | b'}' if !quoted => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

fn too_large() -> Violation {
    Violation { pointer: String::new(), why: format!("is larger than the {CHECKED_LEN_MAX} bytes that are held against a schema") }
}

/// The first rule that is broken and is a rule by itself: of several ways none of which fits, no one is the right one to tell.
fn first<'e, 's, 'v>(error: &'e ValidationError<'s, 'v>) -> &'e ValidationError<'s, 'v> {
    match (&error.kind, error.causes.first()) {
        (ErrorKind::Group | ErrorKind::Schema { .. } | ErrorKind::Reference { .. } | ErrorKind::AllOf, Some(cause)) => first(cause),
        _ => error,
    }
}

/// A rule in words, without what the payload holds there.
fn rule(kind: &ErrorKind<'_, '_>) -> String {
    match kind {
        ErrorKind::Type { got, want } => {
            let want: Vec<String> = want.iter().map(|kind| kind.to_string()).collect();
            format!("is of type {got}, not {}", want.join(" or "))
        }
        ErrorKind::Required { want } => format!("lacks {}", want.join(", ")),
        ErrorKind::Dependency { prop, missing } | ErrorKind::DependentRequired { prop, missing } => {
            format!("has {prop} and lacks {}", missing.join(", "))
        }
        ErrorKind::AdditionalProperties { got } => format!("has {} that the schema does not know: {}", got.len(), got.join(", ")),
        ErrorKind::AdditionalItems { got } => format!("has {got} items more than the schema knows"),
        ErrorKind::Enum { .. } => "is none of the values that are allowed".to_owned(),
        ErrorKind::Const { .. } => "is not the one value that is allowed".to_owned(),
        ErrorKind::Format { want, .. } => format!("is not spelled as {want}"),
        ErrorKind::Pattern { want, .. } => format!("does not match {want}"),
        ErrorKind::MinLength { got, want } => format!("has {got} characters, at least {want} are asked for"),
        ErrorKind::MaxLength { got, want } => format!("has {got} characters, at most {want} are allowed"),
        ErrorKind::MinItems { got, want } => format!("has {got} items, at least {want} are asked for"),
        ErrorKind::MaxItems { got, want } => format!("has {got} items, at most {want} are allowed"),
        ErrorKind::MinProperties { got, want } => format!("has {got} properties, at least {want} are asked for"),
        ErrorKind::MaxProperties { got, want } => format!("has {got} properties, at most {want} are allowed"),
        ErrorKind::UniqueItems { got: [one, other] } => format!("has the same at {one} and {other}"),
        ErrorKind::Minimum { want, .. } => format!("is less than {want}"),
        ErrorKind::Maximum { want, .. } => format!("is more than {want}"),
        ErrorKind::ExclusiveMinimum { want, .. } => format!("is not more than {want}"),
        ErrorKind::ExclusiveMaximum { want, .. } => format!("is not less than {want}"),
        ErrorKind::MultipleOf { want, .. } => format!("is no multiple of {want}"),
        ErrorKind::Contains | ErrorKind::MinContains { .. } | ErrorKind::MaxContains { .. } => {
            "does not hold as many of what it must hold".to_owned()
        }
        ErrorKind::PropertyName { .. } => "has a property of a name that is not allowed".to_owned(),
        ErrorKind::FalseSchema => "may not be there".to_owned(),
        ErrorKind::Not => "is what it must not be".to_owned(),
        ErrorKind::AnyOf | ErrorKind::OneOf(None) => "fits none of the ways that are allowed".to_owned(),
        ErrorKind::OneOf(Some(_)) => "fits more than one way, and exactly one is allowed".to_owned(),
        ErrorKind::RefCycle { .. } => "cannot be held against it: the schema refers to itself without end".to_owned(),
        _ => "does not fit".to_owned(),
    }
}

fn short(text: &str) -> String {
    let mut told: String = text.chars().take(TOLD_LEN_MAX).collect();
    if told.len() < text.len() {
        told.push('…');
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: &Value, payload: &str) -> Result<(), (String, String)> {
        let schema = Schema::compile(schema.to_string().as_bytes()).unwrap();
        schema.check(payload.as_bytes()).map_err(|violation| (violation.pointer, violation.why))
    }

    #[test]
    fn what_does_not_fit_is_named_by_place_and_rule_and_never_by_its_value() {
        let schema = json!({
            "type": "object", "required": ["id"], "additionalProperties": false,
            "properties": {
                "id": { "type": "string", "pattern": "^BT-[0-9]{4}$" },
                "bp": { "type": "array", "items": { "$ref": "#/$defs/pressure" }, "maxItems": 2 },
                "born": { "format": "date" }, "sex": { "enum": ["f", "m", "x"] },
                "a/b~c": { "anyOf": [{ "type": "integer" }, { "type": "null" }] },
            },
            "$defs": { "pressure": { "type": "integer", "minimum": 20, "maximum": 300 } },
        });
        assert_eq!(check(&schema, "{\"id\":\"BT-0042\",\"bp\":[120,80],\"born\":\"1980-02-29\",\"sex\":\"x\"}"), Ok(()));
        for (payload, pointer, why) in [
            ("{}", "", "lacks id"),
            ("[]", "", "is of type array, not object"),
            ("{\"id\":\"secret\"}", "/id", "does not match ^BT-[0-9]{4}$"),
            ("{\"id\":\"BT-0042\",\"bp\":[777]}", "/bp/0", "is more than 300"),
            ("{\"id\":\"BT-0042\",\"bp\":[90,\"777\"]}", "/bp/1", "is of type string, not integer"),
            ("{\"id\":\"BT-0042\",\"bp\":[90,90,90]}", "/bp", "has 3 items, at most 2 are allowed"),
            ("{\"id\":\"BT-0042\",\"born\":\"secret\"}", "/born", "is not spelled as date"),
            ("{\"id\":\"BT-0042\",\"sex\":\"secret\"}", "/sex", "is none of the values that are allowed"),
            ("{\"id\":\"BT-0042\",\"a/b~c\":\"secret\"}", "/a~1b~0c", "fits none of the ways that are allowed"),
            ("{\"id\":\"BT-0042\",\"more\":\"secret\"}", "", "has 1 that the schema does not know: more"),
            ("{\"id\":", "", "cannot be read as JSON at line 1, column 6"),
        ] {
            assert_eq!(check(&schema, payload), Err((pointer.to_owned(), why.to_owned())), "{payload}");
        }
    }

    /// R10.15-b
    #[test]
    fn a_schema_is_used_whole_and_alone_or_not_at_all() {
        for (text, why) in [
            ("{", "not JSON"),
            ("{\"type\":\"strin\"}", "not valid against metaschema"),
            ("{\"$ref\":\"http://127.0.0.1:1/x.json\"}", "not followed"),
            ("{\"$ref\":\"file:///etc/passwd\"}", "not followed"),
            ("{\"$ref\":\"other.json\"}", "not followed"),
            ("{\"$schema\":\"http://127.0.0.1:1/x.json\"}", "not followed"),
            ("{\"pattern\":\"(\"}", "metaschema"),
            ("{\"$ref\":\"#/nowhere\"}", "nowhere"),
        ] {
            let error = Schema::compile(text.as_bytes()).unwrap_err();
            assert!(error.to_string().contains(why) && error.code() == Code::Z439, "{text}: {error}");
        }
        assert_eq!(check(&json!({ "$ref": "http://json-schema.org/draft-07/schema#" }), "{}"), Ok(()), "the drafts themselves are known");
    }

    #[test]
    fn neither_schema_nor_payload_can_make_it_work_without_end() {
        let endless = json!({ "$ref": "#" });
        assert!(check(&endless, "1").unwrap_err().1.contains("without end"));
        let each_other = json!({ "$ref": "#/$defs/a", "$defs": { "a": { "$ref": "#/$defs/b" }, "b": { "$ref": "#/$defs/a" } } });
        assert!(check(&each_other, "1").unwrap_err().1.contains("without end"));
        // A pattern that takes a backtracking engine longer than a life.
        let pattern = json!({ "pattern": "^(a+)+$" });
        assert!(check(&pattern, &json!("a".repeat(50_000) + "!").to_string()).is_err());
        let huge = Schema::compile(json!({ "pattern": "(((a{100}){100}){100}){100}" }).to_string().as_bytes());
        assert!(huge.is_err(), "an automaton that would not fit in memory is refused");
        let deep = json!({ "items": { "$ref": "#" } });
        let nested = |depth: usize| "[".repeat(depth) + &"]".repeat(depth);
        assert!(check(&deep, &nested(100_000)).is_err() && check(&deep, &nested(65)).is_err());
        assert_eq!(check(&deep, &nested(64)), Ok(()));
        assert_eq!(check(&json!(true), &format!("[\"\\\"{}\"]", "[".repeat(100))), Ok(()), "brackets in a text are no depth");
        assert!(check(&json!(true), &format!("\"{}\"", "x".repeat(CHECKED_LEN_MAX))).unwrap_err().1.contains("larger"));
    }
}
