//! A client of the page that says just what it is told.
#![allow(dead_code)] // Each test program uses a part of it.

use super::wait::DEADLINE;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

/// Connects.
pub(crate) fn connect(page: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(page).expect("a page");
    stream.set_read_timeout(Some(DEADLINE)).expect("a time-out");
    stream
}

/// All that comes until the other side closes.
pub(crate) fn rest(mut stream: TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

/// Asks with these fields, and no other but that there is no second question.
pub(crate) fn ask(page: SocketAddr, method: &str, path: &str, fields: &[&str]) -> String {
    let mut stream = connect(page);
    let mut request = format!("{method} {path} HTTP/1.1\r\nConnection: close\r\n");
    for field in fields {
        request += &format!("{field}\r\n");
    }
    stream.write_all(format!("{request}\r\n").as_bytes()).expect("asked");
    rest(stream)
}

/// Asks as a browser does.
pub(crate) fn get(page: SocketAddr, path: &str) -> String {
    ask(page, "GET", path, &[&format!("Host: {page}")])
}

/// What an answer has behind its head.
pub(crate) fn body(answer: &str) -> &str {
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    body
}

/// What the server says of itself.
pub(crate) fn status(page: SocketAddr) -> serde_json::Value {
    serde_json::from_str(body(&get(page, "/status.json"))).expect("JSON")
}
