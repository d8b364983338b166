//! Arguments and result of a tool call, as far as the reader may see them.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::domain::json::Members;

/// Arguments as the text of a JSON object: the first of `raw`, else the preview. Other values are a member of an object, by the name
/// that they have in the payload.
pub fn arguments(members: &Members<'_>, raw: [&str; 2], preview: (&str, Option<String>)) -> Option<String> {
    let object = |name: &str, json: &str| match json.trim_start().starts_with('{') {
        true => json.to_owned(),
        false => format!("{{{}:{json}}}", Value::from(name)),
    };
    if let Some((name, json)) = raw.into_iter().find_map(|name| members.raw(name).map(|json| (name, json))) {
        return Some(object(name, json));
    }
    let (name, preview) = preview;
    let preview = preview.filter(|text| !text.is_empty())?;
    let is_object = preview.starts_with('{') && serde_json::from_str::<&RawValue>(&preview).is_ok();
    Some(if is_object { preview } else { object(name, &Value::from(preview).to_string()) })
}

/// Result as text: the first of `raw`, else the preview, else the error; empty without any.
pub fn result(members: &Members<'_>, raw: [&str; 2], preview: Option<String>) -> String {
    let raw = raw.into_iter().find_map(|name| members.words(name));
    raw.or(preview).or_else(|| members.words("error")).unwrap_or_default()
}
