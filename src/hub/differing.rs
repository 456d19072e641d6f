//! Where versions of a record differ. Pure.

use serde_json::Value;
use std::collections::BTreeSet;

/// JSON pointers (RFC 6901) at which the versions differ, with each version's value there. Empty unless all of them are JSON.
pub fn differences(versions: &[Option<Value>]) -> Vec<(String, Vec<Option<Value>>)> {
    let Some(all) = versions.iter().map(Option::as_ref).collect::<Option<Vec<_>>>() else { return Vec::new() };
    let mut found = Vec::new();
    compare(String::new(), &all.into_iter().map(Some).collect::<Vec<_>>(), &mut found);
    found
}

fn compare(path: String, values: &[Option<&Value>], found: &mut Vec<(String, Vec<Option<Value>>)>) {
    if values.windows(2).all(|pair| pair[0] == pair[1]) {
        return;
    }
    let objects: Option<Vec<_>> = values.iter().map(|value| value.and_then(Value::as_object)).collect();
    let Some(objects) = objects else {
        found.push((path, values.iter().map(|value| value.cloned()).collect()));
        return;
    };
    let keys: BTreeSet<&String> = objects.iter().flat_map(|object| object.keys()).collect();
    for key in keys {
        let inside: Vec<_> = objects.iter().map(|object| object.get(key)).collect();
        compare(format!("{path}/{}", key.replace('~', "~0").replace('/', "~1")), &inside, found);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn fields_that_differ_are_named_by_pointers() {
        for (versions, paths) in [
            (vec![json!({"a": 1}), json!({"a": 1})], vec![]),
            (vec![json!({"a": 1, "b": 2}), json!({"a": 1, "b": 3})], vec!["/b"]),
            (vec![json!({"a": {"x/y": 1}}), json!({"a": {}})], vec!["/a/x~1y"]),
            (vec![json!([1]), json!({"a": 1})], vec![""]),
            (vec![json!({"a": null}), json!({})], vec!["/a"]),
            (vec![json!({"a": 1}), json!({"a": 1}), json!({"a": 2})], vec!["/a"]),
        ] {
            let found: Vec<_> = differences(&versions.iter().cloned().map(Some).collect::<Vec<_>>()).into_iter().map(|(path, _)| path).collect();
            assert_eq!(found, paths, "{versions:?}");
        }
        assert!(differences(&[Some(json!(1)), None]).is_empty());
    }
}
