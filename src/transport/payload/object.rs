//! JSON objects from and to typed messages: a member that fits its field exactly is read into the field, all other members stay
//! JSON text.

use super::error::PayloadError;
use crate::domain::json::preview::PreviewLimits;
use crate::domain::json::redaction::members::{Member, checked, members};
use crate::domain::json::why_not_json;

/// Most characters of a member's key in an error.
const SHOWN_KEY_CHARS: usize = 64;

/// Part of a member that a field took.
pub(super) enum Fit {
    /// The field took the whole member.
    Whole,
    /// The field took some members of an object; the rest, as the text of an object.
    AllBut(String),
    /// The field is unset, because the value does not fit exactly.
    Nothing,
}

/// A message with fields for the members of a JSON object. Implemented by the lines of `tables`.
pub(super) trait Model: Default {
    /// Stores a member in the field of the key, as far as the value fits.
    fn take(&mut self, key: &str, raw_value: &str) -> Fit;

    /// Writes the fields that are set, in the order of `tables`.
    fn put(&self, object: &mut ObjectWriter<'_>) -> Result<(), PayloadError>;
}

/// The message, and an object with the members that do not fit, as text (empty if all members fit). `None`: not an object, or
/// a repeated key, which is ambiguous for a field.
pub(super) fn read_object<M: Model>(json: &str) -> Option<(M, String)> {
    let members = members(json)?;
    if repeated_key(&members).is_some() {
        return None;
    }
    let mut message = M::default();
    let mut rest = String::new();
    for member in &members {
        // A key with a lone surrogate matches no field.
        let taken = member.exact_key().map_or(Fit::Nothing, |key| message.take(&key, member.raw_value));
        match taken {
            Fit::Whole => {}
            Fit::AllBut(left) => push_member(&mut rest, member.raw_key, &left),
            Fit::Nothing => push_member(&mut rest, member.raw_key, member.raw_value),
        }
    }
    if !rest.is_empty() {
        rest.push('}');
    }
    Some((message, rest))
}

/// A key that occurs more than once, decoded.
pub(super) fn repeated_key(members: &[Member<'_>]) -> Option<String> {
    let mut keys: Vec<_> = members.iter().map(|m| m.exact_key().unwrap_or_else(|| m.raw_key.into())).collect();
    keys.sort_unstable();
    keys.windows(2).find(|pair| pair[0] == pair[1]).map(|pair| pair[0].to_string())
}

/// Appends a member to the text of an object that is still open.
fn push_member(object: &mut String, raw_key: &str, raw_value: &str) {
    object.push(if object.is_empty() { '{' } else { ',' });
    object.push_str(raw_key);
    object.push(':');
    object.push_str(raw_value);
}

/// Builds the JSON text of a member: the summary or preview of raw tool input or output.
pub(super) type Build = fn(&str, PreviewLimits) -> String;

/// An object in progress, with the members to merge from `extra_json`.
pub(super) struct ObjectWriter<'a> {
    pub(super) text: &'a mut String,
    is_empty: bool,
    /// Path of this object from the payload: `tool_invoked.tool_input_summary`.
    path: String,
    /// Members of `extra_json` for this object, without the members already taken by fields.
    extra: Vec<Member<'a>>,
    limits: PreviewLimits,
}

/// JSON text of a variant. `name` is the variant's field in `pb::Payload`.
pub(super) fn write_payload<M: Model>(
    name: &str,
    message: &M,
    extra_json: &str,
    limits: PreviewLimits,
) -> Result<String, PayloadError> {
    let mut text = String::new();
    write_object(message, name.to_owned(), extra_members(extra_json)?, limits, &mut text)?;
    Ok(text)
}

/// JSON text of a payload without a variant.
pub(super) fn without_variant(extra_json: &str) -> Result<String, PayloadError> {
    extra_members(extra_json)?;
    Ok(if extra_json.is_empty() { "{}".to_owned() } else { extra_json.to_owned() })
}

fn extra_members(extra_json: &str) -> Result<Vec<Member<'_>>, PayloadError> {
    if extra_json.is_empty() {
        return Ok(Vec::new());
    }
    members(extra_json).ok_or_else(|| {
        let is_json = checked(extra_json).is_some();
        PayloadError::new(
            "extra_json",
            if is_json { "is not a JSON object".to_owned() } else { why_not_json(extra_json) },
        )
    })
}

fn write_object<M: Model>(
    message: &M,
    path: String,
    extra: Vec<Member<'_>>,
    limits: PreviewLimits,
    text: &mut String,
) -> Result<(), PayloadError> {
    if let Some(key) = repeated_key(&extra) {
        // A key may be 1 MiB long, and an error is sent in headers.
        let key: String = key.chars().take(SHOWN_KEY_CHARS).collect();
        return Err(PayloadError::new("extra_json", format!("has the member `{key}` twice")));
    }
    text.push('{');
    let mut object = ObjectWriter { text, is_empty: true, path, extra, limits };
    message.put(&mut object)?;
    object.finish();
    Ok(())
}

impl<'a> ObjectWriter<'a> {
    /// Begins a member. Fails if `extra_json` has the same member.
    pub(super) fn begin(&mut self, key: &str, field: &str) -> Result<(), PayloadError> {
        if self.take_extra(key).is_some() {
            return Err(self.in_both_places(key, field));
        }
        self.begin_known(key);
        Ok(())
    }

    /// Writes a nested message, merged with the object under the same key in `extra_json`.
    pub(super) fn nested<M: Model>(&mut self, key: &str, field: &str, message: &M) -> Result<(), PayloadError> {
        let extra = match self.take_extra(key) {
            None => Vec::new(),
            Some(rest) => members(rest.raw_value).ok_or_else(|| self.in_both_places(key, field))?,
        };
        self.begin_known(key);
        write_object(message, self.path_of(field), extra, self.limits, self.text)
    }

    /// Writes an element of an array of messages. `extra_json` cannot add members to an element.
    pub(super) fn element<M: Model>(&mut self, field: &str, index: usize, message: &M) -> Result<(), PayloadError> {
        let path = format!("{}[{index}]", self.path_of(field));
        write_object(message, path, Vec::new(), self.limits, self.text)
    }

    /// Writes a member built from raw tool input or output. `raw_field` holds the raw text, and `field` must not be set.
    pub(super) fn built(
        &mut self,
        key: &str,
        (field, is_set): (&str, bool),
        (raw_field, raw): (&str, &str),
        build: Build,
    ) -> Result<(), PayloadError> {
        if is_set {
            let problem = format!("must be absent beside `{field}`, which is made from it");
            return Err(self.error(raw_field, problem));
        }
        if checked(raw).is_none() {
            return Err(self.error(raw_field, why_not_json(raw)));
        }
        self.begin(key, raw_field)?;
        self.text.push_str(&build(raw, self.limits));
        Ok(())
    }

    /// An error about a field of this object.
    pub(super) fn error(&self, field: &str, problem: impl Into<String>) -> PayloadError {
        PayloadError::new(self.path_of(field), problem)
    }

    fn in_both_places(&self, key: &str, field: &str) -> PayloadError {
        self.error(field, format!("is set, and `extra_json` has the member `{key}` as well"))
    }

    fn path_of(&self, field: &str) -> String {
        format!("{}.{field}", self.path)
    }

    fn take_extra(&mut self, key: &str) -> Option<Member<'a>> {
        let index = self.extra.iter().position(|member| member.exact_key().as_deref() == Some(key))?;
        Some(self.extra.remove(index))
    }

    /// Begins a member with a key that needs no escape.
    fn begin_known(&mut self, key: &str) {
        self.separate();
        self.text.push('"');
        self.text.push_str(key);
        self.text.push_str("\":");
    }

    fn separate(&mut self) {
        if !self.is_empty {
            self.text.push(',');
        }
        self.is_empty = false;
    }

    fn finish(mut self) {
        for member in std::mem::take(&mut self.extra) {
            self.separate();
            self.text.push_str(member.raw_key);
            self.text.push(':');
            self.text.push_str(member.raw_value);
        }
        self.text.push('}');
    }
}
