//! Who may ask for what over HTTP. A page on some other site must neither read this one nor be taken for it, though the
//! browser of an operator can reach both.

use axum::extract::{Request, State};
use axum::http::uri::Authority;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

/// Names by which this server may be asked for, beside its addresses and `localhost`.
pub(super) type Names = Arc<[String]>;

/// What each answer says to a browser: nothing but this server's own files is loaded, and nothing of it is shown or read
/// elsewhere.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    (header::CACHE_CONTROL, "no-store"),
];

/// Lets a request in, or answers it without a word.
pub(super) async fn keep(State(names): State<Names>, request: Request, next: Next) -> Response {
    let mut response = match judge(request.method(), request.headers(), &names) {
        Ok(()) => next.run(request).await,
        Err(status) => status.into_response(),
    };
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    if response.status() == StatusCode::METHOD_NOT_ALLOWED {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    }
    response
}

fn judge(method: &Method, headers: &HeaderMap, names: &[String]) -> Result<(), StatusCode> {
    // Of several it would be unclear who believes which.
    let mut hosts = headers.get_all(header::HOST).iter();
    let host = match (hosts.next(), hosts.next()) {
        (Some(host), None) => authority(host).ok_or(StatusCode::MISDIRECTED_REQUEST)?,
        _ => return Err(StatusCode::MISDIRECTED_REQUEST),
    };
    if !is_ours(host.host(), names) {
        return Err(StatusCode::MISDIRECTED_REQUEST);
    }
    // A browser that asks for the page of another site says so.
    for origin in headers.get_all(header::ORIGIN) {
        let rest = origin.to_str().ok().and_then(|origin| {
            origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"))
        });
        if rest.and_then(|rest| rest.parse::<Authority>().ok()).as_ref() != Some(&host) {
            return Err(StatusCode::FORBIDDEN);
        }
    }
    match *method {
        Method::GET | Method::HEAD => Ok(()),
        _ => Err(StatusCode::METHOD_NOT_ALLOWED),
    }
}

fn authority(host: &HeaderValue) -> Option<Authority> {
    let authority: Authority = host.to_str().ok()?.parse().ok()?;
    (!authority.as_str().contains('@')).then_some(authority)
}

/// Whether a browser that was led to this name means this server: a name that somebody else owns can be made to lead here,
/// an address cannot.
fn is_ours(host: &str, names: &[String]) -> bool {
    let inner = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let is_address = match inner {
        Some(inner) => inner.parse::<Ipv6Addr>().is_ok(),
        None => host.parse::<IpAddr>().is_ok(),
    };
    is_address
        || host.eq_ignore_ascii_case("localhost")
        || names.iter().any(|name| name.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(method: &Method, fields: &[(HeaderName, &str)]) -> Option<u16> {
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(name, value.parse().expect("a value"));
        }
        let names = ["boot.example", "tftp.example"].map(String::from);
        judge(method, &headers, &names).err().map(|status| status.as_u16())
    }

    #[test]
    fn a_host_that_somebody_else_may_own_is_misdirected() {
        let of = |host| asked(&Method::GET, &[(header::HOST, host)]);
        for ours in [
            "127.0.0.1:8069",
            "192.0.2.7",
            "[::1]:8069",
            "localhost",
            "LOCALHOST:1",
            "boot.example:80",
            "tftp.example",
        ] {
            assert_eq!(of(ours), None, "{ours}");
        }
        for other in [
            "evil.example",
            "evil.example:8069",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "[localhost]",
            "x@127.0.0.1",
            "",
            "boot.example.",
        ] {
            assert_eq!(of(other), Some(421), "{other}");
        }
        assert_eq!(asked(&Method::GET, &[]), Some(421));
        let two = [(header::HOST, "127.0.0.1"), (header::HOST, "127.0.0.1")];
        assert_eq!(asked(&Method::GET, &two), Some(421));
    }

    #[test]
    fn a_page_of_another_origin_gets_nothing() {
        let of = |origin| {
            asked(&Method::GET, &[(header::HOST, "127.0.0.1:8069"), (header::ORIGIN, origin)])
        };
        assert_eq!([of("http://127.0.0.1:8069"), of("https://127.0.0.1:8069")], [None; 2]);
        for other in
            ["null", "http://127.0.0.1:80", "http://evil.example", "file://127.0.0.1:8069", ""]
        {
            assert_eq!(of(other), Some(403), "{other}");
            let ours = "http://127.0.0.1:8069";
            for both in [[ours, other], [other, ours]] {
                let [first, second] = both.map(|origin| (header::ORIGIN, origin));
                let fields = [(header::HOST, "127.0.0.1:8069"), first, second];
                assert_eq!(asked(&Method::GET, &fields), Some(403), "{both:?}");
            }
        }
    }

    #[test]
    fn nothing_is_taken_but_questions() {
        let of = |method| asked(&method, &[(header::HOST, "127.0.0.1")]);
        assert_eq!([of(Method::GET), of(Method::HEAD)], [None; 2]);
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS, Method::CONNECT]
        {
            assert_eq!(of(method.clone()), Some(405), "{method}");
        }
    }
}
