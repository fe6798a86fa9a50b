//! The server as a service: sockets that somebody else has bound (systemd, inetd, the server before this one), and what
//! whoever started it is told of it.
//!
//! All that has a name is opened before the sandbox; afterwards there are descriptors only.

mod handover;
mod keeper;
mod notify;

pub(crate) use notify::Notify;

use crate::typed::span;
use anyhow::{Context, Result, ensure};
use clap::Args as ClapArgs;
use clap::builder::BoolishValueParser;
use handover::{Post, Predecessor};
pub(crate) use keeper::Activity;
use keeper::Keeper;
use listenfd::ListenFd;
use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;
use tftpkit::server::{Handle, Server};

/// As tftp-hpa's server waits for a second client.
const IDLE_OF_INETD: Duration = Duration::from_secs(900);

/// How long transfers may go on when the server ends, as it was read last.
#[derive(Clone, Debug)]
pub(crate) struct Drain(Arc<RwLock<Duration>>);

impl Drain {
    pub(crate) fn new(time: Duration) -> Self {
        Self(Arc::new(RwLock::new(time)))
    }

    pub(crate) fn get(&self) -> Duration {
        *self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, time: Duration) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = time;
    }
}

/// Who starts it, and how it ends for another.
#[derive(Debug, ClapArgs)]
pub(crate) struct ServiceArgs {
    /// Serve at the socket that is standard input, as inetd and xinetd give it with 'wait', and end when nobody asks any
    /// more (--idle-exit); log lines go to the journal or to syslog
    #[arg(long, value_parser = BoolishValueParser::new(), env = "RTFTPD_INETD")]
    pub(crate) inetd: bool,

    /// End when nothing was asked for so long and no transfer runs: who keeps the socket starts it again
    /// [default: with --inetd 15min, else never]
    #[arg(long, value_name = "TIME", value_parser = idle, env = "RTFTPD_IDLE_EXIT")]
    idle_exit: Option<Duration>,

    /// Hand over to a new server: one that is started with the same FILE takes the sockets from this one, which then takes no
    /// more requests and ends with its last transfer
    #[arg(long, value_name = "FILE", env = "RTFTPD_HANDOVER")]
    handover: Option<PathBuf>,
}

fn idle(text: &str) -> Result<Duration, String> {
    span(text, Duration::from_millis(1)..=Duration::from_secs(u32::MAX.into()))
}

impl ServiceArgs {
    /// Whether it can be asked to hand over.
    pub(crate) const fn hands_over(&self) -> bool {
        self.handover.is_some()
    }
}

/// What this process got, and whom it tells.
#[derive(Debug)]
pub(crate) struct Service {
    sockets: Vec<UdpSocket>,
    predecessor: Option<Predecessor>,
    handover: Option<PathBuf>,
    post: Option<Post>,
    notify: Notify,
    /// How often the loop has to show that it lives.
    watchdog: Option<Duration>,
    idle: Option<Duration>,
    activity: Arc<Activity>,
}

impl Service {
    /// Looks at what there is. `wanted` are the addresses to listen at, if the operator named any.
    pub(crate) fn begin(args: &ServiceArgs, wanted: &[SocketAddr]) -> Result<Self> {
        let mut sockets = if args.inetd { of_inetd()? } else { of_systemd()? };
        let mut predecessor = None;
        if let Some(path) = &args.handover {
            let taken = handover::take(path).with_context(|| {
                format!("cannot take over from the server at '{}'", path.display())
            })?;
            if let Some((before, theirs)) = taken {
                sockets.extend(theirs.into_iter().filter(|socket| is_one_of(socket, wanted)));
                predecessor = Some(before);
            }
        }
        let by_default = args.inetd.then_some(IDLE_OF_INETD);
        Ok(Self {
            sockets,
            predecessor,
            handover: args.handover.clone(),
            post: None,
            notify: Notify::from_environment(),
            watchdog: notify::watchdog(),
            idle: args.idle_exit.or(by_default),
            activity: Arc::default(),
        })
    }

    /// The sockets that are bound.
    pub(crate) fn sockets(&self) -> io::Result<Vec<UdpSocket>> {
        self.sockets.iter().map(UdpSocket::try_clone).collect()
    }

    /// The addresses of these that are left to bind. Where there are sockets, the default is none of them.
    pub(crate) fn left(&self, wanted: Vec<SocketAddr>, by_default: bool) -> Vec<SocketAddr> {
        if by_default && !self.sockets.is_empty() {
            return Vec::new();
        }
        let has = |address: &SocketAddr| {
            self.sockets.iter().any(|socket| is_one_of(socket, std::slice::from_ref(address)))
        };
        wanted.into_iter().filter(|address| !has(address)).collect()
    }

    /// What wants to know what happens.
    pub(crate) fn activity(&self) -> Arc<Activity> {
        Arc::clone(&self.activity)
    }

    /// What tells whoever started it.
    pub(crate) fn notify(&self) -> Notify {
        self.notify.clone()
    }

    /// Puts up where the next server asks, in place of the one before. The sockets are the server's own from now on.
    pub(crate) fn post(&mut self) -> Result<()> {
        self.sockets.clear();
        if let Some(path) = &self.handover {
            let post = Post::at(path);
            self.post = Some(post.with_context(|| format!("cannot make '{}'", path.display()))?);
        }
        Ok(())
    }

    /// Starts the threads that it needs, in the sandbox. `shares` says whether transfers share the sockets of the requests;
    /// `asked` is called when another server asks for them.
    pub(crate) fn start(
        self,
        server: &Server,
        shares: bool,
        drain: Drain,
        asked: impl Fn() + Send + 'static,
    ) -> Result<()> {
        let handle = server.handle();
        if let Some(post) = self.post {
            let (sockets, notify) = (server.sockets()?, self.notify.clone());
            ensure!(
                sockets.len() <= handover::MOST_SOCKETS,
                "at most {} sockets can be handed over",
                handover::MOST_SOCKETS
            );
            let (handle, drain) = (handle.clone(), drain.clone());
            let grace = move || if shares { drain.get() } else { Duration::MAX };
            post.serve((sockets, shares), asked, move || hand_over(&handle, &notify, grace()))?;
        }
        // Its transfers need all that comes there.
        let predecessor = self.predecessor.and_then(Predecessor::wait_where_it_shares);
        let keeper = Keeper {
            handle,
            notify: self.notify,
            watchdog: self.watchdog,
            idle: self.idle,
            drain,
            predecessor,
            activity: self.activity,
        };
        keeper.start()
    }
}

fn hand_over(handle: &Handle, notify: &Notify, grace: Duration) {
    tracing::info!(transfers = handle.transfers(), "a new server takes the requests");
    notify.stopping(grace);
    handle.drain(grace);
}

/// The socket that inetd gave, which has no other for messages: standard error is the same.
fn of_inetd() -> Result<Vec<UdpSocket>> {
    let socket = io::stdin().as_fd().try_clone_to_owned().context("standard input is closed")?;
    Ok(vec![socket.into()])
}

/// The sockets that systemd, or whoever does as it does, has bound.
fn of_systemd() -> Result<Vec<UdpSocket>> {
    let mut given = ListenFd::from_env();
    let given_sockets = given.len();
    let socket = |n| {
        let socket = given.take_udp_socket(n).ok().flatten();
        socket.with_context(|| {
            format!(
                "descriptor {} of LISTEN_FDS is no UDP socket: the unit of the socket needs ListenDatagram=",
                n + 3
            )
        })
    };
    (0..given_sockets).map(socket).collect()
}

/// Whether the socket is bound to one of these addresses, where port 0 is any.
fn is_one_of(socket: &UdpSocket, addresses: &[SocketAddr]) -> bool {
    let Ok(own) = socket.local_addr() else { return false };
    // Where there was no IPv6, all of IPv4 is what was meant.
    let is_all_there_was = |address: &SocketAddr| {
        own.is_ipv4() && own.ip().is_unspecified() && address.ip().is_unspecified()
    };
    let is = |address: &SocketAddr| {
        let is_there = address.ip() == own.ip() || is_all_there_was(address);
        is_there && [0, own.port()].contains(&address.port())
    };
    addresses.iter().any(is)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_bound_already_is_not_bound_again_and_the_default_is_not_added_to_it() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let own = socket.local_addr().expect("an address");
        let args = ServiceArgs { inetd: false, idle_exit: None, handover: None };
        let mut service = Service::begin(&args, &[]).expect("nothing to fail");
        let other: SocketAddr = "[::1]:6969".parse().expect("an address");
        assert_eq!(service.left(vec![other], true), [other], "there are no sockets");
        service.sockets.push(socket);
        assert_eq!(service.left(vec![other], true), []);
        let any = SocketAddr::new(own.ip(), 0);
        assert_eq!(service.left(vec![own, other, any], false), [other]);
        // Another port of the same address is another one, and all of IPv4 is what all was where there is no IPv6.
        let next = SocketAddr::new(own.ip(), own.port() ^ 1);
        let all = SocketAddr::new("::".parse().expect("an address"), own.port());
        assert_eq!(service.left(vec![next, all], false), [next, all]);
        let all = UdpSocket::bind("0.0.0.0:0").expect("a socket");
        let port = all.local_addr().expect("an address").port();
        service.sockets = vec![all];
        let of = |ip: &str, port| SocketAddr::new(ip.parse().expect("an address"), port);
        assert_eq!(service.left(vec![of("::", port), of("0.0.0.0", port)], false), []);
        let others = vec![of("::", port ^ 1), of("127.0.0.1", port)];
        assert_eq!(service.left(others.clone(), false), others);
    }

    #[test]
    fn only_a_server_of_inetd_ends_by_itself_where_nothing_is_said_of_that() {
        let second = Duration::from_secs(1);
        for (inetd, idle_exit, idle) in [
            (true, None, Some(IDLE_OF_INETD)),
            (true, Some(second), Some(second)),
            (false, Some(second), Some(second)),
            (false, None, None),
        ] {
            let args = ServiceArgs { inetd, idle_exit, handover: None };
            let service = Service::begin(&args, &[]).expect("standard input");
            assert_eq!((service.idle, service.sockets.len()), (idle, usize::from(inetd)));
        }
    }
}
