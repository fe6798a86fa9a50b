//! The page as somebody sees it, in a real browser. `tests/setup` installs that; where it is missing these tests fail.

#[path = "common/browser.rs"]
mod browser;
#[path = "common/clients.rs"]
mod clients;
mod common;

use browser::Browser;
use common::{Daemon, Peer, ack, folder, pattern, rrq, show};
use serde_json::json;
use std::net::SocketAddr;
use std::path::Path;

/// What would be markup, if anybody took it for that.
const HOSTILE: &str = "<img src=x onerror=document.title='owned'>";

fn page_of(root: &Path, browser: &mut Browser) -> Daemon {
    let server = Daemon::serve(root, &["--http", "0"]);
    browser.open(&format!("http://{}/", server.page().expect("a page")));
    server
}

/// Acknowledges so many blocks of 512 bytes, from the next on.
fn get_on(peer: &Peer, tid: SocketAddr, blocks: std::ops::Range<u16>) {
    for block in blocks {
        peer.exchange(&ack(block), tid, &format!("DATA {} 512", block + 1));
    }
}

const VALUE: &str = "document.querySelector('#running-rows progress').value";

#[test]
fn a_transfer_starts_its_bar_moves_it_ends_and_the_page_shows_it() {
    let mut browser = Browser::start();
    let root = folder(&[("boot/vmlinuz", &pattern(512 * 40 + 7, 1))]);
    let server = page_of(root.path(), &mut browser);
    browser.until("document.getElementById('live').textContent === 'live'");
    browser.until("document.getElementById('running-none').checkVisibility()");

    let peer = server.peer();
    let (first, tid) = peer.answer(&rrq("boot/vmlinuz", &[]));
    assert_eq!(show(&first), "DATA 1 512");
    get_on(&peer, tid, 1..10);
    browser.until("document.querySelectorAll('#running-rows tr').length === 1");
    browser.until(&format!("{VALUE} > 20 && {VALUE} < 25"));
    let row = "document.querySelector('#running-rows tr').innerText";
    for shown in ["boot/vmlinuz", &peer.address().to_string(), "4.50 KiB of 20.01 KiB"] {
        browser.until(&format!("{row}.includes('{shown}')"));
    }
    browser.look("document.querySelector('#running-rows tr').mark = 'the same row'");
    get_on(&peer, tid, 10..30);
    browser.until(&format!("{VALUE} > 70"));
    let same = "document.querySelector('#running-rows tr').mark === 'the same row'";
    assert_eq!(browser.look(same), true, "a row stays under the pointer");

    get_on(&peer, tid, 30..40);
    peer.exchange(&ack(40), tid, "DATA 41 7");
    peer.send(&ack(41), tid);
    browser.until("document.querySelectorAll('#running-rows tr').length === 0");
    browser.until("document.getElementById('running-none').checkVisibility()");
    let over = "document.querySelector('#recent-rows tr').innerText";
    for shown in ["boot/vmlinuz", "sent", "20.01 KiB"] {
        browser.until(&format!("{over}.includes('{shown}')"));
    }
    browser.until("document.getElementById('t-complete').textContent === '1'");
    // Who hears the page is told, too.
    browser.until("document.getElementById('spoken').textContent.startsWith('boot/vmlinuz sent')");
    browser
        .until("document.querySelector('polyline.sent').getAttribute('points').includes(',4.0')");

    drop(server);
    browser.until("document.getElementById('live').textContent === 'not connected'");
    let refused = |complaint: &String| !complaint.contains("ERR_CONNECTION_REFUSED");
    let complaints: Vec<_> = browser.complaints().into_iter().filter(refused).collect();
    assert!(complaints.iter().all(|it| it.contains("/events")), "{complaints:?}");
}

#[test]
fn whoever_looks_finds_what_he_looks_for_and_names_stay_text() {
    let mut browser = Browser::start();
    let root = folder(&[(HOSTILE, b"few"), ("dir & <b>/inner", b"few"), ("vmlinuz", b"few")]);
    let server = page_of(root.path(), &mut browser);
    let peer = server.peer();
    // Each is told when its client knows already.
    let mut is_told = |count| {
        let rows = "document.querySelectorAll('#recent-rows tr').length";
        browser.until(&format!("{rows} === {count}"));
    };
    assert_eq!(peer.fetch(&rrq(HOSTILE, &[])), Ok(b"few".to_vec()));
    is_told(1);
    peer.fetch(&rrq(format!("missing {HOSTILE}"), &[])).expect_err("it is not there");
    is_told(2);
    peer.fetch(&rrq("vmlinuz", &[])).expect("a file");
    is_told(3);
    let names = "[...document.querySelectorAll('#recent-rows .name')].map(it => it.textContent)";
    let hostile = [HOSTILE.to_owned(), format!("missing {HOSTILE}")];
    let expected = json!(["vmlinuz", hostile[1], hostile[0]]);
    assert_eq!(browser.look(names), expected);
    let listed = "[...document.querySelectorAll('#names .name')].map(it => it.textContent)";
    assert_eq!(browser.look(listed), json!([HOSTILE, "dir & <b>/", "vmlinuz"]));
    assert_eq!(browser.look("document.querySelectorAll('main img, main b b').length"), 0);
    assert_eq!(browser.look("document.title.startsWith('rtftpd 127.0.0.1')"), true);

    let seen = "[...document.querySelectorAll('#recent-rows tr')].filter(it => it.checkVisibility()).length";
    browser.press("/");
    assert_eq!(browser.look("document.activeElement.id"), "words");
    browser.call("Input.insertText", &json!({"text": "MISSING onerror"}));
    browser.until(&format!("{seen} === 1"));
    browser.look(
        "const words = document.getElementById('words'); words.value = ''; \
         words.dispatchEvent(new Event('input')); const kind = document.getElementById('kind'); kind.value = 'write'; \
         kind.dispatchEvent(new Event('change'))",
    );
    browser.until(&format!("{seen} === 0"));

    browser.look("document.querySelector('#names a').click()");
    browser.until("document.querySelector('#names .name')?.textContent === 'inner'");
    assert_eq!(browser.look("document.querySelector('.crumbs').innerText"), "top / dir & <b>");
    assert_eq!(browser.complaints(), [""; 0], "nothing was refused, nothing went wrong");
}

#[test]
fn it_is_read_without_scripts_in_the_dark_and_on_a_phone() {
    let mut browser = Browser::start();
    let root = folder(&[
        ("vmlinuz", &pattern(600, 1)),
        ("a-name-without-any-blank-in-it-that-is-long-enough-for-two-lines", b""),
    ]);
    let server = Daemon::serve(root.path(), &["--http", "0"]);
    let url = format!("http://{}/", server.page().expect("a page"));
    let peer = server.peer();
    peer.fetch(&rrq("vmlinuz", &[])).expect("a file");
    let going = server.peer();
    going.answer(&rrq("vmlinuz", &[]));
    let width = json!({"width": 390, "height": 800, "deviceScaleFactor": 2, "mobile": true});
    for scripts in [false, true] {
        browser.call("Emulation.setScriptExecutionDisabled", &json!({"value": !scripts}));
        browser.call("Emulation.clearDeviceMetricsOverride", &json!({}));
        common::until("the page, with both", || {
            browser.open(&url);
            let rows = "document.readyState === 'complete' && document.querySelectorAll('#running-rows tr').length === 1 \
                && document.querySelectorAll('#recent-rows tr').length === 1 \
                && document.getElementById('running-rows').textContent.includes('of 600 B')";
            common::within(std::time::Duration::from_secs(1), || {
                (browser.look(rows) == true).then_some(())
            })
        });
        let text = browser.look("document.querySelector('main').innerText").to_string();
        for shown in ["vmlinuz", "600 B", "sent", "of 600 B", "a-name-without"] {
            assert!(text.contains(shown), "{shown} in {text}");
        }
        assert_eq!(browser.look("document.getElementById('sieve').hidden"), !scripts);
        let unnamed = "[...document.querySelectorAll('table')].filter(it => !it.caption || \
            it.querySelector('th:not([scope])')).length";
        assert_eq!(
            browser.look(unnamed),
            0,
            "each table says what it is, and each head what it heads"
        );
        for (scheme, is_dark) in [("light", false), ("dark", true)] {
            let feature = json!({"features": [{"name": "prefers-color-scheme", "value": scheme}]});
            browser.call("Emulation.setEmulatedMedia", &feature);
            let back = "getComputedStyle(document.body).backgroundColor.match(/\\d+/g).every(it => it < 64)";
            assert_eq!(browser.look(back), is_dark, "{scheme}");
        }
        browser.call("Emulation.setDeviceMetricsOverride", &width);
        browser.until("innerWidth === 390 && document.documentElement.scrollWidth <= 390");
    }
    assert_eq!(browser.complaints(), [""; 0]);
}
