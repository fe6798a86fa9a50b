//! Devices on the other side of `rtftp` that are not there yet, are slow, or know half of the protocol.

mod common;
#[path = "common/programs.rs"]
mod programs;

use common::apart::{in_own_network, namespaces};
use common::{
    DEADLINE, Daemon, Own, Scripted, ack, child, data, error, everything_in, folder, pattern,
    receive, until,
};
use nix::sys::signal::{Signal, kill};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};
use predicates::prelude::*;
use predicates::str::{contains, is_empty, starts_with};
use programs::{NO_HOST, rtftp};
use std::fs::OpenOptions;
use std::net::UdpSocket;
use std::os::unix::fs::FileExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant};
use tftpkit::wire::{
    BlockSize, Operation, OptionKind, OptionSet, Options, Packet, Request, TransferOption,
    WindowSize,
};

/// Starts `rtftp`, and waits until it has asked.
fn asking(words: &[&str], here: &Path) -> Child {
    let mut rtftp = Command::new(env!("CARGO_BIN_EXE_rtftp"));
    let mut child = child::started(rtftp.args(words).current_dir(here));
    until("it has a socket", || {
        assert!(child.try_wait().expect("a child").is_none(), "it does not wait: {words:?}");
        has_socket(&child).then_some(())
    });
    child
}

fn has_socket(child: &Child) -> bool {
    let fds = std::fs::read_dir(format!("/proc/{}/fd", child.id())).expect("it lives");
    let mut links = fds.flatten().filter_map(|fd| std::fs::read_link(fd.path()).ok());
    links.any(|link| link.to_string_lossy().starts_with("socket:"))
}

fn succeeds(child: Child) {
    let output = child::said_within(DEADLINE, child).unwrap_or_else(|said| said);
    assert!(output.status.success(), "{}", child::text(&output));
}

#[test]
fn a_device_whose_port_is_closed_is_waited_for() {
    let here = folder(&[("mine", b"few")]);
    for command in ["put", "get"] {
        let (own, root) = (Own::new(), folder(&[("theirs", b"more")]));
        let remote = own.any_port().replace(":0", &format!(":{}", Own::FIRST));
        let wait = ["--wait", "--interval", "0.1"];
        let words =
            if command == "put" { ["put", "mine", &remote] } else { ["get", &remote, "theirs"] };
        let child = asking(&[&words[..], &wait].concat(), here.path());
        let mut server = Command::new(Daemon::program());
        server.arg(root.path()).args(["--uploads", "create", "--listen", &remote]);
        let _server = Daemon::spawn(&mut server);
        succeeds(child);
        assert_eq!(root.path().join("mine").exists(), command == "put");
    }
    assert_eq!(everything_in(here.path()), ["mine", "theirs"]);
}

/// In a network of its own that has no route at all at first.
#[test]
fn a_device_that_no_route_leads_to_is_waited_for() {
    let test = a_device_that_no_route_leads_to_is_waited_for;
    if !in_own_network(test, "true") {
        return;
    }
    let (here, root) = (folder(&[("mine", b"few")]), folder(&[]));
    let words = ["put", "mine", "192.0.2.7:6969", "--wait", "--interval", "0.1"];
    let child = asking(&words, here.path());
    let link = "ip link set lo up && ip addr add 192.0.2.7/32 dev lo";
    let linked = child::output(Command::new("sh").args(["-c", link]));
    assert!(linked.status.success(), "{linked:?}");
    let mut server = Command::new(Daemon::program());
    server.arg(root.path()).args(["--uploads", "create", "--listen", "192.0.2.7:6969"]);
    let _server = Daemon::spawn(&mut server);
    succeeds(child);
    assert!(root.path().join("mine").exists());
}

/// A name that leads somewhere else when the device has started: it had its address from DHCP, or is another device now.
#[test]
fn a_device_that_comes_up_at_another_address_is_found_by_its_name() {
    let Some(unshare) = namespaces(&["--mount"]) else { return };
    let (before, now) = (Own::new(), Own::new());
    let (here, root) =
        (folder(&[("mine", b"few"), ("hosts", b"")]), folder(&[("theirs", b"more")]));
    // All of one length, so that there is no moment in which the file has none of them.
    let leads_to = |own: &Own| {
        let hosts = OpenOptions::new().write(true).open(here.path().join("hosts"));
        let line = format!("{:<15} device\n", own.ip);
        hosts.expect("a file").write_all_at(line.as_bytes(), 0).expect("written");
    };
    let mut server = Command::new(Daemon::program());
    server.arg(root.path()).args(["--uploads", "create"]);
    let _server = Daemon::spawn(server.args(["--listen", &format!("{}:{}", now.ip, Own::FIRST)]));
    let remote = format!("device:{}", Own::FIRST);
    for words in [["get", &remote, "theirs"], ["put", "mine", &remote]] {
        leads_to(&before);
        let silent = UdpSocket::bind((before.ip, Own::FIRST)).expect("a port");
        let mut rtftp = Command::new(&unshare[0]);
        let inside = "mount --bind hosts /etc/hosts && exec \"$0\" \"$@\"";
        rtftp.args(&unshare[1..]).args(["sh", "-c", inside, env!("CARGO_BIN_EXE_rtftp")]);
        rtftp.args(words).args(["--wait", "--interval", "0.1"]).current_dir(here.path());
        let child = child::started(&mut rtftp);
        receive(&silent, &mut [0; 512]).expect("it asks where the name leads at first");
        leads_to(&now);
        drop(silent);
        let output = child::said_within(DEADLINE, child).unwrap_or_else(|said| said);
        let told = child::text(&output);
        assert!(output.status.success(), "where the name leads now is not asked: {told}");
    }
    assert_eq!(std::fs::read(here.path().join("theirs")).expect("downloaded"), b"more");
    assert_eq!(std::fs::read(root.path().join("mine")).expect("uploaded"), b"few");
}

/// The name is looked up in a FIFO that nobody writes to, which is how a resolver waits whose server is silent.
#[test]
fn a_resolver_that_waits_holds_up_neither_the_time_nor_a_signal() {
    let Some(unshare) = namespaces(&["--mount"]) else { return };
    let here = folder(&[("mine", b"few")]);
    mkfifo(&here.path().join("hosts"), Mode::S_IRWXU).expect("a FIFO");
    let looking_up = |words: &[&str]| {
        let mut rtftp = Command::new("env");
        rtftp.args(["--default-signal=TERM", &unshare[0]]).args(&unshare[1..]);
        let inside = "mount --bind hosts /etc/hosts && exec \"$0\" \"$@\"";
        rtftp.args(["sh", "-c", inside, env!("CARGO_BIN_EXE_rtftp")]).args(words);
        child::started(rtftp.current_dir(here.path()))
    };
    let ended = |child| child::said_within(DEADLINE, child).expect("its end");
    let [get, put] = [["get", "device", "a"], ["put", "mine", "device"]];
    for words in [&get[..], &put, &["list", "device"]] {
        let output = ended(looking_up(&[words, &["--json", "--max-time", "0.3"]].concat()));
        assert_eq!(output.status.code(), Some(3), "{}", child::text(&output));
        let report = serde_json::from_slice::<serde_json::Value>(&output.stdout).ok();
        let kind = report.map(|report| report["kind"].clone());
        assert_eq!(kind, Some("time over".into()), "{words:?} is cut off without a report");
    }
    for words in [&get[..], &["device"]] {
        let child = looking_up(words);
        let threads = format!("/proc/{}/task", child.id());
        until("it looks the name up", || {
            let names = std::fs::read_dir(&threads).expect("it lives").flatten();
            let mut names = names.map(|one| std::fs::read_to_string(one.path().join("comm")));
            names.any(|name| name.is_ok_and(|name| name == "resolver\n")).then_some(())
        });
        kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("sent");
        let output = ended(child);
        assert_eq!(output.status.signal(), Some(Signal::SIGTERM as i32), "{output:?}");
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(told.ends_with(": cancelled\n"), "{words:?} does not see the signal: {told}");
    }
}

#[test]
fn a_device_is_asked_at_the_interval_that_was_given_and_not_less_and_less_often() {
    let (here, mut unheard) = (folder(&[("mine", b"few")]), 6);
    let server = Scripted::new(move |packet| match packet {
        Packet::Request(_) if unheard > 0 => {
            unheard -= 1;
            Vec::new()
        }
        Packet::Request(_) => vec![ack(0)],
        Packet::Data { block, .. } => vec![ack(block.0)],
        _ => Vec::new(),
    });
    let put = ["put", "mine", &server.remote(), "--wait", "--interval", "0.2"];
    rtftp(here.path()).args(put).assert().success();
    let heard = server.end();
    let requests: Vec<_> = heard.iter().filter(|(_, packet)| packet.starts_with("WRQ")).collect();
    assert_eq!(requests.len(), 7, "{heard:?}");
    // Doubled each time it would be more than ten seconds.
    let span = requests[6].0 - requests[0].0;
    assert!((Duration::from_millis(1150)..Duration::from_secs(4)).contains(&span), "{span:?}");
}

#[test]
fn the_wait_ends_when_its_time_is_over_and_says_what_it_waited_for() {
    let here = folder(&[("mine", b"few")]);
    let closed = common::closed().to_string();
    let silent = Scripted::new(|_| Vec::new());
    let cases = [
        (&*closed, "nothing listens at"),
        (&*silent.remote(), "--max-time gives is over"),
        (NO_HOST, "cannot find the host"),
    ];
    for (remote, why) in cases {
        let put = ["put", "mine", remote, "--wait", "--interval", "0.1", "--max-time", "0.5"];
        let put = rtftp(here.path()).args(put).assert().code(3);
        put.stderr(contains("the time that --max-time gives is over").and(contains(why)));
    }
    // Whoever does not wait is told at once.
    let began = Instant::now();
    rtftp(here.path()).args(["put", "mine", &closed]).assert().code(3);
    assert!(began.elapsed() < Duration::from_secs(2));
}

/// A device that hears and says nothing, at this test's own address.
fn silent_at(own: &Own) -> UdpSocket {
    let silent = UdpSocket::bind((own.ip, Own::FIRST)).expect("it is this test's");
    silent.set_read_timeout(Some(DEADLINE)).expect("a time");
    silent
}

/// An `rtftp` whose first attempt has failed: the device has left.
fn waiting(own: &Own, wait: &[&str], here: &Path) -> Child {
    let device = silent_at(own);
    let remote = own.any_port().replace(":0", &format!(":{}", Own::FIRST));
    let child = asking(&[&["put", "mine", &remote], wait].concat(), here);
    device.recv(&mut [0; 600]).expect("the first attempt");
    drop(device);
    until("it has failed", || (!has_socket(&child)).then_some(()));
    child
}

#[test]
fn a_wait_that_ends_in_the_middle_of_an_attempt_says_why_those_before_failed() {
    let (own, here) = (Own::new(), folder(&[("mine", b"few")]));
    let child = waiting(&own, &["--wait", "--interval", "0.3", "--max-time", "3"], here.path());
    let device = silent_at(&own);
    device.recv(&mut [0; 600]).expect("another attempt");
    let output = child::said_within(DEADLINE, child).unwrap_or_else(|said| said);
    let told = child::text(&output);
    assert!(
        told.contains("--max-time gives is over") && told.contains("nothing listens"),
        "{told}"
    );
}

#[test]
fn a_signal_that_ends_a_wait_is_why_it_ends_and_not_what_it_waited_for() {
    let (own, here) = (Own::new(), folder(&[("mine", b"few")]));
    let child = waiting(&own, &["--wait", "--interval", "0.3", "--json"], here.path());
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).expect("sent");
    let output = child::said_within(DEADLINE, child).expect("its end");
    let told = String::from_utf8_lossy(&output.stderr);
    let is_one_line = told.ends_with(": cancelled\n") && told.lines().count() == 1;
    assert!(is_one_line, "nobody is advised about what they ended: {told}");
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!((&report["kind"], &report["exit"]), (&"cancelled".into(), &1.into()), "{report}");
}

#[test]
fn what_fails_for_another_reason_is_not_tried_again() {
    let here = folder(&[("mine", b"few")]);
    let server = Scripted::new(|_| vec![error(3, "flash full")]);
    let put = ["put", "mine", &server.remote(), "--wait", "--interval", "0.1"];
    rtftp(here.path()).args(put).assert().code(6).stderr(contains("flash full"));
    assert_eq!(server.end().len(), 1);
    let absent = ["put", "absent", "127.0.0.1:9", "--wait"];
    rtftp(here.path()).args(absent).assert().code(1).stderr(contains("cannot read 'absent'"));
}

#[test]
fn words_of_a_device_behind_the_last_block_end_the_upload_and_are_shown_escaped() {
    let here = folder(&[("mine", &pattern(600, 1))]);
    let server = Scripted::new(|packet| match packet {
        Packet::Request(_) => vec![ack(0)],
        Packet::Data { block, payload } if payload.len() == 512 => vec![ack(block.0)],
        _ => vec![b"Firmware check failed\x1b[2J\r\n\0".to_vec()],
    });
    let began = Instant::now();
    let put = ["put", "mine", &server.remote(), "--json"];
    let put = rtftp(here.path()).args(put).assert().code(7);
    assert!(began.elapsed() < Duration::from_secs(5), "it is not waited for anything else");
    put.stderr(contains("Firmware check failed\\u{1b}[2J").and(contains("\x1b").not()))
        .stdout(contains("\"kind\":\"protocol\"").and(contains("Firmware check failed")));
}

/// A server of this file that grants sizes and intervals, and never sends the empty block that ends it.
fn endless(bytes: usize) -> Scripted {
    Scripted::new(move |packet| match packet {
        Packet::Request(Request { operation: Operation::Read, .. }) => {
            let second = std::num::NonZeroU8::MIN;
            let told = Options::NONE.with(TransferOption::TransferSize(bytes as u64));
            vec![Packet::Oack(told.with(TransferOption::Timeout(second))).to_vec()]
        }
        Packet::Ack { block } if usize::from(block.0) * 512 < bytes => {
            vec![data(block.0 + 1, &[7; 512])]
        }
        _ => Vec::new(),
    })
}

#[test]
fn a_file_whose_end_a_server_never_sends_is_kept_with_a_warning() {
    let here = folder(&[]);
    let warning = "the server never sent the empty block that ends the file";
    let run = |words: &[&str], typed: &'static str| {
        let server = endless(1024);
        let remote = server.remote();
        let words = words.iter().map(|word| if *word == "HOST" { &remote } else { *word });
        let mut rtftp = rtftp(here.path());
        rtftp.args(words).args(["--timeout", "1"]).write_stdin(typed);
        rtftp.assert().success().stderr(contains(warning))
    };
    // Each waits for a while for the block that does not come.
    std::thread::scope(|scope| {
        scope.spawn(|| run(&["HOST"], "download a b\n"));
        scope.spawn(|| run(&["get", "HOST", "c", "--quiet"], "").stdout(is_empty()));
        let json = run(&["get", "HOST", "a", "--json"], "");
        let json = json.stdout(contains("\"ok\":true").and(contains(warning)));
        json.stderr(starts_with("rtftp: get tftp://").and(contains(format!("/a: {warning}"))));
    });
    assert_eq!(std::fs::read(here.path().join("a")).expect("kept"), [7; 1024]);
    assert_eq!(everything_in(here.path()), ["a", "b", "c"]);
}

/// A server that grants blocks of 8 bytes in windows of 64, and counts to 65,535.
fn counts_to_65535() -> Scripted {
    let eight = TransferOption::BlockSize(BlockSize::new(8).expect("a size"));
    let window = TransferOption::WindowSize(WindowSize::new(64).expect("a window"));
    let mut last = 0;
    Scripted::new(move |packet| match packet {
        Packet::Request(_) => vec![Packet::Oack(Options::NONE.with(eight).with(window)).to_vec()],
        Packet::Ack { block } => {
            let next = u32::from(block.0) + 1;
            let blocks = (next..next + 64).take_while(|block| *block < 65_536);
            let mut blocks: Vec<_> = blocks.map(|block| data(block as u16, &[7; 8])).collect();
            if blocks.len() < 64 {
                blocks.push(error(0, "overflow"));
            }
            blocks
        }
        Packet::Data { block, .. } => {
            let expected = last < 65_535 && block.0 == last + 1;
            last += u16::from(expected);
            match last {
                65_535 => vec![ack(last), error(0, "overflow")],
                last if expected && last % 64 == 0 => vec![ack(last)],
                _ => Vec::new(),
            }
        }
        _ => Vec::new(),
    })
}

#[test]
fn a_device_that_cannot_count_on_is_told_with_the_block_size_that_fits() {
    let here = folder(&[("mine", &[7; 600_000])]);
    // All blocks of one size: what has this size is larger by far than what a device got of it.
    let mine = std::fs::File::options().write(true).open(here.path().join("mine"));
    mine.and_then(|mine| mine.set_len(200 << 20)).expect("a file with a hole");
    let terms = ["--blksize", "8", "--windowsize", "64"];
    for (command, fits) in [("get", 1428), ("put", 4096)] {
        let server = counts_to_65535();
        let remote = server.remote();
        let words = if command == "put" { ["put", "mine", &remote] } else { ["get", &remote, "a"] };
        let run = rtftp(here.path()).args(words).args(terms).assert().code(7);
        let told = contains("overflow").and(contains("65535 blocks, and seems unable to count on"));
        run.stderr(told.and(contains(format!("Larger blocks are fewer: --blksize {fits}."))));
    }
}

/// A server that refuses what has options with this code, and does the rest, or is silent to it.
fn without_options(code: u16, then: bool) -> Scripted {
    Scripted::new(move |packet| match packet {
        Packet::Request(request) if !request.options.is_empty() => {
            vec![error(code, "what is blksize")]
        }
        _ if !then => Vec::new(),
        Packet::Request(request) if request.operation == Operation::Write => vec![ack(0)],
        Packet::Request(_) => vec![data(1, b"plain")],
        Packet::Data { block, .. } => vec![ack(block.0)],
        _ => Vec::new(),
    })
}

#[test]
fn options_that_are_refused_in_any_way_are_left_out_and_what_was_said_of_them_is_told() {
    let here = folder(&[("mine", b"few")]);
    for code in [0, 1, 2, 4, 5, 8] {
        let impatient = ["--timeout", "1", "--retries", "0"];
        let server = without_options(code, true);
        let get = ["get", &server.remote(), "a", "-o", "-"];
        rtftp(here.path()).args(get).assert().success().stdout("plain");
        rtftp(here.path()).args(["put", "mine", &server.remote()]).assert().success();
        let server = without_options(code, false);
        for words in [["get", &server.remote(), "a"], ["put", "mine", &server.remote()]] {
            let run = rtftp(here.path()).args(words).args(impatient).assert();
            run.failure().stderr(contains("what is blksize").and(contains("no answer").not()));
        }
    }
    // What has nothing to do with them is not asked for twice.
    for code in [3, 6, 7] {
        let server = Scripted::new(move |_| vec![error(code, "no")]);
        rtftp(here.path()).args(["get", &server.remote(), "a"]).assert().failure();
        assert_eq!(server.end().len(), 1, "{code}");
    }
}

/// A server that acknowledges what nobody asked for, as tftpd64 does with `udpport`, and so that each option is understood.
fn spoils_options() -> Scripted {
    Scripted::new(|packet| match packet {
        Packet::Request(Request { options, .. }) if !options.is_empty() => {
            vec![[&Packet::Oack(*options).to_vec()[..], b"udpport\x001069\0"].concat()]
        }
        Packet::Request(Request { operation: Operation::Write, .. }) => vec![ack(0)],
        Packet::Request(_) => vec![data(1, b"plain")],
        Packet::Data { block, .. } => vec![ack(block.0)],
        _ => Vec::new(),
    })
}

#[test]
fn a_server_whose_oack_cannot_be_accepted_is_asked_once_with_options_for_all_files() {
    let here = folder(&[("a", b"few"), ("b", b"more")]);
    let cases = [(["download x y", "download x z"], "RRQ"), (["upload a", "upload b"], "WRQ")];
    for (commands, opcode) in cases {
        let (server, began) = (spoils_options(), Instant::now());
        // Nothing is sent again for a minute.
        let mut menu = rtftp(here.path());
        menu.args([&server.remote(), "--timeout", "60"]).write_stdin(commands.join("\n"));
        menu.assert().success();
        assert!(began.elapsed() < Duration::from_secs(10), "{:?}", began.elapsed());
        let heard: Vec<_> = server.end().into_iter().map(|(_, packet)| packet).collect();
        let asked: Vec<_> = heard.iter().filter(|packet| packet.starts_with(opcode)).collect();
        let with_options = asked.iter().filter(|packet| packet.contains("blksize")).count();
        assert_eq!((asked.len(), with_options), (3, 1), "{heard:?}");
        assert!(heard[1].starts_with("ERROR 8"), "{heard:?}");
    }
}

#[test]
fn an_upload_that_is_not_answered_names_the_options_for_a_slow_device() {
    let here = folder(&[("mine", b"few")]);
    let silent = Scripted::new(|_| Vec::new());
    let told = "--timeout 20 --retries 10";
    let put = ["put", "mine", &silent.remote(), "--timeout", "1", "--retries", "0"];
    rtftp(here.path()).args(put).assert().code(3).stderr(contains(told));
    let forgetful = Scripted::that_leaves(|packet| match packet {
        Packet::Request(_) => Some(vec![ack(0)]),
        _ => None,
    });
    rtftp(here.path())
        .args(["put", "mine", &forgetful.remote()])
        .assert()
        .code(8)
        .stderr(contains(told));
}

/// A server that sends its windows at once through a network that holds ten packets.
fn behind_a_small_buffer(file: Vec<u8>) -> Scripted {
    let mut agreed = Options::NONE;
    Scripted::new(move |packet| {
        let acked = match packet {
            Packet::Request(Request { options, .. }) => {
                let size = OptionSet::EMPTY.with(OptionKind::TransferSize);
                agreed = options.without(size);
                return vec![Packet::Oack(agreed).to_vec()];
            }
            Packet::Ack { block } => usize::from(block.0),
            _ => return Vec::new(),
        };
        let (mut size, mut window) = (512, 1);
        for option in agreed.iter() {
            match option {
                TransferOption::BlockSize(wanted) => size = wanted.get(),
                TransferOption::WindowSize(wanted) => window = wanted.get(),
                _ => {}
            }
        }
        let left = file.chunks(size).enumerate().skip(acked).take(usize::from(window.min(10)));
        left.map(|(n, payload)| data(n as u16 + 1, payload)).collect()
    })
}

#[test]
fn a_download_whose_windows_the_path_has_no_room_for_is_asked_for_again_with_one_that_fits() {
    let file = pattern(400_001, 5);
    for asked in [&[][..], &["--windowsize", "32"]] {
        let (here, server) = (folder(&[]), behind_a_small_buffer(file.clone()));
        let get = ["get", "--blksize", "1000"].iter().chain(asked);
        let done = rtftp(here.path()).args(get).arg(format!("{}/f", server.remote())).assert();
        done.success();
        assert!(std::fs::read(here.path().join("f")).expect("a file") == file);
        let heard = server.end();
        let requests = heard.iter().filter(|(_, packet)| packet.starts_with("RRQ"));
        let requests: Vec<_> = requests.map(|(_, packet)| &**packet).collect();
        assert_eq!(requests.len(), 2, "{requests:?}");
        assert!(requests[1].contains("windowsize=6"), "{requests:?}");
    }
}
