//! The files of the console.

use reqwest::Method;
use runlog::config::ConsoleOption;

use crate::harness::Gateway;

#[tokio::test]
async fn the_page_and_each_file_that_it_names_are_served_with_their_type_and_a_strict_policy() {
    let gateway = Gateway::start().await;
    let page = gateway.send(Method::GET, "/", None).await.text().await.unwrap();
    let files: Vec<&str> = page.split('"').filter(|quoted| quoted.starts_with("/console/")).collect();
    assert!(files.len() > 5, "{files:?}");
    for path in ["/"].iter().chain(&files) {
        let response = gateway.send(Method::GET, path, None).await;
        assert_eq!(response.status(), 200, "{path}");
        let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
        let policy = header("content-security-policy");
        for rule in ["default-src 'none'", "script-src 'self';", "style-src 'self';", "connect-src 'self';"] {
            assert!(policy.contains(rule), "{path}: {policy}");
        }
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
        let end = path.rsplit_once('.').map_or("html", |(_, end)| end);
        let media_type = match end {
            "js" => "text/javascript; charset=utf-8",
            "svg" => "image/svg+xml",
            "css" => "text/css; charset=utf-8",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(header("content-type"), media_type, "{path}");
        assert!(header("x-request-id").starts_with("req_"));
    }
}

#[tokio::test]
async fn a_browser_that_has_a_file_gets_304_until_it_changes() {
    let gateway = Gateway::start().await;
    let first = gateway.send(Method::GET, "/console/main.js", None).await;
    let tag = first.headers()["etag"].to_str().unwrap().to_owned();
    assert_eq!(first.headers()["cache-control"], "no-cache");
    let with = async |tag: &str| {
        let request = gateway.client.get(gateway.url("/console/main.js")).header("if-none-match", tag);
        let response = request.send().await.unwrap();
        let headers = response.headers().clone();
        (response.status().as_u16(), headers, response.text().await.unwrap())
    };
    let (status, headers, body) = with(&tag).await;
    assert_eq!((status, body.as_str(), headers["etag"].to_str().unwrap()), (304, "", tag.as_str()));
    assert_eq!(with("\"another\"").await.0, 200);
    let head = gateway.send(Method::HEAD, "/", None).await;
    assert_eq!((head.status().as_u16(), head.headers().contains_key("etag")), (200, true));
}

#[tokio::test]
async fn what_is_no_file_is_refused_as_any_path_and_nothing_but_reading_is_allowed() {
    let gateway = Gateway::start().await;
    for path in
        ["/console/", "/console", "/console/none.js", "/console/../mod.rs", "/console/%2e%2e/mod.rs", "/index.html"]
    {
        let (status, body) = gateway.get(path).await;
        assert_eq!((status, body["reason_code"].as_str()), (404, Some("no_such_route")), "{path}");
    }
    for (path, method) in [("/", Method::POST), ("/console/main.js", Method::DELETE)] {
        let response = gateway.send(method, path, Some("{}")).await;
        assert_eq!((response.status().as_u16(), response.headers()["allow"].to_str().unwrap()), (405, "GET,HEAD"));
    }
}

#[tokio::test]
async fn switched_off_there_is_no_page_and_everything_else_is_served() {
    let gateway = Gateway::start_with(|options| options.console = ConsoleOption::Off).await;
    for path in ["/", "/console/main.js"] {
        assert_eq!(gateway.get(path).await.0, 404, "{path}");
    }
    assert_eq!(gateway.get("/v1/runs").await.0, 200);
}
