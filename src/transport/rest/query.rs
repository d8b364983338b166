//! Strict reading of query strings: the caller takes each parameter by name, and `finish` refuses the rest.
//!
//! The parameters of a route are structs that derive `IntoParams` for `/openapi.json`, and whose `take` fills each field
//! from the query. Those that several APIs have are here.

use axum::http::Uri;
use serde::Deserialize;
use serde::de::IntoDeserializer;
use serde::de::value::Error as UnknownWord;
use utoipa::{IntoParams, ToSchema};

use super::gateway::Gateway;
use super::http_error::HttpError;
use crate::domain::{Error, EventFilter, Origin, View};

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

    /// Takes a parameter that is `true` or `false`; false when absent.
    pub fn is_true(&mut self, name: &str) -> Result<bool, HttpError> {
        match self.one(name)?.as_deref() {
            None | Some("false") => Ok(false),
            Some("true") => Ok(true),
            Some(_) => Err(HttpError::field(name, "must be true or false")),
        }
    }

    /// Takes `order`; oldest first when absent.
    pub fn order(&mut self) -> Result<Order, HttpError> {
        match self.one("order")? {
            None => Ok(Order::Asc),
            Some(text) => word(&text).ok_or_else(|| HttpError::field("order", "must be asc or desc")),
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

/// Refuses every parameter, for routes without parameters.
pub fn no_parameters(uri: &Uri) -> Result<(), HttpError> {
    Query::parse(uri.query()).finish()
}

/// Value of an enum by its name in `/openapi.json`; `None` for any other text.
pub fn word<'a, T: Deserialize<'a>>(text: &'a str) -> Option<T> {
    T::deserialize(IntoDeserializer::<UnknownWord>::into_deserializer(text)).ok()
}

/// Parameter of calls that return payloads.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct ViewQuery {
    /// View of payloads; absent: as set by --default-view. With keys, the full view needs the scope events.read_sensitive.
    #[param(value_type = Option<PublicView>, inline)]
    pub view: View,
}

impl ViewQuery {
    /// Takes `view`. Fails if the caller may not have the requested view.
    pub fn take(query: &mut Query, gateway: &Gateway) -> Result<Self, HttpError> {
        let requested = match query.one("view")?.as_deref().map(word) {
            None => None,
            Some(Some(PublicView::Public)) => Some(View::Public),
            Some(Some(PublicView::Full)) => Some(View::Full),
            Some(None) => return Err(HttpError::field("view", "must be public or full")),
        };
        Ok(Self { view: gateway.view(requested)? })
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

/// Parameter of calls that return events of some types only.
#[derive(Debug, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct TypesQuery {
    /// Only these types: given once, separated by commas, or repeated with one type each; `*` at the end of a type
    /// matches every type with the prefix.
    #[param(value_type = Option<Vec<String>>, max_items = 100, pattern = r"^([^*]{1,200}|[^*]{0,199}\*)$")]
    pub types: EventFilter,
}

impl TypesQuery {
    /// Takes `types`; every type when absent. The field of an error is the one of the filter, `filter.types[0]`.
    pub fn take(query: &mut Query) -> Result<Self, Error> {
        Self::take_of(query, Vec::new())
    }

    /// As [`take`](Self::take), for events of these origins; none: both.
    pub fn take_of(query: &mut Query, origins: Vec<Origin>) -> Result<Self, Error> {
        Ok(Self { types: EventFilter::parse(&query.several("types"), origins)? })
    }
}

/// Order of a page of events.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the words say it")]
pub enum Order {
    Asc,
    Desc,
}
