//! Canonical form for the comparison of JSON texts: equal number lexemes and key sets, strings equal by value.

use std::collections::BTreeMap;

use crate::domain::json::redaction::members::{decode_string, elements, members};

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Canonical {
    Text(String),
    /// A number, true, false, null, or a string with a lone surrogate: the lexeme.
    Lexeme(String),
    Array(Vec<Canonical>),
    /// The values of each key: a repeated key has several.
    Object(BTreeMap<String, Vec<Canonical>>),
}

pub(super) fn canonical(json: &str) -> Canonical {
    if let Some(members) = members(json) {
        let mut object = BTreeMap::<_, Vec<_>>::new();
        for member in members {
            let key = member.exact_key().unwrap_or_else(|| member.raw_key.into()).into_owned();
            object.entry(key).or_default().push(canonical(member.raw_value));
        }
        Canonical::Object(object)
    } else if let Some(elements) = elements(json) {
        Canonical::Array(elements.into_iter().map(canonical).collect())
    } else if let Some(text) = decode_string(json) {
        Canonical::Text(text.into_owned())
    } else {
        Canonical::Lexeme(json.trim().to_owned())
    }
}
