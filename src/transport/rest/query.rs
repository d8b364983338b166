//! Strict reading of query strings: the caller takes each parameter by name, and `finish` refuses the rest.

use serde::Deserialize;
use utoipa::ToSchema;

use super::http_error::HttpError;
use crate::domain::View;

/// Parameters that are not taken yet.
pub struct Query(Vec<(String, String)>);

impl Query {
    /// Parses a query string; `None` is an empty query.
    #[must_use]
    pub fn parse(query: Option<&str>) -> Self {
        Self(form_urlencoded::parse(query.unwrap_or_default().as_bytes()).into_owned().collect())
    }

    /// Takes a parameter that may be given once; `None` when absent.
    pub fn one(&mut self, name: &str) -> Result<Option<String>, HttpError> {
        let mut all = self.all(name);
        match all.len() {
            0 | 1 => Ok(all.pop()),
            _ => Err(HttpError::field(name, "must be given once")),
        }
    }

    /// Takes all values of a repeatable parameter.
    pub fn all(&mut self, name: &str) -> Vec<String> {
        let (taken, left) = std::mem::take(&mut self.0).into_iter().partition(|(parameter, _)| parameter == name);
        self.0 = left;
        Vec::into_iter(taken).map(|(_, value)| value).collect()
    }

    /// Takes a parameter with several values. Given once, the text is split at commas; given more often, each value is
    /// taken whole, so that a value may hold a comma.
    pub fn several(&mut self, name: &str) -> Vec<String> {
        match self.all(name).as_slice() {
            [once] => once.split(',').map(ToOwned::to_owned).collect(),
            each => each.to_vec(),
        }
    }

    /// Takes a whole number within `bounds`, also in the form `2.0` of clients that count in doubles; `default` when
    /// absent.
    pub fn number(
        &mut self,
        name: &str,
        default: u64,
        bounds: std::ops::RangeInclusive<u64>,
    ) -> Result<u64, HttpError> {
        let Some(text) = self.one(name)? else { return Ok(default) };
        let text = text.strip_suffix(".0").unwrap_or(&text);
        let is_decimal = !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse::<u64>().ok().filter(|number| is_decimal && bounds.contains(number));
        let problem =
            || HttpError::field(name, format!("must be a number from {} to {}", bounds.start(), bounds.end()));
        number.ok_or_else(problem)
    }

    /// Takes `view`, the view of payloads; `default` when absent.
    pub fn view(&mut self, default: View) -> Result<View, HttpError> {
        match self.one("view")?.as_deref() {
            None => Ok(default),
            Some("public") => Ok(View::Public),
            Some("full") => Ok(View::Full),
            Some(_) => Err(HttpError::field("view", "must be public or full")),
        }
    }

    /// Refuses parameters that were not taken.
    pub fn finish(self) -> Result<(), HttpError> {
        match self.0.into_iter().next() {
            Some((name, _)) => {
                Err(HttpError::field(name.chars().take(100).collect::<String>(), "is no parameter of this call"))
            }
            None => Ok(()),
        }
    }
}

/// View of payloads: `public` leaves out the clients' inputs, shortens tool data and masks secrets; `full` is as sent.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words say it")]
pub enum PublicView {
    Public,
    Full,
}
