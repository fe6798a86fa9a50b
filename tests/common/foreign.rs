//! The servers of others: what it takes to start them.
#![allow(dead_code)] // Each test program uses a part of it.

use crate::clients::{installed, said};
use crate::common::apart::in_own_network;
use crate::common::child;
use nix::unistd::Uid;
use std::fs;
use std::net::UdpSocket;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::Command;

/// tftp-hpa's server at this socket, which it is given as by inetd: it takes no port 0. The folder that it serves is to be
/// its last argument; `scratch` is for what it needs beside.
pub(crate) fn in_tftpd(socket: UdpSocket, scratch: &Path) -> Command {
    let mut command = Command::new(installed("in.tftpd"));
    command.args(["--create", "--secure", "--user", "root"]).stdin(OwnedFd::from(socket));
    if fs::read_to_string("/proc/self/setgroups").is_ok_and(|may| may.trim() == "deny") {
        command.env("LD_PRELOAD", without_groups(scratch));
    }
    command
}

/// A library that lets in.tftpd go on where it may not choose its groups: in a user namespace that a user made. It can
/// choose nothing there that this user does not have.
fn without_groups(folder: &Path) -> PathBuf {
    let (source, library) = (folder.join("groups.cc"), folder.join("groups.so"));
    let text = r#"extern "C" int initgroups(const char *, unsigned) { return 0; }"#;
    fs::write(&source, text).expect("a source");
    let mut compiler = Command::new(installed("c++"));
    let made = child::output(compiler.args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source));
    assert!(made.status.success(), "{}", said(&made));
    library
}

/// Whether this is a run with the foreign servers, which need what root has: in.tftpd calls chroot, dnsmasq takes
/// port 69. Other users have that in a network of their own, where the test runs once more.
pub(crate) fn as_root<T>(test: T) -> bool {
    Uid::effective().is_root() || in_own_network(test, "ip link set lo up")
}
