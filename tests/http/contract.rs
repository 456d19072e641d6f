//! Every answer that a test sees is held against the document that the server tells of itself.

use crate::world::Answer;
use boon::{Compiler, Schemas};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::{Mutex, OnceLock};

/// The document, as the server tells it (`the_document_is_the_one_that_is_served`).
pub fn document() -> &'static Value {
    static DOCUMENT: OnceLock<Value> = OnceLock::new();
    DOCUMENT.get_or_init(|| serde_json::from_str(include_str!("../../src/hub/openapi.json")).unwrap())
}

/// Hold `answer` against what the document says of `method` and `path`.
#[track_caller]
pub fn check(method: &str, path: &str, answer: &Answer) {
    let path = path.split('?').next().unwrap();
    if path.starts_with("/ui") && answer.status < 400 {
        return; // for people; R10.13-g
    }
    let what = format!("{method} {path}: {} {}", answer.status, answer.header("content-type"));
    let paths = document()["paths"].as_object().unwrap();
    let known = paths.iter().find(|(known, _)| match known.split_once('{') {
        Some((before, _)) => path.starts_with(before),
        None => *known == path,
    });
    let Some(told) = known.and_then(|(_, methods)| methods.get(method.to_lowercase())) else {
        assert!(answer.status >= 400, "{what} is not in the document");
        return fits("Problem", &answer.json(), &what);
    };
    let response = told["responses"].get(answer.status.to_string()).or_else(|| told["responses"].get("default").filter(|_| answer.status >= 400));
    let response = response.unwrap_or_else(|| panic!("{what} is not in the document"));
    let response = response["$ref"].as_str().map_or(response, |name| document().pointer(&name[1..]).unwrap());
    let Some(contents) = response["content"].as_object() else { return };
    let kind = answer.header("content-type").split(';').next().unwrap();
    let content = contents.get(kind).unwrap_or_else(|| panic!("{what}: the document knows {contents:?}"));
    if let Some(name) = content["schema"]["$ref"].as_str() {
        fits(name.rsplit('/').next().unwrap(), &answer.json(), &what);
    }
}

/// Hold `value` against a schema of the document; what the document does not name may not be there.
#[track_caller]
pub fn fits(name: &str, value: &Value, what: &str) {
    static COMPILED: OnceLock<Mutex<HashMap<String, (Schemas, boon::SchemaIndex)>>> = OnceLock::new();
    let mut compiled = COMPILED.get_or_init(Mutex::default).lock().unwrap();
    let (schemas, index) = compiled.entry(name.to_owned()).or_insert_with(|| {
        let text = document()["components"]["schemas"].to_string().replace("#/components/schemas/", "#/$defs/");
        let mut all: Value = serde_json::from_str(&text).unwrap();
        close(&mut all);
        let (mut schemas, mut compiler) = (Schemas::new(), Compiler::new());
        compiler.add_resource("zbundle:///", json!({ "$ref": format!("#/$defs/{name}"), "$defs": all })).unwrap();
        let index = compiler.compile("zbundle:///", &mut schemas).unwrap();
        (schemas, index)
    });
    if let Err(error) = schemas.validate(value, *index) {
        panic!("{what}: {error:#} in {value}");
    }
}

/// Allow no property that is not named.
fn close(schema: &mut Value) {
    if let Some(object) = schema.as_object_mut().filter(|object| object.contains_key("properties") && object.get("type") == Some(&json!("object"))) {
        object.insert("additionalProperties".to_owned(), json!(false));
    }
    match schema {
        Value::Object(object) => object.values_mut().for_each(close),
        Value::Array(all) => all.iter_mut().for_each(close),
        _ => {}
    }
}
