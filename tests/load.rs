//! A load on a server, by the library and by `rtftp bench`.

mod common;

#[path = "common/programs.rs"]
mod programs;

use assert_cmd::Command;
use assert_cmd::assert::OutputAssertExt;
use common::{
    Collected, DEADLINE, Running, Scripted, Told, child, closed, data, error, folder, joined, next,
    pattern, plain, until,
};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use predicates::prelude::*;
use predicates::str::{contains, is_empty};
use programs::{NO_HOST, shell};
use std::collections::BTreeSet;
use std::ops::ControlFlow;
use std::time::Duration;
use tftpkit::client::{Client, Failure, Load, Tally, Wishes};
use tftpkit::transfer::{Outcome, Summary};
use tftpkit::wire::{BlockSize, ErrorCode, Mode, OptionKind, Packet, WindowSize};

/// So many downloads of these files, and as long as they take.
fn load(files: &[&str], clients: usize, count: u64) -> Load {
    Load::of(files).clients(clients).count(count).duration(Duration::MAX)
}

fn run(client: &Client, load: &Load) -> Tally {
    let (client, load) = (client.clone(), load.clone());
    let run = move || client.load(&load, |_| ControlFlow::Continue(()));
    joined("the load ends", std::thread::spawn(run)).expect("a load")
}

/// One round of patience, a second long.
fn impatient() -> Wishes {
    Wishes::default().timeout(std::num::NonZeroU8::new(1)).retries(0)
}

fn bench() -> Command {
    let mut command = programs::rtftp(std::path::Path::new("."));
    command.arg("bench");
    command
}

#[test]
fn so_many_downloads_are_made_of_the_files_in_turn_and_all_their_bytes_are_counted() {
    let root = folder(&[("a", &pattern(70_000, 1)), ("b", &pattern(5, 2))]);
    let server = Running::serve(root.path());
    for wishes in [Wishes::default(), plain()] {
        let load = load(&["a", "b"], 7, 31).verify(true);
        let tally = run(&server.client(wishes), &load);
        assert_eq!((tally.begun, tally.whole, tally.failed(), tally.cut), (31, 31, 0, 0));
        assert_eq!(tally.bytes, 16 * 70_000 + 15 * 5);
        assert_eq!((tally.transfer.count(), tally.first_answer.count()), (31, 31));
        assert_eq!((tally.most_at_once, tally.at_once, tally.whole_in_time), (7, 0, 31));
        assert!(tally.elapsed >= tally.transfer.max());
        // What has many blocks does not end with its first answer.
        let one = run(&server.client(wishes), &self::load(&["a"], 1, 1));
        assert!(one.transfer.max() > one.first_answer.max(), "{one:?}");
    }
    server.idle();
    let whole = server.told().into_iter().filter(|told| matches!(told, Told::Finished(..)));
    assert_eq!(whole.count(), 2 * 32);
}

#[test]
fn all_clients_are_there_at_once_and_are_ended_with_the_load() {
    let root = folder(&[("large", &pattern(16 << 20, 3))]);
    let server = Running::serve(root.path());
    let (handle, mut seen) = (server.handle.clone(), 0);
    let load = load(&["large"], 50, u64::MAX).duration(DEADLINE);
    let tally = server.client(plain()).load(&load, |tally| {
        seen = handle.transfers();
        assert!(tally.at_once <= 50);
        if seen < 50 { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    let tally = tally.expect("a load");
    assert_eq!((seen, tally.most_at_once), (50, 50));
    assert_eq!((tally.cut, tally.failed()), (tally.begun - tally.whole, 0));
    server.event("the client's last words", |told| match told {
        Told::Finished(_, Summary { outcome: Some(Outcome::PeerError(_, words)), .. }) => {
            (words == b"the load is over").then_some(())
        }
        _ => None,
    });
    server.idle();
}

#[test]
fn when_the_time_is_over_those_under_way_may_finish() {
    let root = folder(&[("a", &pattern(200_000, 4))]);
    let server = Running::serve(root.path());
    let load = load(&["a"], 3, 0).count(None).duration(Duration::from_millis(50));
    let tally = run(&server.client(plain()), &load);
    assert_eq!(tally.elapsed, load.duration);
    assert_eq!((tally.whole, tally.failed(), tally.cut), (tally.begun, 0, 0));
    assert!(tally.whole_in_time <= tally.whole && tally.bytes <= 200_000 * tally.whole);
    let hurried = load.grace(Duration::ZERO);
    let nothing = Scripted::new(|_| Vec::new());
    let tally = run(&Client::new(nothing.address), &hurried);
    assert_eq!((tally.begun, tally.cut, tally.failed()), (3, 3, 0));
    assert_eq!(tally.transfer.count(), 0, "what is cut off did not end");
    // Who is answered when its request has left for the third time is late, by 150 milliseconds.
    let mut requests = 0;
    let late = Scripted::new(move |packet| {
        let is_request = matches!(packet, Packet::Request(_));
        requests += u32::from(is_request);
        (is_request && requests > 2).then(|| data(1, b"few")).into_iter().collect()
    });
    let hurried = self::load(&["a"], 1, 1).duration(Duration::from_millis(100));
    let tally = run(&Client::new(late.address).wishes(plain()), &hurried);
    assert_eq!((tally.whole, tally.whole_in_time, tally.bytes), (1, 0, 0), "it came too late");
}

#[test]
fn who_watches_is_told_ten_times_a_second_and_may_end_a_load_that_waits_for_its_last() {
    let root = folder(&[("a", b"few")]);
    let server = Running::serve(root.path());
    let (begun, mut looks) = (std::time::Instant::now(), 0);
    let busy = load(&["a"], 3, u64::MAX).duration(Duration::from_millis(250));
    let told = server.client(plain()).load(&busy, |_| {
        looks += 1;
        ControlFlow::Continue(())
    });
    let most = begun.elapsed().as_millis() / 100;
    assert!((1..=most).contains(&looks), "{looks} times, and not {most}: {told:?}");
    let silent = Scripted::new(|_| Vec::new());
    let last = busy.grace(2 * DEADLINE);
    let client = Client::new(silent.address).wishes(plain().retries(100));
    let ended = std::thread::spawn(move || {
        client.load(&last, |tally| {
            let over = tally.elapsed >= Duration::from_millis(250);
            if over { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
    });
    let tally = joined("it waits for nobody", ended).expect("a load");
    assert_eq!((tally.begun, tally.cut), (3, 3));
}

#[test]
fn a_load_asks_for_what_one_download_asks_for() {
    let standard = Wishes::default();
    let window = standard.window(WindowSize::new(7)).timeout(std::num::NonZeroU8::new(9));
    for wishes in [standard, plain(), window, standard.block_size(BlockSize::new(700))] {
        let server = Scripted::new(|packet| match packet {
            Packet::Request(_) => vec![data(1, b"few")],
            _ => Vec::new(),
        });
        let client = Client::new(server.address).wishes(wishes);
        client.read("a").expect("a file");
        assert_eq!(run(&client, &load(&["a"], 1, 2)).whole, 2);
        let heard = server.end().into_iter().map(|(_, packet)| packet);
        let asked: BTreeSet<_> = heard.filter(|packet| packet.starts_with("RRQ")).collect();
        assert_eq!(asked.len(), 1, "{asked:?}");
    }
}

#[test]
fn a_rate_is_kept_and_what_finds_no_room_is_missed() {
    let root = folder(&[("a", b"few")]);
    let server = Running::serve(root.path());
    let tally = run(&server.client(plain()), &load(&["a"], 100, 21).rate(200.0));
    assert_eq!((tally.whole, tally.missed), (21, 0));
    assert!(tally.elapsed >= Duration::from_millis(100), "the last is due at 20/200 s");
    let nothing = Scripted::new(|_| Vec::new());
    let full = load(&["a"], 2, 0)
        .rate(1000.0)
        .count(None)
        .duration(Duration::from_millis(30))
        .grace(Duration::ZERO);
    let tally = run(&Client::new(nothing.address), &full);
    assert_eq!((tally.begun, tally.most_at_once), (2, 2));
    assert!((1..=28).contains(&tally.missed), "{}", tally.missed);
    // What was missed has not begun: the number is reached without it.
    let mut is_first = true;
    let deaf_once = Scripted::new(move |packet| {
        let is_answered = matches!(packet, Packet::Request(_)) && !is_first;
        is_first = false;
        is_answered.then(|| data(1, b"few")).into_iter().collect()
    });
    let one_by_one = load(&["a"], 1, 2).rate(1000.0);
    let tally = run(&Client::new(deaf_once.address).wishes(plain()), &one_by_one);
    assert!(tally.whole == 2 && tally.missed > 0, "{} whole, {}", tally.whole, tally.missed);
}

#[test]
fn failures_are_told_apart_by_kind() {
    let root = folder(&[("a", b"few")]);
    let server = Running::serve(root.path());
    let tally = run(&server.client(Wishes::default()), &load(&["a", "gone"], 4, 9));
    assert_eq!((tally.whole, tally.failed(), tally.failures.len()), (5, 4, 1));
    let Failure::Server { code: ErrorCode::NotFound, .. } = tally.failures[0].first else {
        panic!("{:?}", tally.failures);
    };
    assert_eq!(tally.transfer.count(), 5, "a refusal is no transfer");

    let silent = Scripted::new(|_| Vec::new());
    let silent = run(&Client::new(silent.address).wishes(impatient()), &load(&["a"], 5, 5));
    assert_eq!((silent.failures.len(), silent.failures[0].count), (1, 5));
    assert!(matches!(silent.failures[0].first, Failure::NoAnswer(_)));
    assert_eq!((silent.first_answer.count(), silent.packets), (0, 5), "each has asked once");

    let closed = run(&Client::new(closed()), &load(&["a"], 2, 6));
    assert_eq!((closed.failures.len(), closed.failures[0].count), (1, 6));
    assert!(matches!(closed.failures[0].first, Failure::Closed(_)));

    let halfway = Scripted::that_leaves(|packet| match packet {
        Packet::Request(_) => Some(vec![data(1, &[7; 512])]),
        _ => None,
    });
    let halfway = run(&Client::new(halfway.address).wishes(plain()), &load(&["a"], 1, 1));
    let first = &halfway.failures[0].first;
    assert!(matches!(first, Failure::BrokenOff(_, 512)), "{first}");

    let rude = Scripted::new(|packet| match packet {
        Packet::Request(_) => vec![data(1, &[7; 600])],
        _ => Vec::new(),
    });
    let rude = run(&Client::new(rude.address).wishes(plain()), &load(&["a"], 2, 3));
    assert_eq!((rude.failures.len(), rude.failures[0].count), (1, 3));
    assert!(matches!(rude.failures[0].first, Failure::Protocol(_)));
}

#[test]
fn with_verify_a_download_of_other_bytes_fails_and_without_it_does_not() {
    for verify in [true, false] {
        let mut requests = 0u8;
        let fickle = Scripted::new(move |packet| match packet {
            Packet::Request(_) => {
                requests += 1;
                vec![data(1, &[requests / 4; 100])]
            }
            _ => Vec::new(),
        });
        let load = load(&["a"], 1, 5).verify(verify);
        let tally = run(&Client::new(fickle.address).wishes(plain()), &load);
        assert_eq!(tally.failed(), if verify { 2 } else { 0 }, "the last two are others");
        assert!(!verify || matches!(tally.failures[0].first, Failure::Differs));
    }
}

#[test]
fn with_verify_a_download_that_failed_is_no_measure_of_those_behind_it() {
    let mut requests = 0;
    let broken_off = Scripted::new(move |packet| match packet {
        Packet::Request(_) => {
            requests += 1;
            vec![data(1, &[7; 512])]
        }
        Packet::Ack { block } if block.0 == 1 && requests == 1 => {
            vec![error(0, "not now")]
        }
        Packet::Ack { block } if block.0 == 1 => vec![data(2, b"the end")],
        _ => Vec::new(),
    });
    let load = load(&["a"], 1, 4).verify(true);
    let tally = run(&Client::new(broken_off.address).wishes(plain()), &load);
    assert_eq!((tally.whole, tally.failed()), (3, 1), "{:?}", tally.failures);
}

#[test]
fn a_load_in_netascii_does_not_ask_for_a_size() {
    let (tell, heard) = std::sync::mpsc::channel();
    let server = Scripted::new(move |packet| {
        if let Packet::Request(request) = packet {
            let size = request.options.find(OptionKind::TransferSize);
            tell.send((request.mode, size.is_some())).expect("it is heard");
        }
        vec![data(1, b"few")]
    });
    for mode in [Mode::Octet, Mode::Netascii] {
        let client = Client::new(server.address).wishes(Wishes::default().mode(mode));
        run(&client, &load(&["a"], 1, 1));
        assert_eq!(next("a request", &heard), (mode, mode == Mode::Octet));
    }
}

#[test]
fn a_load_is_put_on_the_address_that_answers() {
    let root = folder(&[("a", &pattern(200_000, 6))]);
    let server = Running::serve(root.path());
    let client = Client::new(closed()).with_addresses([server.address]).wishes(plain());
    let tally = run(&client, &load(&["a"], 2, 5));
    assert_eq!((tally.whole, tally.failed(), client.server()), (5, 0, server.address));
    server.event("the end of what only asked who answers", |told| match told {
        Told::Finished(_, Summary { bytes, outcome: Some(Outcome::PeerError(..)), .. }) => {
            (bytes < 200_000).then_some(())
        }
        _ => None,
    });
    let nobody = Client::new(closed()).with_addresses([closed()]);
    let refused = nobody.load(&load(&["a"], 1, 1), |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(Failure::Closed(_))), "{refused:?}");
}

#[test]
fn a_load_ends_when_it_is_cancelled_and_does_not_begin_before_that_is_taken_back() {
    let silent = Scripted::new(|_| Vec::new());
    let client = Client::new(silent.address).wishes(plain());
    let canceller = client.canceller();
    let endless = load(&["a"], 2, u64::MAX);
    let (tell, told) = std::sync::mpsc::channel();
    let (theirs, load) = (client.clone(), endless.clone());
    let running = std::thread::spawn(move || {
        theirs.load(&load, |tally| {
            let _ = tell.send(tally.begun);
            ControlFlow::Continue(())
        })
    });
    assert_eq!(next("what is begun", &told), 2);
    canceller.cancel();
    let tally = joined("the load ends", running).expect("a load");
    assert_eq!((tally.begun, tally.cut, tally.failed()), (2, 2, 0));
    let refused = client.load(&endless, |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(Failure::Cancelled)), "{refused:?}");
}

#[test]
fn what_has_to_be_asked_again_is_counted() {
    let mut requests = 0;
    // As early as one download asks again, it has asked three times long before there is no answer.
    let deaf_at_first = Scripted::new(move |packet| {
        let is_request = matches!(packet, Packet::Request(_));
        requests += u32::from(is_request);
        (is_request && requests > 3).then(|| data(1, b"few")).into_iter().collect()
    });
    let tally = run(&Client::new(deaf_at_first.address).wishes(plain()), &load(&["a"], 1, 1));
    // Beside the request and its ACK there is only what has left before.
    assert!(tally.retransmitted >= 3, "of {} packets three are repetitions", tally.packets);
    assert_eq!((tally.packets, tally.whole), (2 + tally.retransmitted, 1));
}

#[test]
fn a_load_that_is_over_waits_for_nobody() {
    let few = Scripted::new(|packet| match packet {
        Packet::Request(_) => vec![data(1, b"few")],
        _ => Vec::new(),
    });
    let client = Client::new(few.address).wishes(plain());
    let begun = std::time::Instant::now();
    (0..20).for_each(|_| drop(run(&client, &load(&["a"], 1, 1))));
    // Those that are cut off would have a second each.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
}

#[test]
fn a_load_without_files_is_none() {
    let client = Client::new(closed());
    let refused = client.load(&load(&[], 1, 1), |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(Failure::NoFiles)));
}

#[test]
fn the_report_has_its_figures_for_people_and_for_programs() {
    let root = folder(&[("a", &pattern(10_000, 5))]);
    let server = Running::serve(root.path());
    let remote = server.address.to_string();
    let words = bench().args([&remote, "a", "--count", "20", "-c", "4"]).assert().success();
    let figures = ["goodput", "20 whole", "4 at most", "sent again", "p50", "p99", "transfer", "#"];
    let stdout = String::from_utf8_lossy(&words.get_output().stdout).into_owned();
    assert!(figures.iter().all(|figure| stdout.contains(figure)), "{stdout}");
    words.stderr(is_empty());

    let run = bench().args([&remote, "a", "none", "--count", "21", "--json"]).assert().code(4);
    let report: serde_json::Value = serde_json::from_slice(&run.get_output().stdout).expect("JSON");
    let numbers = ["whole", "failed", "begun", "cut", "missed", "clients", "bytes", "most_at_once"];
    let numbers = numbers.map(|field| report[field].as_u64().expect(field));
    assert_eq!(numbers, [11, 10, 21, 0, 0, 10, 110_000, 10]);
    let spans = ["p50", "p90", "p99", "max"].map(|span| report["transfer"][span].as_f64());
    assert!(spans.is_sorted() && spans[0] > Some(0.0), "{spans:?}");
    assert_eq!(report["server"], remote);
    let octaves = report["histogram"].as_array().expect("octaves").iter();
    assert_eq!(octaves.map(|octave| octave["count"].as_u64().expect("a count")).sum::<u64>(), 11);
    let failures = &report["failures"][0];
    assert_eq!((&failures["kind"], &failures["code"]), (&"refused".into(), &1.into()));
    assert_eq!((&failures["count"], &report["rate"]), (&10.into(), &serde_json::Value::Null));
    for field in ["seconds", "bytes_per_second", "transfers_per_second", "packets"] {
        assert!(report[field].as_f64().is_some_and(|number| number > 0.0), "{field}");
    }

    let none = bench().args([&remote, "none", "--count", "2", "--json"]).assert().code(4);
    let report: serde_json::Value =
        serde_json::from_slice(&none.get_output().stdout).expect("JSON");
    assert_eq!((&report["transfer"], &report["failed"]), (&serde_json::Value::Null, &2.into()));
}

#[test]
fn a_report_that_cannot_be_printed_is_a_failure() {
    let root = folder(&[("a", b"few")]);
    let (server, here) = (Running::serve(root.path()), folder(&[]));
    for more in ["", "--json"] {
        let line = format!("$rtftp bench $server a --count 1 {more} > /dev/full");
        let run = shell(here.path(), &server.address.to_string(), &line).assert().code(6);
        run.stderr(contains("No space left on device"));
    }
}

#[test]
fn an_interrupt_ends_a_load_with_its_report() {
    for (signal, whole) in [(Signal::SIGINT, 1_u64), (Signal::SIGTERM, 0)] {
        // The next download is never answered, so that there is one under way.
        let mut left = whole;
        let server = Scripted::new(move |packet| match packet {
            Packet::Request(_) if left > 0 => {
                left -= 1;
                vec![data(1, b"few")]
            }
            _ => Vec::new(),
        });
        let mut bench = std::process::Command::new("env");
        bench.args(["--default-signal=INT,TERM", env!("CARGO_BIN_EXE_rtftp"), "bench"]);
        bench.args([&server.remote(), "a", "-c", "1", "--retries", "9", "--json"]);
        let bench = child::started(bench.args(["--duration", "100"]));
        let mut requests = 0;
        until("a download that is under way", || {
            let heard = server.heard();
            requests += heard.iter().filter(|packet| packet.starts_with("RRQ")).count();
            (requests > 1).then_some(())
        });
        kill(Pid::from_raw(bench.id().cast_signed()), signal).expect("sent");
        let output = child::said_within(DEADLINE, bench).expect("its end");
        assert_eq!(output.status.code(), Some(0), "whoever ends it knows: {output:?}");
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("a report");
        let figures = ["cut", "whole"].map(|field| report[field].as_u64());
        assert_eq!((&report["ok"], figures), (&true.into(), [Some(1), Some(whole)]), "{report}");
    }
}

#[test]
fn the_exit_status_is_that_of_the_most_frequent_failure() {
    let root = folder(&[("a", b"few"), ("dir/b", b"few")]);
    let server = Running::serve(root.path());
    let remote = server.address.to_string();
    let case = |words: &[&str], code: i32, says: &str| {
        let run = bench().args(words).assert().code(code);
        let out = run.get_output();
        let told = [&out.stdout[..], &out.stderr].concat();
        assert!(String::from_utf8_lossy(&told).contains(says), "{words:?}: {out:?}");
    };
    case(&[&remote, "a", "--count", "3"], 0, "3 whole");
    case(&[&remote, "none", "dir", "nil", "a", "--count", "8"], 4, "4: the server says: file not");
    case(&[&remote, "dir", "none", "dir", "--count", "3"], 5, "2: the server says: is a directory");
    case(&[&closed().to_string(), "a", "--count", "3"], 3, "3: nothing listens");
    case(&[&format!("{NO_HOST}:a")], 3, "cannot find the host");
    case(&["[::1]:a", "127.0.0.1:a"], 2, "one server");
    case(&["127.0.0.1:a", "tftp://127.0.0.1/b;mode=netascii"], 2, "its files are of one mode");
    case(&[&remote], 2, "no file is named");
    case(&[&remote, "a", "--rate", "0"], 2, "--rate");
    case(&[&remote, "a", "--clients", "0"], 2, "--clients");
}

#[test]
fn too_low_a_limit_of_open_files_is_told_before_anything_is_sent() {
    let run = |clients: &str| {
        let line = format!("ulimit -n 100; exec $rtftp bench $server a --count 1 -c {clients}");
        shell(folder(&[]).path(), &closed().to_string(), &line).assert()
    };
    run("69")
        .code(2)
        .stderr(contains("101 open files, and 100 are allowed").and(contains("ulimit -Hn 101")));
    run("68").code(3).stderr(is_empty());
}

#[test]
fn a_load_raises_the_soft_limit_of_open_files_as_far_as_it_needs() {
    let silent = Scripted::new(|_| Vec::new());
    let remote = silent.address.to_string();
    let limited = "ulimit -Sn 64 && exec \"$0\" \"$@\"";
    let words = ["a", "--clients", "100", "--count", "100", "--timeout", "1", "--retries", "0"];
    let run = Command::new("sh")
        .args(["-c", limited, env!("CARGO_BIN_EXE_rtftp"), "bench", &remote])
        .args(words)
        .assert();
    run.code(3).stdout(contains("100: no answer"));
}

#[test]
fn a_servers_words_do_not_reach_the_terminal_raw() {
    let server = Scripted::new(|_| vec![error(1, "\x1b[2Jgone")]);
    let run = bench().args([&server.remote(), "a", "--count", "2"]).assert().code(4);
    run.stdout(contains("\\u{1b}[2Jgone").and(contains("\x1b").not()));
}

#[test]
fn a_name_that_no_request_can_hold_is_asked_of_nobody() {
    let client = Client::new(closed());
    let refused = client.load(&load(&["a", "a\0octet"], 1, 1), |_| ControlFlow::Continue(()));
    assert!(matches!(refused, Err(Failure::Nul)));
    let long = "n".repeat(3000);
    let refused = client.load(&load(&["a", &long], 1, 1), |_| ControlFlow::Continue(()));
    let told = refused.map(drop).map_err(|failure| failure.to_string());
    assert!(told.as_ref().is_err_and(|why| why.contains("has 3000 bytes")), "{told:?}");
    let asked = [
        client.get("a\0", Collected::default(), |_| {}).map(drop),
        client.write("a\0", b"").map(drop),
        client.list("a\0").map(drop),
        client.read("a\0").map(drop),
    ];
    assert!(asked.iter().all(|asked| matches!(asked, Err(Failure::Nul))), "{asked:?}");
}
