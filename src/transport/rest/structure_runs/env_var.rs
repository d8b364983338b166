//! Environment variables of a run. The value of a secret is neither stored nor shown.

use serde::Serialize;
use serde_json::value::RawValue;
use utoipa::ToSchema;

use crate::domain::json::Members;
use crate::domain::json::preview::is_secret;
use crate::transport::rest::fields::Fields;
use crate::transport::rest::http_error::HttpError;

/// Text in place of a secret's value.
const REDACTED: &str = "[REDACTED]";

/// An environment variable of a run. The value reads `[REDACTED]` if the source is a secret or the name looks like the
/// name of a secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StructureEnvVar {
    /// Name of the variable.
    name: String,
    /// Value of the variable, or `[REDACTED]`.
    value: String,
    /// Source of the value: `manual`, `secret` or `secret_ref`, in any letter case.
    #[serde(skip_serializing_if = "Option::is_none")]
    source: Option<String>,
}

impl StructureEnvVar {
    /// Parses a variable of a request; `path` is the path of the variable in the request body.
    pub fn parse(text: &RawValue, path: String) -> Result<Self, HttpError> {
        let mut fields = Fields::parse(text.get(), path)?;
        let (name, value) = (fields.required_string("name")?, fields.required_string("value")?);
        let source = fields.string("source")?;
        fields.finish()?;
        Ok(Self { name, value, source })
    }

    /// Reads a variable of a stored event, which may come from another API. `None` unless name and value are strings.
    #[must_use]
    pub fn stored(text: &str) -> Option<Self> {
        let members = Members::parse(text);
        Some(Self { name: members.string("name")?, value: members.string("value")?, source: members.string("source") })
    }

    /// Replaces the value of a secret by `[REDACTED]`.
    #[must_use]
    pub fn masked(self) -> Self {
        let from_secret = self.source.as_ref().is_some_and(|source| {
            ["secret", "secret_ref"].iter().any(|secret| source.trim().eq_ignore_ascii_case(secret))
        });
        // Only a whole number may be a count, as in MAX_TOKENS=150; any other value is checked as a string.
        let raw_value = if self.value.parse::<i64>().is_ok() { &self.value } else { "\"\"" };
        if from_secret || is_secret(&self.name, raw_value) {
            return Self { value: REDACTED.to_owned(), ..self };
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(name: &str, value: &str, source: Option<&str>) -> String {
        let variable =
            StructureEnvVar { name: name.to_owned(), value: value.to_owned(), source: source.map(str::to_owned) };
        variable.masked().value
    }

    #[test]
    fn a_secret_by_source_or_by_name_is_masked_and_nothing_else() {
        for (name, value, source) in [
            ("X", "v", Some("SECRET")),
            ("X", "v", Some("sEcReT ")),
            ("X", "v", Some("secret_ref")),
            ("OPENAI_API_KEY", "v", Some("manual")),
            ("DB_PASSWORD", "12345", None),
            ("API_TOKENS", "1a,2b", None),
        ] {
            assert_eq!(shown(name, value, source), "[REDACTED]", "{name}");
        }
        assert_eq!(shown("MAX_TOKENS", "150", None), "150");
        assert_eq!(shown("REGION", "eu", Some("MANUAL")), "eu");
    }
}
