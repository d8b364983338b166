//! Request bodies with one object, an array, or an array under a name.

use serde_json::value::RawValue;

use crate::transport::rest::HttpError;
use crate::transport::rest::event_path::EventPath;
use crate::transport::rest::fields::{Fields, elements};

/// Content of a request body.
pub enum Posted<'a> {
    /// A single object, with these members.
    One(Fields<'a>),
    /// Several objects, with the path of the array.
    Several(EventPath, Vec<&'a RawValue>),
}

impl<'a> Posted<'a> {
    /// Parses one object, an array, or an array under the member `name`, which is also the noun in error messages. An
    /// array holds 1 to `max` elements.
    pub fn parse(text: &'a str, name: &'static str, max: usize) -> Result<Self, HttpError> {
        let (path, posted) = match elements(text)? {
            Some(bare) => (EventPath::Bare, bare),
            None => {
                let mut fields = Fields::parse(text, "")?;
                let Some(named) = fields.raw(name) else { return Ok(Self::One(fields)) };
                fields.finish()?;
                let named = elements(named)?.ok_or_else(|| HttpError::field(name, "must be an array"))?;
                (EventPath::Named(name), named)
            }
        };
        let count = posted.len();
        if count == 0 || count > max {
            return Err(HttpError::field(name, format!("must hold 1 to {max} {name}; it has {count}")));
        }
        Ok(Self::Several(path, posted))
    }
}
