//! The stream token of a request: `?token=` on the routes that list and follow the events of a run, for a browser's `EventSource`,
//! which sends no header.

use form_urlencoded::parse;
use http::header::AUTHORIZATION;
use http::uri::PathAndQuery;
use http::{Method, Request, Uri};

/// Name of the parameter.
pub const PARAMETER: &str = "token";

/// Whether the route takes a stream token: a read of the events of one run, as pages or as a stream, of any REST API. The path may
/// be a template.
#[must_use]
pub fn is_taken(method: &Method, path: &str) -> bool {
    const RUNS: [&str; 3] = ["/v1/runs/", "/api/runs/", "/api/structure-runs/"];
    let is_read = matches!(*method, Method::GET | Method::HEAD);
    if let Some(id) = path.strip_prefix("/ag-ui/runs/") {
        return is_read && !id.is_empty() && !id.contains('/');
    }
    let rest = RUNS.iter().find_map(|prefix| path.strip_prefix(prefix));
    let (id, events) = rest.and_then(|rest| rest.split_once('/')).unwrap_or_default();
    is_read && !id.is_empty() && matches!(events, "events" | "events/stream")
}

/// Takes the token out of the query, so that neither a parser nor an error sees it. `None` for a request without a token, on another
/// route, or with the header `Authorization`: there the parameter is refused like any unknown one. A token that is given twice is
/// none, as an empty text.
pub fn take<B>(request: &mut Request<B>) -> Option<String> {
    let uri = request.uri();
    let query = uri.query()?;
    if request.headers().contains_key(AUTHORIZATION) || !is_taken(request.method(), uri.path()) {
        return None;
    }
    let mut tokens = parse(query.as_bytes()).filter(|(name, _)| name == PARAMETER).map(|(_, value)| value);
    let first = tokens.next()?.into_owned();
    let token = if tokens.next().is_some() { String::new() } else { first };
    let is_other = |pair: &&str| parse(pair.as_bytes()).all(|(name, _)| name != PARAMETER);
    let others: Vec<&str> = query.split('&').filter(is_other).collect();
    let rest = if others.is_empty() { uri.path().to_owned() } else { format!("{}?{}", uri.path(), others.join("&")) };
    *request.uri_mut() = with_path_and_query(uri, &rest)?;
    Some(token)
}

fn with_path_and_query(uri: &Uri, path_and_query: &str) -> Option<Uri> {
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(path_and_query.parse::<PathAndQuery>().ok()?);
    Uri::from_parts(parts).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(method: Method, uri: &str, key: Option<&str>) -> (Option<String>, String) {
        let mut request = Request::builder().method(method).uri(uri).body(()).unwrap();
        if let Some(key) = key {
            request.headers_mut().insert(AUTHORIZATION, key.parse().unwrap());
        }
        (take(&mut request), request.uri().to_string())
    }

    #[test]
    fn a_token_is_taken_out_of_the_query_and_the_rest_stays_as_it_was() {
        for (query, rest) in [
            ("?token=st1.a.b", ""),
            ("?token=st1.a.b&cursor=3", "?cursor=3"),
            ("?types=a%26token%3Db&token=st1.a.b&view=full", "?types=a%26token%3Db&view=full"),
            ("?x=+%20&%74oken=st1.a.b", "?x=+%20"),
        ] {
            for path in ["/v1/runs/r%2Fs/events", "/api/runs/token=/events/stream", "/api/structure-runs/r/events"] {
                let expected = (Some("st1.a.b".to_owned()), format!("{path}{rest}"));
                assert_eq!(taken(Method::GET, &format!("{path}{query}"), None), expected);
            }
        }
        let whole = "http://host:1/v1/runs/r/events?token=t&a=b";
        assert_eq!(
            taken(Method::HEAD, whole, None),
            (Some("t".to_owned()), "http://host:1/v1/runs/r/events?a=b".into())
        );
    }

    #[test]
    fn a_token_that_is_given_twice_or_without_a_value_is_an_empty_one() {
        for query in ["token=a&token=a", "token=a&x=1&%74oken=b", "token=", "token", "token&token=a"] {
            let (token, uri) = taken(Method::GET, &format!("/v1/runs/r/events?{query}"), None);
            assert_eq!(token.as_deref(), Some(""), "{query}");
            assert!(!uri.contains("oken"), "{uri}");
        }
    }

    #[test]
    fn no_other_route_takes_a_token_and_none_beside_a_key() {
        let query = "?token=t";
        let events = "/v1/runs/r/events";
        assert_eq!(taken(Method::GET, &format!("{events}{query}"), Some("Bearer key_a:b")).0, None);
        for (method, path) in [
            (Method::GET, "/v1/runs"),
            (Method::GET, "/v1/runs/r"),
            (Method::GET, "/v1/runs//events"),
            (Method::GET, "/v1/runs/r/events/"),
            (Method::GET, "/v1/runs/r/s/events"),
            (Method::GET, "/v1/runs/r/stream-token"),
            (Method::GET, "/api/structure-runs/r/logs"),
            (Method::GET, "/api/structures/r/events"),
            (Method::GET, "/api/events/r"),
            (Method::GET, "/api/runs/r/events/stream/more"),
            (Method::GET, "/metrics"),
            (Method::POST, events),
            (Method::OPTIONS, events),
            (Method::POST, "/v1/runs/r/stream-token"),
        ] {
            let uri = format!("{path}{query}");
            assert_eq!(taken(method, &uri, None), (None, uri));
        }
        assert_eq!(taken(Method::GET, "/v1/runs/r/events?cursor=3", None), (None, "/v1/runs/r/events?cursor=3".into()));
    }
}
