//! Strict reading of JSON objects: the caller takes each member by name, and `finish` refuses the rest.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::http_error::HttpError;
use crate::domain::in_order::InOrder;

/// Members of an object that are not taken yet. `path` is the path of the object in the request: "" or `events[2]`.
pub struct Fields<'a> {
    path: String,
    members: Vec<(String, &'a RawValue)>,
}

impl<'a> Fields<'a> {
    /// Parses an object. 400 for malformed JSON, 422 for another JSON value or a repeated member.
    pub fn parse(text: &'a str, path: impl Into<String>) -> Result<Self, HttpError> {
        let path = path.into();
        // One pass for an object; only a failure needs a second pass, to find the reason.
        let InOrder(members): InOrder<String, &RawValue> =
            serde_json::from_str(text).map_err(|error| not_an_object(text, &path, &error))?;
        let mut names = HashSet::with_capacity(members.len());
        if let Some((repeated, _)) = members.iter().find(|(name, _)| !names.insert(name.as_str())) {
            return Err(HttpError::field(join(&path, repeated), "is there twice"));
        }
        Ok(Self { path, members })
    }

    /// Path of a member in the request.
    #[must_use]
    pub fn path_of(&self, name: &str) -> String {
        join(&self.path, name)
    }

    /// Takes the JSON text of a member as sent; null counts as sent.
    pub fn raw(&mut self, name: &str) -> Option<&'a str> {
        let index = self.members.iter().position(|(member, _)| member == name)?;
        Some(self.members.swap_remove(index).1.get())
    }

    /// Whether a member is present and a string.
    #[must_use]
    pub fn is_string(&self, name: &str) -> bool {
        self.members.iter().any(|(member, raw)| member == name && raw.get().starts_with('"'))
    }

    /// Takes a string; `None` when absent or null.
    pub fn string(&mut self, name: &str) -> Result<Option<String>, HttpError> {
        self.typed(name, "must be a string")
    }

    /// Takes a string; 422 when absent or null.
    pub fn required_string(&mut self, name: &str) -> Result<String, HttpError> {
        let path = self.path_of(name);
        self.string(name)?.ok_or_else(|| HttpError::field(path, "must be set"))
    }

    /// Takes a number; `None` when absent or null.
    pub fn number(&mut self, name: &str) -> Result<Option<f64>, HttpError> {
        let Some(text) = self.raw(name).filter(|text| *text != "null") else { return Ok(None) };
        // Not parsed by serde_json: without the feature `float_roundtrip` the result may be off by one unit in the last
        // place.
        let number = text.parse().ok().filter(|_| text.starts_with(|c: char| c == '-' || c.is_ascii_digit()));
        number.map(Some).ok_or_else(|| HttpError::field(self.path_of(name), "must be a number"))
    }

    /// Takes a boolean; `None` when absent or null.
    pub fn boolean(&mut self, name: &str) -> Result<Option<bool>, HttpError> {
        self.typed(name, "must be true or false")
    }

    /// Takes an array, each element as the JSON text that was sent; `None` when absent or null.
    pub fn array(&mut self, name: &str) -> Result<Option<Vec<&'a RawValue>>, HttpError> {
        self.typed(name, "must be an array")
    }

    fn typed<T: serde::Deserialize<'a>>(&mut self, name: &str, problem: &str) -> Result<Option<T>, HttpError> {
        match self.raw(name) {
            None | Some("null") => Ok(None),
            Some(text) => {
                let path = self.path_of(name);
                serde_json::from_str(text).map(Some).map_err(|_| HttpError::field(path, problem))
            }
        }
    }

    /// Refuses members that were not taken.
    pub fn finish(self) -> Result<(), HttpError> {
        match self.members.first() {
            Some((name, _)) => Err(HttpError::field(join(&self.path, name), "is no member of this object")),
            None => Ok(()),
        }
    }
}

fn not_an_object(text: &str, path: &str, error: &serde_json::Error) -> HttpError {
    match serde_json::from_str::<&RawValue>(text) {
        Err(malformed) => HttpError::no_json(text, &malformed),
        Ok(value) if value.get().starts_with('{') => HttpError::field(named(path), error.to_string()),
        Ok(_) => HttpError::field(named(path), "must be an object"),
    }
}

/// Elements of an array, or `None` for another JSON value. 400 for malformed JSON.
pub fn elements(text: &str) -> Result<Option<Vec<&RawValue>>, HttpError> {
    let value: &RawValue = serde_json::from_str(text).map_err(|error| HttpError::no_json(text, &error))?;
    Ok(serde_json::from_str(value.get()).ok())
}

fn join(path: &str, name: &str) -> String {
    let name: String = name.chars().take(100).collect();
    if path.is_empty() { name } else { format!("{path}.{name}") }
}

fn named(path: &str) -> String {
    if path.is_empty() { "body".to_owned() } else { path.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_member_is_refused_by_its_path() {
        let mut fields = Fields::parse(r#"{"type":"a","extra":1}"#, "events[2]").unwrap();
        assert_eq!(fields.required_string("type").unwrap(), "a");
        assert_eq!(fields.finish().unwrap_err().field.as_deref(), Some("events[2].extra"));
    }

    #[test]
    fn wrong_types_and_repeated_members_are_refused_by_name() {
        let mut fields = Fields::parse(r#"{"type":1,"n":null}"#, "").unwrap();
        assert_eq!(fields.string("type").unwrap_err().field.as_deref(), Some("type"));
        assert_eq!(fields.number("n").unwrap(), None);
        let mut fields = Fields::parse(r#"{"a":"1","b":true,"c":1763630000.1234567}"#, "").unwrap();
        assert_eq!(fields.number("a").unwrap_err().field.as_deref(), Some("a"));
        assert!(fields.number("b").is_err());
        assert_eq!(fields.number("c").unwrap(), "1763630000.1234567".parse().ok());
        assert_eq!(Fields::parse(r#"{"a":1,"\u0061":2}"#, "").err().unwrap().field.as_deref(), Some("a"));
        assert_eq!(Fields::parse("[]", "").err().unwrap().field.as_deref(), Some("body"));
        assert_eq!(Fields::parse("{", "").err().unwrap().status, 400);
    }
}
