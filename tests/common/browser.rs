//! A real browser, headless, as somebody who looks at a page. It is spoken to by the DevTools protocol, over pipes.

use crate::clients::installed;
use crate::common::{DEADLINE, within};
use serde_json::{Value, json};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use tempfile::TempDir;

/// A browser that starts on a busy machine.
const START: Duration = Duration::from_secs(60);

pub(crate) struct Browser {
    child: Child,
    to: File,
    from: Receiver<Value>,
    last: u64,
    session: String,
    /// What the page said of its own mistakes, and what the browser refused it.
    complaints: Vec<String>,
    _profile: TempDir,
}

const EVALUATE: &str = "Runtime.evaluate";

fn evaluated(expression: &str) -> Value {
    json!({"expression": expression, "returnByValue": true})
}

impl Browser {
    /// Starts one, with an empty page.
    pub(crate) fn start() -> Self {
        let profile = tempfile::tempdir().expect("a folder");
        let at = |name: &str| profile.path().join(name);
        for pipe in ["to", "from"] {
            let mode = nix::sys::stat::Mode::S_IRWXU;
            nix::unistd::mkfifo(&at(pipe), mode).expect("a pipe");
        }
        let mut command = Command::new("sh");
        // Descriptors 3 and 4 are where it listens and speaks.
        let line = r#"exec "$0" "$@" 3<"$TO" 4>"$FROM""#;
        command.args(["-c", line]).arg(installed("chromium"));
        command.args(["--headless", "--remote-debugging-pipe", "--no-sandbox", "--disable-gpu"]);
        command.args(["--disable-dev-shm-usage", "--no-first-run", "--disable-extensions"]);
        command.args(["--disable-background-networking", "--proxy-server=direct://"]);
        command.arg(format!("--user-data-dir={}", at("profile").display())).arg("about:blank");
        command.env("TO", at("to")).env("FROM", at("from")).env("HOME", profile.path());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.process_group(0).spawn().expect("a browser");
        let (to, out) = (open(&at("to"), true), open(&at("from"), false));
        let (tell, from) = channel();
        std::thread::spawn(move || {
            for message in BufReader::new(out).split(0).map_while(Result::ok) {
                let message = serde_json::from_slice(&message).expect("JSON");
                if tell.send(message).is_err() {
                    break;
                }
            }
        });
        let (session, complaints) = (String::new(), Vec::new());
        let mut browser = Self { child, to, from, last: 0, session, complaints, _profile: profile };
        let target =
            browser.call_within(START, "Target.createTarget", &json!({"url": "about:blank"}));
        let target = target["targetId"].as_str().expect("a target").to_owned();
        let attach = json!({"targetId": target, "flatten": true});
        let attached = browser.call("Target.attachToTarget", &attach);
        browser.session = attached["sessionId"].as_str().expect("a session").into();
        for what in ["Page.enable", "Runtime.enable", "Log.enable"] {
            browser.call(what, &json!({}));
        }
        browser
    }

    /// Goes to a page.
    pub(crate) fn open(&mut self, url: &str) {
        let went = self.call("Page.navigate", &json!({"url": url}));
        assert_eq!(went["errorText"], Value::Null, "{url}");
    }

    /// What an expression of the page is. A page without scripts still has it.
    pub(crate) fn look(&mut self, expression: &str) -> Value {
        let found = self.call(EVALUATE, &evaluated(expression));
        assert_eq!(found["exceptionDetails"], Value::Null, "{expression}: {found}");
        found["result"]["value"].clone()
    }

    /// Waits until an expression of the page is true.
    #[track_caller]
    pub(crate) fn until(&mut self, expression: &str) {
        let seen = within(DEADLINE, || {
            // What it is about may not be there yet, and a page that is just left answers with an error.
            let seen = self.answer(DEADLINE, EVALUATE, &evaluated(expression));
            (seen["result"]["result"]["value"] == Value::Bool(true)).then_some(())
        });
        if seen.is_none() {
            let page = self.look("document.body.innerText");
            panic!("waited in vain for {expression} in {}", page.as_str().unwrap_or_default());
        }
    }

    /// Types one key.
    pub(crate) fn press(&mut self, key: &str) {
        for kind in ["keyDown", "keyUp"] {
            let text = (key.len() == 1 && kind == "keyDown").then_some(key);
            let event = json!({"type": kind, "key": key, "text": text.unwrap_or_default()});
            self.call("Input.dispatchKeyEvent", &event);
        }
    }

    /// What the page did wrong so far.
    pub(crate) fn complaints(&mut self) -> Vec<String> {
        // All that came before the answer to this has come.
        self.look("0");
        self.complaints.clone()
    }

    /// Calls a method of the protocol.
    pub(crate) fn call(&mut self, method: &str, params: &Value) -> Value {
        self.call_within(DEADLINE, method, params)
    }

    fn call_within(&mut self, most: Duration, method: &str, params: &Value) -> Value {
        let answer = self.answer(most, method, params);
        assert_eq!(answer["error"], Value::Null, "{method}");
        answer["result"].clone()
    }

    /// What is answered to a call: its result or an error.
    fn answer(&mut self, most: Duration, method: &str, params: &Value) -> Value {
        self.last += 1;
        let mut message = json!({"id": self.last, "method": method, "params": params});
        if !self.session.is_empty() {
            message["sessionId"] = json!(self.session);
        }
        let mut bytes = message.to_string().into_bytes();
        bytes.push(0);
        self.to.write_all(&bytes).expect("it listens");
        loop {
            let answer = self.from.recv_timeout(most);
            let answer = answer.unwrap_or_else(|error| panic!("no answer to {method}: {error}"));
            if answer["id"] == json!(self.last) {
                return answer;
            }
            if let Some("Runtime.exceptionThrown" | "Log.entryAdded") = answer["method"].as_str() {
                self.complaints.push(answer["params"].to_string());
            }
        }
    }
}

fn open(path: &Path, write: bool) -> File {
    let mut options = File::options();
    options.read(!write).write(write).open(path).expect("the other end")
}

impl Drop for Browser {
    fn drop(&mut self) {
        let group = nix::unistd::Pid::from_raw(self.child.id().cast_signed());
        let _ = nix::sys::signal::killpg(group, nix::sys::signal::Signal::SIGKILL);
        let _ = self.child.wait();
    }
}
