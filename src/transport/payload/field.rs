//! Conversion between one JSON member and one field. A kind holds both directions for a shape.

use super::error::PayloadError;
use super::object::{Fit, Model, ObjectWriter, read_object};
use crate::domain::json::redaction::members::{checked, decode_string, elements, encode_string};
use crate::domain::json::why_not_json;

/// A kind of field, for a field of the Rust type `Slot`.
pub(super) trait Kind<Slot> {
    fn take(slot: &mut Slot, raw: &str) -> Fit;
    fn put(slot: &Slot, key: &str, field: &str, object: &mut ObjectWriter<'_>) -> Result<(), PayloadError>;
}

/// A string, a boolean or a number.
pub(super) struct Plain;
/// Any JSON value as text: the fields `<name>_json`.
pub(super) struct Raw;
/// An object with a message type. Members without a field stay in the rest.
pub(super) struct Nested;
/// An array of objects with a message type. The array fits as a whole or not at all.
pub(super) struct List;

/// A value that fits a JSON scalar exactly or not at all: `write` returns the text that `read` accepted.
pub(super) trait Scalar: Sized {
    fn read(raw: &str) -> Option<Self>;
    fn write(&self) -> Result<String, &'static str>;
}

impl Scalar for String {
    fn read(raw: &str) -> Option<Self> {
        decode_string(raw).map(Into::into)
    }

    fn write(&self) -> Result<String, &'static str> {
        Ok(encode_string(self))
    }
}

impl Scalar for bool {
    fn read(raw: &str) -> Option<Self> {
        raw.parse().ok()
    }

    fn write(&self) -> Result<String, &'static str> {
        Ok(self.to_string())
    }
}

impl Scalar for f64 {
    fn read(raw: &str) -> Option<Self> {
        same_lexeme(raw)
    }

    fn write(&self) -> Result<String, &'static str> {
        /// 2^53. From here on doubles skip integers, and an integer lexeme would show digits that the double does not hold.
        const EXACT_INTEGERS: f64 = 9_007_199_254_740_992.0;

        if !self.is_finite() {
            return Err("is not a finite number, which JSON cannot say");
        }
        if self.fract() == 0.0 && self.abs() < EXACT_INTEGERS {
            // `Display` writes integers without a fraction, and negative zero as `-0`.
            return Ok(self.to_string());
        }
        serde_json::to_string(self).map_err(|_| "is not a number that JSON can say")
    }
}

/// Integers: the output of `Display` is the JSON lexeme.
macro_rules! integers {
    ($($int:ty),*) => {$(
        impl Scalar for $int {
            fn read(raw: &str) -> Option<Self> {
                same_lexeme(raw)
            }

            fn write(&self) -> Result<String, &'static str> {
                Ok(self.to_string())
            }
        }
    )*};
}
integers!(i32, u64);

/// Parses a number that prints as the same lexeme: not 1.0, which prints as 1, and not 1e3.
fn same_lexeme<N: Scalar + std::str::FromStr>(raw: &str) -> Option<N> {
    raw.parse::<N>().ok().filter(|number| number.write().is_ok_and(|lexeme| lexeme == raw))
}

impl<S: Scalar> Kind<Option<S>> for Plain {
    fn take(slot: &mut Option<S>, raw: &str) -> Fit {
        *slot = S::read(raw);
        if slot.is_some() { Fit::Whole } else { Fit::Nothing }
    }

    fn put(slot: &Option<S>, key: &str, field: &str, object: &mut ObjectWriter<'_>) -> Result<(), PayloadError> {
        let Some(value) = slot else { return Ok(()) };
        let json = value.write().map_err(|problem| object.error(field, problem))?;
        object.begin(key, field)?;
        object.text.push_str(&json);
        Ok(())
    }
}

impl Kind<Option<String>> for Raw {
    fn take(slot: &mut Option<String>, raw: &str) -> Fit {
        *slot = Some(raw.to_owned());
        Fit::Whole
    }

    fn put(slot: &Option<String>, key: &str, field: &str, object: &mut ObjectWriter<'_>) -> Result<(), PayloadError> {
        let Some(json) = slot else { return Ok(()) };
        let json = checked(json).ok_or_else(|| object.error(field, why_not_json(json)))?;
        object.begin(key, field)?;
        object.text.push_str(json);
        Ok(())
    }
}

impl<M: Model> Kind<Option<M>> for Nested {
    fn take(slot: &mut Option<M>, raw: &str) -> Fit {
        let Some((message, rest)) = read_object(raw) else {
            return Fit::Nothing;
        };
        *slot = Some(message);
        if rest.is_empty() { Fit::Whole } else { Fit::AllBut(rest) }
    }

    fn put(slot: &Option<M>, key: &str, field: &str, object: &mut ObjectWriter<'_>) -> Result<(), PayloadError> {
        slot.as_ref().map_or(Ok(()), |message| object.nested(key, field, message))
    }
}

impl<M: Model> Kind<Vec<M>> for List {
    fn take(slot: &mut Vec<M>, raw: &str) -> Fit {
        let messages: Option<Vec<M>> = elements(raw).and_then(|raws| {
            raws.into_iter()
                .map(|raw| read_object(raw).filter(|(_, rest)| rest.is_empty()))
                .map(|whole| whole.map(|(message, _)| message))
                .collect()
        });
        match messages {
            // An empty array would become an absent member, so the array stays in the rest.
            Some(messages) if !messages.is_empty() => {
                *slot = messages;
                Fit::Whole
            }
            _ => Fit::Nothing,
        }
    }

    fn put(slot: &Vec<M>, key: &str, field: &str, object: &mut ObjectWriter<'_>) -> Result<(), PayloadError> {
        if slot.is_empty() {
            return Ok(());
        }
        object.begin(key, field)?;
        object.text.push('[');
        for (index, message) in slot.iter().enumerate() {
            if index > 0 {
                object.text.push(',');
            }
            object.element(field, index, message)?;
        }
        object.text.push(']');
        Ok(())
    }
}
